using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>
/// Keeps the records in a file (`dns.file`), one `NAME TTL IN TYPE VALUE` a line, for a name server or a tool of the user's own to pick up. The
/// servers of `dns.servers`, where there are any, are read beside the file.
/// </summary>
internal sealed class FileDns(IPolicySource policy, AuthoritativeServers servers) : IDnsDriver
{
    private const string Mark = "; written by BuildRunner, token ";
    private const long BytesMax = 4 * 1024 * 1024;

    public string Name => DnsRules.Zonefile;

    public async Task<DnsWrite> ApplyAsync(DnsRecord record, Fence? fence, CancellationToken cancel)
    {
        if (policy.Current.Dns.File is not { } file)
            return DnsWrite.Fail(DnsFaultKind.Misconfigured, "policy", "`dns.driver: file` names no file.", "Write `dns.file`.");
        try
        {
            var before = await LinesAsync(file, cancel);
            var token = before.Where(l => l.StartsWith(Mark, StringComparison.Ordinal)).Select(l => long.TryParse(l[Mark.Length..], CultureInfo.InvariantCulture, out var t) ? t : 0).DefaultIfEmpty().Max();
            if (fence is { } mine && token > mine.Token)
                return DnsWrite.Fail(DnsFaultKind.Superseded, file, $"A server with the later token {token} has written {file}, and ours is {mine.Token}.", "Nothing is to be done when another server leads; after the loss of the server's state, delete the file's first line.");
            var lines = record.Values.Select(value => string.Create(CultureInfo.InvariantCulture, $"{record.Name}. {(int)record.Ttl.TotalSeconds} IN {DnsRecord.TypeOf(value)} {value}{(DnsRecord.TypeOf(value) == DnsRecord.Cname ? "." : "")}"));
            if (before.Where(line => Is(line, record.Name)).ToHashSet(StringComparer.Ordinal).SetEquals(lines))
                return new DnsWrite.Done(Changed: false);
            List<string> rest = [.. before.Where(line => !Is(line, record.Name)).Concat(lines)];
            rest.RemoveAll(line => line.StartsWith(Mark, StringComparison.Ordinal));
            if (fence is { } by)
                rest.Insert(0, string.Create(CultureInfo.InvariantCulture, $"{Mark}{by.Token}"));
            AtomicFile.Write(file, string.Concat(rest.Select(line => line + "\n")));
            return new DnsWrite.Done(Changed: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            var why = error switch { DirectoryNotFoundException => "its folder does not exist", UnauthorizedAccessException => "access is denied", _ => error.Message.TrimEnd('.') };
            return DnsWrite.Fail(DnsFaultKind.Failed, file, $"{file} could not be written: {why}.", "Give the server the right to write its folder, or name another file under `dns.file`.");
        }
    }

    public async Task<IReadOnlyList<DnsReading>> ReadAsync(string name, CancellationToken cancel)
    {
        var file = policy.Current.Dns.File ?? "dns.file";
        DnsReading own;
        try { own = new(file, [.. (await LinesAsync(file, cancel)).Where(line => Is(line, name)).Select(line => DnsRecord.Canonical(line.Split(' ')[4])).Order(StringComparer.Ordinal)]); }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException) { own = new(file, null, error.Message); }
        return policy.Current.Dns.Servers.Count == 0 ? [own] : [own, .. await servers.ReadAsync(name, cancel)];
    }

    private static async Task<string[]> LinesAsync(string file, CancellationToken cancel) =>
        Directory.Exists(file) ? throw new IOException($"{file} is a folder.")
        : new FileInfo(file) is not { Exists: true } info ? []
        : info.Length > BytesMax ? throw new IOException($"{file} has more than {BytesMax} bytes.")
        : await File.ReadAllLinesAsync(file, cancel);

    private static bool Is(string line, string name) => line.Split(' ') is [var owner, _, "IN", var kind, _] && owner == name + "." && DnsRecord.Types.Contains(kind);
}
