using System.Collections.Frozen;
using System.Net;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Routing;

/// <summary>A routing table made ready for lookups; built once a version, immutable.</summary>
public sealed class RoutingView
{
    private readonly FrozenDictionary<string, RegionRow> _regions;
    private readonly FrozenSet<string> _allowed;
    private readonly FrozenDictionary<string, DatabaseRow> _databases;
    private readonly FrozenDictionary<(string From, string To), double> _latencies;
    private readonly FrozenDictionary<(string Service, string Region), InstanceRow[]> _instances;
    private readonly FrozenDictionary<string, (RoutePattern Pattern, RouteMatch Match)[]>.AlternateLookup<ReadOnlySpan<char>> _byFirst;
    private readonly (RoutePattern Pattern, RouteMatch Match)[] _anyFirst;

    public RoutingView(RoutingTable table)
    {
        Table = table;
        _regions = table.Regions.ToFrozenDictionary(r => r.Code, StringComparer.Ordinal);
        _allowed = (table.AllowedRegions.Count > 0 ? table.AllowedRegions : [.. table.Regions.Select(r => r.Code)]).ToFrozenSet(StringComparer.Ordinal);
        _databases = table.Databases.ToFrozenDictionary(d => d.Name, StringComparer.Ordinal);
        _latencies = table.Latencies.ToFrozenDictionary(l => (l.From, l.To), l => l.Milliseconds);
        _instances = table.Services
            .SelectMany(s => s.Instances.Select(i => (Service: s.Name, Instance: i)))
            .GroupBy(i => (i.Service, i.Instance.Region), i => i.Instance)
            .ToFrozenDictionary(g => g.Key, g => g.OrderBy(i => i.Id, StringComparer.Ordinal).ToArray());
        TrustedProxies = [.. table.TrustedProxies.Select(p => IPNetwork.TryParse(p, out var network) ? network : (IPNetwork?)null).OfType<IPNetwork>()];

        var routes = table.Services
            .SelectMany(s => s.Routes.Select(r => (Pattern: new RoutePattern(r.Pattern), Match: new RouteMatch(s, r))))
            .OrderBy(r => r.Pattern)
            .ToList();
        _anyFirst = [.. routes.Where(r => r.Pattern.FirstLiteral is null)];
        // A list a first segment holds those that may start with anything too: one list is looked through, in order of precedence.
        _byFirst = routes
            .Select(r => r.Pattern.FirstLiteral).OfType<string>().Distinct(StringComparer.OrdinalIgnoreCase)
            .ToFrozenDictionary(f => f, f => routes.Where(r => r.Pattern.FirstLiteral is not { } own || own.Equals(f, StringComparison.OrdinalIgnoreCase)).ToArray(), StringComparer.OrdinalIgnoreCase)
            .GetAlternateLookup<ReadOnlySpan<char>>();
    }

    public RoutingTable Table { get; }

    /// <summary>Networks whose X-Forwarded-* are believed; what is no network is left out.</summary>
    public IReadOnlyList<IPNetwork> TrustedProxies { get; }

    public RegionRow? Region(string code) => _regions.GetValueOrDefault(code);
    public bool IsAllowed(string code) => _allowed.Contains(code);
    public DatabaseRow? Database(string name) => _databases.GetValueOrDefault(name);
    public IReadOnlyList<InstanceRow> Instances(string service, string region) => _instances.GetValueOrDefault((service, region)) ?? [];

    /// <summary>Round trip from a region's gateway to another region, in milliseconds; a region is at no distance from itself; null: unknown.</summary>
    public double? Latency(string from, string to) => from == to ? 0 : _latencies.TryGetValue((from, to), out var ms) ? ms : null;

    /// <summary>The most specific route that matches a path; null: no service has it.</summary>
    public RouteMatch? Match(string path)
    {
        var rest = path.AsSpan();
        var routes = RoutePattern.NextSegment(ref rest, out var first) && _byFirst.TryGetValue(first, out var own) ? own : _anyFirst;
        foreach (var (pattern, match) in routes)
        {
            if (pattern.Matches(path))
                return match;
        }
        return null;
    }

    /// <summary>A service as its own requests of ours (warm, verify) see it: no route, reads by method.</summary>
    public RouteMatch? MatchService(string service) =>
        Table.Services.FirstOrDefault(s => s.Name == service) is { } row ? new RouteMatch(row, new RouteRow { Pattern = "/**" }) : null;

    /// <summary>The region nearest a point by great-circle distance; equal distances go by code.</summary>
    public RegionRow? Nearest(GeoPoint point) =>
        Table.Regions.OrderBy(r => r.Location.DistanceKm(point)).ThenBy(r => r.Code, StringComparer.Ordinal).FirstOrDefault();
}

/// <summary>A route and the service it belongs to.</summary>
public sealed record RouteMatch(ServiceRow Service, RouteRow Route)
{
    /// <summary>Whether a request must go to the primary of the service's database.</summary>
    public bool IsWrite(string method, bool stream) => Route.Reads switch
    {
        ReadKind.All => false,
        ReadKind.None => true,
        _ => stream || !IsSafe(method),
    };

    public static bool IsSafe(string method) => method is "GET" or "HEAD" or "OPTIONS";
}
