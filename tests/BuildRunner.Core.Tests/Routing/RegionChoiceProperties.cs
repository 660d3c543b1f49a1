using BuildRunner.Core.Databases;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Routing;
using CsCheck;
using static BuildRunner.Core.Tests.Routing.TestTable;

namespace BuildRunner.Core.Tests.Routing;

/// <summary>What holds for every table and every request.</summary>
public class RegionChoiceProperties
{
    private static readonly string[] Codes = ["us-east-1", "us-west-1", "eu-west-1", "ap-south-1"];
    private static readonly Gen<string> Code = Of(Codes);
    private static readonly Gen<HealthState> Health = Gen.Enum<HealthState>();

    private static readonly Gen<RegionRow> Row =
        Gen.Select(Gen.Int[0, 3], Health, Gen.Bool, Of(0, 20, 100), Gen.Bool, Gen.OneOf(Gen.Const((double?)null), Gen.Double[0, 10].Select(d => (double?)d)),
            (index, health, draining, weight, reads, lag) => Make().Regions[index] with { Health = health, Draining = draining, Weight = weight, ServesReads = reads, LagSeconds = lag });

    private static readonly Gen<RoutingTable> Table =
        Gen.Select(
            Gen.Select(Row.Array[8], Code.Array[0, 4], Gen.Bool, Health.Array[18]),
            Gen.Select(Gen.Enum<EpochState>(), Code, Gen.Bool, Gen.Bool),
            Gen.Select(Code, Code, Gen.Double[0, 300]).Array[0, 12],
            (a, d, latencies) =>
            {
                var (rows, allowed, multi, instances) = a;
                var (state, primary, held, writable) = d;
                var at = 0;
                return Make().WithInstances(i => i with { Health = instances[at++ % instances.Length] }) with
                {
                    MultiRegion = multi,
                    AllowedRegions = [.. allowed.Distinct()],
                    Regions = [.. Make().Regions.Select(r => rows.FirstOrDefault(o => o.Code == r.Code) ?? r)],
                    Databases = [new DatabaseRow { Name = "main", Epoch = 9, State = state, Primary = primary, HoldId = held ? "run-9" : null, Writable = writable }],
                    Latencies = [.. latencies.GroupBy(l => (l.Item1, l.Item2)).Select(g => new LatencyRow(g.Key.Item1, g.Key.Item2, g.First().Item3))],
                };
            });

    private static readonly Gen<RequestFacts> Request =
        Gen.Select(
            Of("/api/orders", "/account", "/api/search", "/reports/sales", "/", "/assets/x.css"),
            Of("GET", "HEAD", "POST", "DELETE"),
            Of("us-east-1", "ap-south-1", "nowhere"),
            Gen.OneOf(Gen.Const((GeoPlace?)null), Gen.Select(Gen.Double[-90, 90], Gen.Double[-180, 180], Gen.Bool, (la, lo, city) => (GeoPlace?)new GeoPlace("XX", new GeoPoint(la, lo), city))),
            Gen.OneOf(Gen.Const((string?)null), Of<string?>([.. Codes, "mars-1", ""])),
            Gen.OneOf(Gen.Const((string?)null), Of<string?>([.. Codes, "mars-1"])),
            Gen.ULong,
            (path, method, gateway, place, cookie, affinity, client) => Facts(path, method, gateway, place, cookie, affinity, client));

    private static Gen<T> Of<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(i => values[i]);

    private static RegionDecision Choose(RequestFacts facts, RoutingTable table) => RegionChoice.Choose(facts, new RoutingView(table), Now);

    private static IEnumerable<string> Targets(RegionDecision decision) => decision switch
    {
        RegionDecision.Send { Retry: { } retry } send => [send.Region, retry],
        RegionDecision.Send send => [send.Region],
        RegionDecision.Hold hold => [hold.Region],
        _ => [],
    };

    [Fact]
    public void AllowedAndStayIn_AlwaysHold() =>
        Gen.Select(Request, Table).Sample((facts, table) =>
        {
            var view = new RoutingView(table);
            var decision = RegionChoice.Choose(facts, view, Now);
            return Targets(decision).All(t => view.IsAllowed(t) && (decision.Match!.Route.StayIn.Count == 0 || decision.Match.Route.StayIn.Contains(t)));
        });

