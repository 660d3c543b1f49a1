using System.Net;
using System.Net.Sockets;
using ARSoft.Tools.Net;
using ARSoft.Tools.Net.Dns;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Policy;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>
/// The servers that are authoritative for the users' name: those of `dns.servers`, else those of the zone's NS records (at most 16, looked up anew
/// each minute; while a lookup fails the last ones stand). Each is asked by itself.
/// </summary>
internal sealed class AuthoritativeServers(IPolicySource policy, TimeProvider time)
{
    private const int ServersMax = 16;
    private static readonly TimeSpan KnownFor = TimeSpan.FromMinutes(1);
    private volatile Known? _known;

    public async Task<IReadOnlyList<DnsReading>> ReadAsync(string name, CancellationToken cancel)
    {
        var rules = policy.Current.Dns;
        var (servers, unknown) = rules.Servers.Count > 0 ? await ConfiguredAsync(rules.Servers, cancel) : await FoundAsync(rules, cancel);
        var answers = await Task.WhenAll(servers.Select(async server => (await DnsAsk.ValuesAsync(server, name, authoritative: true, cancel)).Reading));
        return [.. answers, .. unknown];
    }

    private static async Task<(IReadOnlyList<IPEndPoint>, IReadOnlyList<DnsReading>)> ConfiguredAsync(IReadOnlyList<string> servers, CancellationToken cancel)
    {
        var (found, wrong) = (new List<IPEndPoint>(), new List<DnsReading>());
        foreach (var server in servers.Take(ServersMax))
        {
            try { found.AddRange(await DnsAsk.ResolveAsync(server, cancel)); }
            catch (Exception error) when (error is SocketException or FormatException) { wrong.Add(new(server, null, "its name has no address here: write its address under dns.servers")); }
        }
        return (found, wrong);
    }

    private async Task<(IReadOnlyList<IPEndPoint>, IReadOnlyList<DnsReading>)> FoundAsync(DnsRules rules, CancellationToken cancel)
    {
        var known = _known;
        if (known is not null && known.For == rules && time.GetElapsedTime(known.At) < KnownFor)
            return (known.Servers, []);
        var found = await LookUpAsync(rules, cancel);
        if (found.Count == 0)
            return known is not null && known.For == rules ? (known.Servers, []) : ([], [new("NS lookup", null, $"no server of {rules.Name} was found: write the authoritative servers under dns.servers")]);
        _known = new(rules, found, time.GetTimestamp());
        return (found, []);
    }

    private static async Task<IReadOnlyList<IPEndPoint>> LookUpAsync(DnsRules rules, CancellationToken cancel)
    {
        var (asked, own) = await AskedAsync(rules, cancel);
        var labels = DnsRecord.Canonical(rules.Name).Split('.');
        for (var from = 0; from < labels.Length; from++)
        {
            var zone = DomainName.Parse(string.Join('.', labels[from..]));
            foreach (var resolver in asked)
            {
                var answer = await DnsAsk.AnswerAsync(resolver, zone, RecordType.Ns, recurse: true, cancel);
                var names = answer?.AnswerRecords.OfType<NsRecord>().Where(ns => ns.Name.Equals(zone, ignoreCase: true)).Select(ns => ns.NameServer).ToList() ?? [];
                if (names.Count == 0)
                    continue;
                var servers = new List<IPEndPoint>();
                foreach (var name in names.Take(ServersMax))
                {
                    var found = await Task.WhenAll(DnsAsk.AnswerAsync(resolver, name, RecordType.A, recurse: true, cancel), DnsAsk.AnswerAsync(resolver, name, RecordType.Aaaa, recurse: true, cancel));
                    var addresses = found.SelectMany(a => a?.AnswerRecords ?? []).Select(r => r switch { ARecord a => a.Address, AaaaRecord a => a.Address, _ => null }).OfType<IPAddress>().ToList();
                    if (addresses.Count == 0)
                        addresses = await SystemAsync(name, cancel);
                    // The update server may stand on a port of its own; all others are where the world asks them.
                    servers.AddRange(addresses.Select(a => own.FirstOrDefault(o => o.Address.Equals(a)) ?? new IPEndPoint(a, ServerAddress.DefaultPort)));
                }
                return [.. servers.Distinct().Take(ServersMax)];
            }
        }
        return [];
    }

    private static async Task<(IReadOnlyList<IPEndPoint> Asked, IReadOnlyList<IPEndPoint> Own)> AskedAsync(DnsRules rules, CancellationToken cancel)
    {
        if (rules is { Driver: DnsRules.Rfc2136, Update.Server: { } server })
        {
            try
            {
                var own = await DnsAsk.ResolveAsync(server, cancel);
                return (own, own);
            }
            catch (SocketException) { return ([], []); }
        }
        return ([.. DnsClient.GetLocalConfiguredDnsServers().Take(3).Select(a => new IPEndPoint(a, ServerAddress.DefaultPort))], []);
    }

    private static async Task<List<IPAddress>> SystemAsync(DomainName name, CancellationToken cancel)
    {
        try { return [.. await System.Net.Dns.GetHostAddressesAsync(name.ToString(false).TrimEnd('.'), cancel)]; }
        catch (SocketException) { return []; }
    }

    private sealed record Known(DnsRules For, IReadOnlyList<IPEndPoint> Servers, long At);
}
