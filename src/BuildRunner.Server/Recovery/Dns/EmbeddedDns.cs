using System.Net;
using System.Net.Sockets;
using ARSoft.Tools.Net;
using ARSoft.Tools.Net.Dns;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>
/// An authoritative responder inside the server, for `br dev` and small houses: A, AAAA, CNAME, SOA and NS of its own zone over UDP and TCP;
/// REFUSED for any other name, and no recursion. It answers from memory, so a store that is slow or away does not silence it.
/// </summary>
internal sealed partial class EmbeddedDns(DnsRecords records, IPolicySource policy, ILogger<EmbeddedDns> logger) : IDnsDriver, IHostedService, IDisposable
{
    private const int TransportTimeoutMs = 5000;
    private const int QueryTimeoutMs = 1000;
    private static readonly TimeSpan SoaTtl = TimeSpan.FromSeconds(5);

    private volatile Zone _zone = new("", [], 0);
    private DnsServer? _server;
    private IPEndPoint? _listen;

    public string Name => "embedded";

    public IReadOnlyList<string> Zones => _zone.Name.Length == 0 ? [] : [_zone.Name];

    /// <summary>Where it listens; null: it does not.</summary>
    public IPEndPoint? Listen => _listen;

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        var rules = policy.Current.Dns;
        if (rules.Driver != Name || rules.Name.Length == 0)
            return;
        await ReloadAsync(cancellationToken);
        var listen = IPEndPoint.Parse(rules.Listen);
        var server = new DnsServer(new UdpServerTransport(listen, TransportTimeoutMs), new TcpServerTransport(listen, TransportTimeoutMs));
        server.QueryReceived += (_, query) =>
        {
            if (query.Query is DnsMessage message)
                query.Response = Answer(_zone, message);
            return Task.CompletedTask;
        };
        server.ExceptionThrown += (_, thrown) =>
        {
            LogFailed(logger, thrown.Exception);
            return Task.CompletedTask;
        };
        try { server.Start(); }
        catch (SocketException error)
        {
            // Names are not worth the house: without them the gateways still serve, and `br dr status` says what is wrong.
            LogNoListener(logger, error, rules.Listen);
            return;
        }
        (_server, _listen) = (server, listen);
        LogListening(logger, rules.Name, rules.Listen);
    }

    public Task StopAsync(CancellationToken cancellationToken)
    {
        _server?.Stop();
        (_server, _listen) = (null, null);
        return Task.CompletedTask;
    }

    public void Dispose() => _server?.Stop();

    public Task RefreshAsync(CancellationToken cancel) => _listen is null ? Task.CompletedTask : ReloadAsync(cancel);

    public async Task SetAsync(DnsRecordSet set, Fence? fence, CancellationToken cancel)
    {
        await records.PutAsync(set, fence, cancel);
        await ReloadAsync(cancel);
    }

    public async Task ClearAsync(string name, string type, Fence? fence, CancellationToken cancel)
    {
        await records.DeleteAsync(name, type, fence, cancel);
        await ReloadAsync(cancel);
    }

    public async Task<IReadOnlyList<DnsReading>> ReadBackAsync(string name, string type, CancellationToken cancel)
    {
        if (_listen is not { } listen)
            return [new(policy.Current.Dns.Listen, null, "it does not listen")];
        using var client = new DnsClient([listen.Address], [new UdpClientTransport(listen.Port)], true, QueryTimeoutMs);
        var answer = await client.ResolveAsync(DomainName.Parse(name), Enum.Parse<RecordType>(type, ignoreCase: true), RecordClass.INet, null, cancel);
        return
        [
            answer is null
                ? new(listen.ToString(), null, "no answer")
                : answer.ReturnCode is ReturnCode.NoError or ReturnCode.NxDomain
                    ? new(listen.ToString(), [.. answer.AnswerRecords.Select(TextOf)], null)
                    : new(listen.ToString(), null, answer.ReturnCode.ToString()),
        ];
    }

    /// <summary>The whole of what this responder says, from a zone and a question.</summary>
    internal static DnsMessage Answer(Zone zone, DnsMessage query)
    {
        var answer = query.CreateResponseInstance();
        answer.IsRecursionAllowed = false;
        if (query.Questions is not [var question] || query.OperationCode != OperationCode.Query)
        {
            answer.ReturnCode = query.OperationCode == OperationCode.Query ? ReturnCode.FormatError : ReturnCode.NotImplemented;
            return answer;
        }
        if (zone.Name.Length == 0 || question.RecordClass != RecordClass.INet || !question.Name.IsEqualOrSubDomainOf(DomainName.Parse(zone.Name)))
        {
            answer.ReturnCode = ReturnCode.Refused;
            return answer;
        }
        answer.IsAuthoritiveAnswer = true;
        var name = question.Name.ToString(false).TrimEnd('.').ToLowerInvariant();
        var sets = zone.Sets.Where(s => s.Name == name).ToList();
        var apex = name == zone.Name;
        if (sets.Count == 0 && !apex)
            answer.ReturnCode = zone.Sets.Any(s => s.Name.EndsWith("." + name, StringComparison.Ordinal)) ? ReturnCode.NoError : ReturnCode.NxDomain;

        var wanted = sets.Where(s => s.Type == "CNAME" || question.RecordType == RecordType.Any || string.Equals(s.Type, question.RecordType.ToString(), StringComparison.OrdinalIgnoreCase));
        answer.AnswerRecords.AddRange(wanted.SelectMany(set => set.Addresses.Select(address => Record(question.Name, set, address))));
        if (apex && question.RecordType is RecordType.Soa or RecordType.Any)
            answer.AnswerRecords.Add(Soa(zone));
        if (apex && question.RecordType is RecordType.Ns or RecordType.Any)
            answer.AnswerRecords.Add(new NsRecord(DomainName.Parse(zone.Name), (int)SoaTtl.TotalSeconds, DomainName.Parse("ns." + zone.Name)));
        if (answer.AnswerRecords.Count == 0)
            answer.AuthorityRecords.Add(Soa(zone)); // how long a resolver may remember that there is nothing
        return answer;
    }

    private static DnsRecordBase Record(DomainName name, DnsRecordSet set, string value) => set.Type switch
    {
        "A" => new ARecord(name, (int)set.Ttl.TotalSeconds, IPAddress.Parse(value)),
        "AAAA" => new AaaaRecord(name, (int)set.Ttl.TotalSeconds, IPAddress.Parse(value)),
        "CNAME" => new CNameRecord(name, (int)set.Ttl.TotalSeconds, DomainName.Parse(value)),
        var other => throw new InvalidOperationException($"The embedded responder keeps no {other} records."),
    };

    private static SoaRecord Soa(Zone zone) => new(
        DomainName.Parse(zone.Name), (int)SoaTtl.TotalSeconds, DomainName.Parse("ns." + zone.Name), DomainName.Parse("hostmaster." + zone.Name),
        zone.Serial, 60, 30, 3600, (int)SoaTtl.TotalSeconds);

    private static string TextOf(DnsRecordBase record) => record switch
    {
        ARecord a => a.Address.ToString(),
        AaaaRecord a => a.Address.ToString(),
        CNameRecord c => c.CanonicalName.ToString(false).TrimEnd('.'),
        _ => record.ToString(),
    };

    private async Task ReloadAsync(CancellationToken cancel)
    {
        var all = await records.ListAsync(cancel);
        _zone = new(policy.Current.Dns.Name.TrimEnd('.').ToLowerInvariant(), [.. all.Select(r => r.Set)], (uint)(1 + all.Sum(r => r.Version)));
    }

    internal sealed record Zone(string Name, IReadOnlyList<DnsRecordSet> Sets, uint Serial);

    [LoggerMessage(Level = LogLevel.Information, Message = "Answering for {Zone} at {Listen} (UDP and TCP).")]
    private static partial void LogListening(ILogger logger, string zone, string listen);

    [LoggerMessage(Level = LogLevel.Error, Message = "The embedded name server cannot listen at {Listen}.")]
    private static partial void LogNoListener(ILogger logger, Exception error, string listen);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The embedded name server failed on something.")]
    private static partial void LogFailed(ILogger logger, Exception error);
}
