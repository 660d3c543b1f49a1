using BuildRunner.Core.Databases;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Routing;

namespace BuildRunner.Core.Tests.Routing;

/// <summary>The shipped regions with the round trips of `br dev`.</summary>
internal static class TestTable
{
    public static readonly DateTimeOffset Now = new(2026, 11, 23, 12, 0, 0, TimeSpan.Zero);

    private static readonly (string A, string B, double Ms)[] Wan =
    [
        ("us-east-1", "us-west-1", 62), ("us-east-1", "eu-west-1", 76), ("us-west-1", "eu-west-1", 138),
        ("us-east-1", "ap-south-1", 187), ("us-west-1", "ap-south-1", 222), ("eu-west-1", "ap-south-1", 122),
    ];

    public static RoutingTable Make() => new()
    {
        Version = 7,
        At = Now,
        DefaultRegion = "us-east-1",
        AllowedRegions = ["us-east-1", "us-west-1", "eu-west-1", "ap-south-1"],
        Regions =
        [
            Region("us-east-1", RegionRole.Primary, 38.95, -77.45),
            Region("us-west-1", RegionRole.Standby, 37.35, -121.95),
            Region("eu-west-1", RegionRole.Replica, 53.34, -6.26),
            Region("ap-south-1", RegionRole.Edge, 19.08, 72.88),
        ],
        Services =
        [
            Service("api", "main", [new RouteRow { Pattern = "/api/**" }, new RouteRow { Pattern = "/account", StayIn = ["eu-west-1"] }, new RouteRow { Pattern = "/api/search", Reads = ReadKind.All }]),
            Service("reports", "main", [new RouteRow { Pattern = "/reports/**", PreferReplica = true }]),
            Service("web", null, [new RouteRow { Pattern = "/**" }, new RouteRow { Pattern = "/assets/**" }]),
        ],
        Databases = [new DatabaseRow { Name = "main", Epoch = 3, State = EpochState.Open, Primary = "us-east-1" }],
        Latencies = [.. Wan.SelectMany(w => new[] { new LatencyRow(w.A, w.B, w.Ms), new LatencyRow(w.B, w.A, w.Ms) })],
        TrustedProxies = ["127.0.0.0/8"],
    };

    public static RoutingTable With(this RoutingTable table, string region, Func<RegionRow, RegionRow> change) =>
        table with { Regions = [.. table.Regions.Select(r => r.Code == region ? change(r) : r)] };

    public static RoutingTable WithDatabase(this RoutingTable table, Func<DatabaseRow, DatabaseRow> change) =>
        table with { Databases = [.. table.Databases.Select(change)] };

    public static RoutingTable WithInstances(this RoutingTable table, Func<InstanceRow, InstanceRow?> change) =>
        table with { Services = [.. table.Services.Select(s => s with { Instances = [.. s.Instances.Select(change).OfType<InstanceRow>()] })] };

    public static RequestFacts Facts(string path = "/api/orders", string method = "GET", string gateway = "ap-south-1", GeoPlace? place = null, string? cookie = null, string? affinity = null, ulong client = 42) => new()
    {
        Gateway = gateway,
        Method = method,
        Path = path,
        Client = client,
        Place = place,
        RegionCookie = cookie,
        Affinity = affinity is null ? null : new AffinityClaim(affinity, Now.AddMinutes(-1), Now.AddMinutes(29)),
    };

    public static readonly GeoPlace Germany = new("DE", new GeoPoint(50.8, 9.6), City: false);
    public static readonly GeoPlace Brazil = new("BR", new GeoPoint(-16.5, -45.6), City: false);
    public static readonly GeoPlace India = new("IN", new GeoPoint(22.9, 79.8), City: false);
    public static readonly GeoPlace Japan = new("JP", new GeoPoint(35.6, 137.0), City: false);
    public static readonly GeoPlace UnitedStates = new("US", new GeoPoint(37.4, -92.3), City: false);
    public static readonly GeoPlace California = new("US", new GeoPoint(34.05, -118.24), City: true);

    private static RegionRow Region(string code, RegionRole role, double latitude, double longitude) => new()
    {
        Code = code,
        Name = code,
        Role = role,
        Location = new GeoPoint(latitude, longitude),
        Endpoint = $"http://{code}",
        Health = HealthState.Healthy,
        HasDatabase = role != RegionRole.Edge,
        ServesReads = role is RegionRole.Replica or RegionRole.Standby,
        LagSeconds = role is RegionRole.Replica or RegionRole.Standby ? 0 : null,
    };

    private static ServiceRow Service(string name, string? database, RouteRow[] routes) => new()
    {
        Name = name,
        Database = database,
        Routes = routes,
        Instances =
        [
            .. new[] { "us-east-1", "us-west-1", "eu-west-1" }.SelectMany(r => new[] { 1, 2 }.Select(i => new InstanceRow
            {
                Region = r, Id = $"{name}-{i}", Address = $"http://{r}.{name}:{9000 + i}", Version = "v1", Health = HealthState.Healthy,
            })),
        ],
    };
}
