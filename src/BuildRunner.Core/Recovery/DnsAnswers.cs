using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Recovery;

/// <summary>A region's gateway as the names see it.</summary>
/// <param name="Region">Its code.</param>
/// <param name="Hosts">Where users reach it: addresses, or one host name.</param>
/// <param name="Live">Whether it may be answered; a dead region's address goes.</param>
/// <param name="Draining">No new work is wanted there.</param>
/// <param name="Weight">Its share; 0: none while another lives.</param>
public sealed record DnsGateway(string Region, IReadOnlyList<string> Hosts, bool Live, bool Draining = false, int Weight = 100)
{
    public static DnsGateway Of(RegionDefinition region, DnsRules rules, bool live, HealthState? health) => new(
        region.Code, rules.Addresses.GetValueOrDefault(region.Code) ?? (Host(region.Endpoint) is { } host ? [host] : []),
        live && health != HealthState.Unhealthy, health == HealthState.Draining, rules.Weights.GetValueOrDefault(region.Code, 100));

    private static string? Host(string endpoint) => Uri.TryCreate(endpoint, UriKind.Absolute, out var uri) ? uri.Host.Trim('[', ']') : endpoint.Length > 0 ? endpoint : null;
}

/// <summary>What the users' name and `primary.NAME` should answer.</summary>
public static class DnsAnswers
{
    public static string PrimaryOf(string name) => $"primary.{DnsRecord.Canonical(name)}";

    /// <summary>
    /// NAME: the live gateways that want work; when none wants it, the live ones. When none lives NAME is not among the answers, and whatever
    /// it answered before stands: an answer that may work is better than none. `primary.NAME`: the gateway of the primary's region.
    /// </summary>
    /// <param name="name">The users' name.</param>
    /// <param name="ttl">How long an answer may be kept.</param>
    /// <param name="gateways">One for each region, in the policy's order.</param>
    /// <param name="primary">Region that the epoch's record names; null: none yet.</param>
    /// <param name="kept">What NAME was given before, where a server that has just started has not heard of everyone: nothing of it is withdrawn.</param>
    public static IReadOnlyList<DnsRecord> Decide(string name, TimeSpan ttl, IReadOnlyList<DnsGateway> gateways, string? primary, IReadOnlyList<string>? kept = null)
    {
        var records = new List<DnsRecord>();
        var live = gateways.Where(g => g.Live && g.Hosts.Count > 0).ToList();
        var given = FirstOfAny(live.Where(g => g is { Draining: false, Weight: > 0 }), live.Where(g => g.Weight > 0), live);
        var home = gateways.FirstOrDefault(g => g.Region == primary);
        if (given.Count > 0)
            records.Add(DnsRecord.Of(name, ttl, Together([.. given.SelectMany(g => g.Hosts), .. Known(gateways, kept)], home?.Hosts)));
        if (home is { Hosts.Count: > 0 })
            records.Add(DnsRecord.Of(PrimaryOf(name), ttl, Together(home.Hosts, null)));
        return records;
    }

    /// <summary>What was given before and still belongs to a region: an address that no region has any more goes at once.</summary>
    private static IEnumerable<string> Known(IReadOnlyList<DnsGateway> gateways, IReadOnlyList<string>? kept) =>
        kept is null ? [] : gateways.Where(g => g.Weight > 0).SelectMany(g => g.Hosts).Where(h => kept.Contains(DnsRecord.Canonical(h)));

    /// <summary>Addresses stand together; a host name stands alone, the primary's before others.</summary>
    private static List<string> Together(IReadOnlyList<string> hosts, IReadOnlyList<string>? first)
    {
        var addresses = hosts.Where(h => DnsRecord.TypeOf(h) != DnsRecord.Cname).ToList();
        return addresses.Count > 0 ? addresses : [hosts.FirstOrDefault(h => first?.Contains(h) == true) ?? hosts[0]];
    }

    private static List<DnsGateway> FirstOfAny(params IEnumerable<DnsGateway>[] choices) => choices.Select(c => c.ToList()).FirstOrDefault(c => c.Count > 0) ?? [];
}