    [Fact]
    public void WritesGoWhereTheEpochIs_OrNowhere() =>
        Gen.Select(Request, Table).Sample((facts, table) =>
        {
            var decision = Choose(facts, table);
            if (!decision.IsWrite || decision.Match!.Service.Database is null)
                return true;
            var row = table.Databases[0];
            return decision switch
            {
                RegionDecision.Send send => row is { State: EpochState.Open, HoldId: null, Writable: true } && send.Epoch == row.Epoch && send.Retry is null && send.Region == (table.MultiRegion ? row.Primary : table.DefaultRegion),
                RegionDecision.Hold hold => hold.HoldId == row.HoldId,
                _ => true,
            };
        });

    /// <summary>Health, cookies, latency and place change nothing about who is primary: a stale belief never makes one.</summary>
    [Fact]
    public void WhoIsPrimary_IsTheEpochsAlone() =>
        Gen.Select(Request, Table, Request, Health.Array[4]).Sample((facts, table, other, health) =>
        {
            var write = facts with { Method = "POST", Path = "/api/orders" };
            var elsewhere = other with { Method = "POST", Path = "/api/orders" };
            var at = 0;
            var changed = table with { Regions = [.. table.Regions.Select(r => r with { Health = health[at++ % 4], ServesReads = !r.ServesReads })], Latencies = [] };
            return Targets(Choose(write, table)).SequenceEqual(Targets(Choose(elsewhere, changed)));
        });

    [Fact]
    public void ReadsOfADatabase_NeverMeetARegionWithoutACopyInTime() =>
        Gen.Select(Request, Table).Sample((facts, table) =>
        {
            var decision = Choose(facts, table);
            if (!table.MultiRegion || decision.IsWrite || decision.Match?.Service.Database is null)
                return true;
            return Targets(decision).Select(t => table.Regions.Single(r => r.Code == t)).All(r =>
                r.HasDatabase && r.Health != HealthState.Unhealthy
                && ((table.Databases[0].Primary == r.Code && table.Databases[0].State != EpochState.Moving) || (r.ServesReads && r.LagSeconds <= table.ReadLagMax.TotalSeconds)));
        });

    /// <summary>What br-region or br-affinity get, the same request gets without them from somebody's place: they choose, they do not grant.</summary>
    [Fact]
    public void CookiesNeverGrant() =>
        Gen.Select(Request, Table).Sample((facts, table) =>
        {
            var bare = facts with { RegionCookie = null, Affinity = null };
            var (with, without) = (Choose(facts, table), Choose(bare, table));
            return with.GetType() == without.GetType()
                && (with is not RegionDecision.Send { Precision: RoutePrecision.Cookie or RoutePrecision.Affinity } send
                    || table.Regions.Single(r => r.Code == send.Region) is { Health: HealthState.Healthy or HealthState.Degraded, Draining: false });
        });

    [Fact]
    public void SameFacts_SameDecision_ExplainedOrNot() =>
        Gen.Select(Request, Table).Sample((facts, table) =>
        {
            var explained = RegionChoice.Choose(facts, new RoutingView(table), Now, explain: true);
            return explained.Reasons.Count > 0 && (explained with { Reasons = [] }).Equals(Choose(facts, table) with { Reasons = [] });
        });

    [Fact]
    public void OrderOfRegionsInTheTable_DoesNotMatter() =>
        Gen.Select(Request, Table).Sample((facts, table) =>
            Targets(Choose(facts, table)).SequenceEqual(Targets(Choose(facts, table with { Regions = [.. table.Regions.Reverse()] }))));

    [Fact]
    public void ThousandRepeats_ThousandEqualAnswers()
    {
        var view = new RoutingView(Make().With("eu-west-1", r => r with { Weight = 50 }));
        var facts = Facts(place: Germany, client: ClientKey.Of(System.Net.IPAddress.Parse("81.2.69.142")));
        Assert.Single(Enumerable.Range(0, 1000).Select(_ => ((RegionDecision.Send)RegionChoice.Choose(facts, view, Now)).Region).Distinct());
    }
}
