using System.Net;
using System.Net.Sockets;

namespace BuildRunner.Core.Recovery;

/// <summary>A set of records of one name and type.</summary>
public sealed record DnsRecordSet(string Name, string Type, IReadOnlyList<string> Addresses, TimeSpan Ttl)
{
    public bool Same(DnsRecordSet? other) => other is not null && Name == other.Name && Type == other.Type && Ttl == other.Ttl
        && Addresses.Order(StringComparer.Ordinal).SequenceEqual(other.Addresses.Order(StringComparer.Ordinal));
}

/// <summary>A region's gateway as the names see it.</summary>
public sealed record DnsGateway(string Region, string Endpoint, bool Live);

/// <summary>What the users' name and `primary.NAME` should answer.</summary>
public static class DnsAnswers
{
    /// <summary>
    /// NAME: every live gateway; a dead region's address goes. When none lives the sets are empty and whatever was answered before
    /// stands: an answer that may work is better than none. `primary.NAME`: the gateway of the primary's region.
    /// </summary>
    public static IReadOnlyList<DnsRecordSet> Decide(string name, TimeSpan ttl, IReadOnlyList<DnsGateway> gateways, string? primary)
    {
        var sets = new List<DnsRecordSet>();
        var live = gateways.Where(g => g.Live).ToList();
        sets.AddRange(Sets(name, ttl, live.Select(g => Host(g.Endpoint)), several: true));
        if (gateways.FirstOrDefault(g => g.Region == primary) is { } home)
            sets.AddRange(Sets($"primary.{name}", ttl, [Host(home.Endpoint)], several: false));
        return sets;
    }

    private static IEnumerable<DnsRecordSet> Sets(string name, TimeSpan ttl, IEnumerable<string> hosts, bool several)
    {
        var known = hosts.Distinct(StringComparer.Ordinal).ToList();
        var addresses = known.Select(h => IPAddress.TryParse(h, out var address) ? address : null).OfType<IPAddress>().ToList();
        foreach (var family in addresses.GroupBy(a => a.AddressFamily))
            yield return new(name, family.Key == AddressFamily.InterNetwork ? "A" : "AAAA", [.. family.Select(a => a.ToString()).Order(StringComparer.Ordinal)], ttl);
        // A name beside others cannot be a CNAME; a load balancer's name serves where it stands alone.
        if (addresses.Count == 0 && known is [var alias] && !(several && alias == name))
            yield return new(name, "CNAME", [alias], ttl);
    }

    private static string Host(string endpoint) => Uri.TryCreate(endpoint, UriKind.Absolute, out var uri) ? uri.Host.Trim('[', ']') : endpoint;
}
