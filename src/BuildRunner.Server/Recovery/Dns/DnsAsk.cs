using System.Net;
using ARSoft.Tools.Net;
using ARSoft.Tools.Net.Dns;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>Questions to one name server: UDP, and TCP when the answer is cut; at most two seconds each.</summary>
internal static class DnsAsk
{
    private const int TimeoutMs = 2000;

    /// <summary>What a server answers for a name: addresses of both families, or its CNAME.</summary>
    /// <param name="server">Who is asked.</param>
    /// <param name="name">The name.</param>
    /// <param name="authoritative">True: an answer that is not the server's own is none. False: a resolver, asked to look further.</param>
    /// <param name="cancel">Ends the wait.</param>
    public static async Task<(DnsReading Reading, TimeSpan? Ttl)> ValuesAsync(IPEndPoint server, string name, bool authoritative, CancellationToken cancel)
    {
        var owner = DomainName.Parse(name);
        var found = await Task.WhenAll(AnswerAsync(server, owner, RecordType.A, !authoritative, cancel), AnswerAsync(server, owner, RecordType.Aaaa, !authoritative, cancel));
        foreach (var answer in found)
        {
            var wrong = answer switch
            {
                null => "no answer",
                { ReturnCode: not (ReturnCode.NoError or ReturnCode.NxDomain) } => $"answered {answer.ReturnCode.ToString().ToUpperInvariant()}",
                { IsAuthoritiveAnswer: false } when authoritative => "it is not authoritative for the name",
                _ => null,
            };
            if (wrong is not null)
                return (new(server.ToString(), null, wrong), null);
        }
        var records = found.SelectMany(answer => answer!.AnswerRecords).ToList();
        // A resolver follows an alias: what the name itself answers is the alias.
        var own = records.Where(r => r.Name.Equals(owner, ignoreCase: true) && r is ARecord or AaaaRecord or CNameRecord).ToList();
        return (new(server.ToString(), [.. own.Select(ValueOf).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)]), own.Count > 0 ? TimeSpan.FromSeconds(own.Max(r => r.TimeToLive)) : null);
    }

    /// <summary>Null: no answer came.</summary>
    public static async Task<DnsMessage?> AnswerAsync(IPEndPoint server, DomainName name, RecordType type, bool recurse, CancellationToken cancel)
    {
        using var client = new DnsClient([server.Address], [new UdpClientTransport(server.Port), new TcpClientTransport(server.Port)], true, TimeoutMs);
        var options = new DnsQueryOptions { IsRecursionDesired = recurse, IsEDnsEnabled = true, EDnsOptions = new OptRecord(1232, new UnknownOption((EDnsOptionType)DnsResponder.WholeOption, [])) };
        if (recurse)
            options = new DnsQueryOptions { IsRecursionDesired = true };
        return await client.ResolveAsync(name, type, RecordClass.INet, options, cancel);
    }

    /// <summary>The addresses of servers as the policy writes them.</summary>
    /// <exception cref="System.Net.Sockets.SocketException">A host name has no address.</exception>
    public static async Task<IReadOnlyList<IPEndPoint>> ResolveAsync(string server, CancellationToken cancel)
    {
        if (!ServerAddress.TryParse(server, out var address))
            throw new FormatException($"'{server}' is no address of a server.");
        IPAddress[] found = IPAddress.TryParse(address.Host, out var one) ? [one] : await System.Net.Dns.GetHostAddressesAsync(address.Host, cancel);
        return [.. found.Select(a => new IPEndPoint(a, address.Port))];
    }

    private static string ValueOf(DnsRecordBase record) => DnsRecord.Canonical(record switch
    {
        ARecord a => a.Address.ToString(),
        AaaaRecord a => a.Address.ToString(),
        CNameRecord c => c.CanonicalName.ToString(false),
        _ => record.ToString() ?? "",
    });
}
