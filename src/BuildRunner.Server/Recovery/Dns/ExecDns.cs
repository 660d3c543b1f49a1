using System.Text.Json;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>
/// A command of the user's own writes the records: it reads one <see cref="ExecRequest"/> as JSON from its input and writes one <see cref="ExecAnswer"/> to its
/// output. What it did is not believed: the authoritative servers are read as with every driver.
/// </summary>
internal sealed class ExecDns(IPolicySource policy, AuthoritativeServers servers) : IDnsDriver
{
    private const int SaidMax = 500;

    public string Name => DnsRules.Exec;

    public Task<IReadOnlyList<DnsReading>> ReadAsync(string name, CancellationToken cancel) => servers.ReadAsync(name, cancel);

    public async Task<DnsWrite> ApplyAsync(DnsRecord record, Fence? fence, CancellationToken cancel)
    {
        var rules = policy.Current.Dns.Command;
        if (rules.Command is not [var program, ..])
            return DnsWrite.Fail(DnsFaultKind.Misconfigured, "policy", "`dns.driver: exec` names no command.", "Write `dns.exec.command`.");
        var request = new ExecRequest
        {
            Name = record.Name,
            TtlSeconds = (int)record.Ttl.TotalSeconds,
            Token = fence?.Token ?? 0,
            Records = [.. record.Values.Select(v => new ExecRecord(DnsRecord.TypeOf(v), v))],
        };
        var ran = await BoundedCommand.RunAsync(rules.Command, JsonSerializer.SerializeToUtf8Bytes(request, DnsJson.Default.ExecRequest), rules.Timeout, cancel);
        var said = ran.Error.Trim() is { Length: > 0 } text ? $": {(text.Length > SaidMax ? text[^SaidMax..] : text)}" : "";
        if (ran.Ended is { } ended)
            return DnsWrite.Fail(ran.TooSlow ? DnsFaultKind.Unreachable : DnsFaultKind.Misconfigured, program, $"{program} {ended}{said}.", "Run it by hand with the same input; `dns.exec.timeout` says how long it may take.");
        ExecAnswer? answer = null;
        try { answer = JsonSerializer.Deserialize(ran.Output, DnsJson.Default.ExecAnswer); }
        catch (JsonException) { } // said below
        return (ran.ExitCode, answer) switch
        {
            (0, { Ok: true }) => new DnsWrite.Done(answer.Changed ?? true),
            (_, { Ok: false, Superseded: true }) => DnsWrite.Fail(DnsFaultKind.Superseded, program, $"{program} was asked by a server with a later token than {request.Token} before.", "Nothing is to be done when another server leads; after the loss of the server's state, remove the token that it keeps."),
            (_, { Ok: false, Error: { Length: > 0 } error }) => DnsWrite.Fail(DnsFaultKind.Failed, program, $"{program} could not write {record.Name}: {error[..Math.Min(error.Length, SaidMax)]}.", answer.Fix is { Length: > 0 } fix ? fix[..Math.Min(fix.Length, SaidMax)] : "What it needs, it must say itself."),
            (0, _) => DnsWrite.Fail(DnsFaultKind.Misconfigured, program, $"{program} ended with 0 and wrote no answer that can be read{said}.", "It must write {\"ok\": true} to its output (docs/guide/dns.md)."),
            var (code, _) => DnsWrite.Fail(DnsFaultKind.Failed, program, $"{program} ended with {code}{said}.", "Run it by hand with the same input."),
        };
    }
}

/// <summary>What the command reads: the name is to have these records of A, AAAA and CNAME, and no others of these types.</summary>
internal sealed record ExecRequest
{
    public int SchemaVersion { get; init; } = 1;
    public string Operation { get; init; } = "apply";
    public required string Name { get; init; }
    public required int TtlSeconds { get; init; }

    /// <summary>Of the server that asks; whoever keeps the highest can refuse a server that does not lead any more.</summary>
    public required long Token { get; init; }
    public required IReadOnlyList<ExecRecord> Records { get; init; }
}

internal sealed record ExecRecord(string Type, string Value);

/// <summary>What the command answers.</summary>
internal sealed record ExecAnswer
{
    public bool Ok { get; init; }
    public bool? Changed { get; init; }

    /// <summary>It keeps the tokens, and has seen a later one.</summary>
    public bool Superseded { get; init; }
    public string? Error { get; init; }
    public string? Fix { get; init; }
}
