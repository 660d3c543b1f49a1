using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Recovery;

/// <summary>All that an authoritative server knows: its zone's names, and where each address stands.</summary>
public sealed record DnsZone
{
    /// <summary>In lower case, without the last dot; everything below it is answered for.</summary>
    public required string Name { get; init; }
    public required uint Serial { get; init; }
    public required IReadOnlyList<string> NameServers { get; init; }
    public required IReadOnlyDictionary<string, DnsRecord> Records { get; init; }

    /// <summary>Where an address stands and what share it takes, by address.</summary>
    public IReadOnlyDictionary<string, DnsTarget> Targets { get; init; } = new Dictionary<string, DnsTarget>();
    public DnsChoice Choice { get; init; }

    /// <summary>Of SOA and NS, and how long "there is nothing" may be remembered.</summary>
    public TimeSpan Ttl { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Whether a name exists: it has records, is the apex, or stands between the apex and one that has.</summary>
    public bool Has(string name) => name == Name || Records.Keys.Any(known => known == name || known.EndsWith("." + name, StringComparison.Ordinal));

    /// <param name="policy">Its `dns` section and its regions.</param>
    /// <param name="records">What the store holds.</param>
    /// <param name="serial">Grows with every change of them.</param>
    public static DnsZone Of(PolicyDocument policy, IEnumerable<DnsRecord> records, uint serial)
    {
        var rules = policy.Dns;
        var zone = DnsRecord.Canonical(rules.Name);
        var known = records.Where(r => r.Name == zone || r.Name.EndsWith("." + zone, StringComparison.Ordinal)).ToDictionary(r => r.Name, StringComparer.Ordinal);
        var servers = rules.NameServers.Select(DnsRecord.Canonical).ToList();
        if (servers.Count == 0)
        {
            servers.Add("ns." + zone);
            if (ServerAddress.TryParse(rules.Listen, out var listen))
                known.TryAdd("ns." + zone, DnsRecord.Of("ns." + zone, rules.Ttl, [listen.Host]));
        }
        var targets = new Dictionary<string, DnsTarget>(StringComparer.Ordinal);
        foreach (var region in policy.Regions)
        {
            foreach (var host in DnsGateway.Of(region, rules, live: true, null).Hosts)
                targets.TryAdd(DnsRecord.Canonical(host), new(region.Location, rules.Weights.GetValueOrDefault(region.Code, 100)));
        }
        return new() { Name = zone, Serial = serial, NameServers = servers, Records = known, Targets = targets, Choice = rules.Answers };
    }
}

/// <summary>A gateway's place on earth, and its share under <see cref="DnsChoice.Weighted"/>.</summary>
public readonly record struct DnsTarget(GeoPoint Location, int Weight);
