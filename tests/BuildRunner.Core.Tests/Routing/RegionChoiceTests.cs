using BuildRunner.Core.Databases;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Routing;
using static BuildRunner.Core.Tests.Routing.TestTable;

namespace BuildRunner.Core.Tests.Routing;

public class RegionChoiceTests
{
    private static RegionDecision Choose(RequestFacts facts, RoutingTable? table = null) => RegionChoice.Choose(facts, new RoutingView(table ?? Make()), Now, explain: true);

    private static RegionDecision.Send Sent(RequestFacts facts, RoutingTable? table = null) => Assert.IsType<RegionDecision.Send>(Choose(facts, table));

    private static RegionDecision.Refuse Refused(RequestFacts facts, RoutingTable? table = null) => Assert.IsType<RegionDecision.Refuse>(Choose(facts, table));

    public static TheoryData<string, string, string, string> Places => new()
    {
        { "Germany", "eu-west-1", "eu-west-1", "country" },
        { "Brazil", "us-east-1", "us-east-1", "country" },
        { "India", "ap-south-1", "eu-west-1", "country" },
        { "Japan", "ap-south-1", "eu-west-1", "country" },
        { "UnitedStates", "us-east-1", "us-east-1", "country" },
        { "California", "us-west-1", "us-west-1", "city" },
    };

    [Theory, MemberData(nameof(Places))]
    public void Choose_ReadFromPlace_GoesToNearestThatMayServe(string place, string home, string region, string precision)
    {
        var where = (GeoPlace)typeof(TestTable).GetField(place)!.GetValue(null)!;
        foreach (var gateway in new[] { "us-east-1", "us-west-1", "eu-west-1", "ap-south-1" })
        {
            var sent = Sent(Facts(gateway: gateway, place: where));
            Assert.Equal((home, region, precision), (sent.Home, sent.Region, sent.Precision.ToString().ToLowerInvariant()));
        }
    }

    [Theory]
    [InlineData("us-east-1", "us-east-1")]
    [InlineData("us-west-1", "us-west-1")]
    [InlineData("ap-south-1", "eu-west-1")]
    public void Choose_PlaceUnknown_HomeIsTheGatewaysRegion(string gateway, string region)
    {
        var sent = Sent(Facts(gateway: gateway));
        Assert.Equal((region, RoutePrecision.Latency), (sent.Region, sent.Precision));
    }

    [Fact]
    public void Choose_PlaceAndGatewayUnknown_DefaultDecides() =>
        Assert.Equal(("us-east-1", RoutePrecision.Default), (Sent(Facts(gateway: "nowhere")).Region, Sent(Facts(gateway: "nowhere")).Precision));

    [Theory]
    [InlineData("POST")]
    [InlineData("DELETE")]
    [InlineData("PATCH")]
    public void Choose_Write_GoesToThePrimaryWithItsEpoch(string method)
    {
        var sent = Sent(Facts(method: method, place: Germany, cookie: "eu-west-1", affinity: "eu-west-1"));
        Assert.Equal(("us-east-1", "main", 3L, (string?)null), (sent.Region, sent.Database, sent.Epoch, sent.Retry));
    }

    [Fact]
    public void Choose_SearchByPost_IsARead() => Assert.Equal("eu-west-1", Sent(Facts("/api/search", "POST", place: Germany)).Region);

    [Fact]
    public void Choose_Stream_GoesToThePrimary() => Assert.Equal("us-east-1", Sent(Facts(place: Germany) with { Stream = true }).Region);

    [Fact]
    public void Choose_PreferReplica_LeavesThePrimaryAloneInItsOwnRegion()
    {
        Assert.Equal("us-west-1", Sent(Facts("/reports/sales", place: UnitedStates)).Region);
        Assert.Equal("us-west-1", Sent(Facts("/reports/sales", place: UnitedStates, cookie: "us-east-1", affinity: "us-east-1")).Region);
    }

    [Fact]
    public void Choose_NoReplicaLeft_FallsBackToThePrimary()
    {
        var table = Make().With("eu-west-1", r => r with { ServesReads = false }).With("us-west-1", r => r with { LagSeconds = 5.1 });
        Assert.Equal("us-east-1", Sent(Facts("/reports/sales", place: Germany), table).Region);
    }

    [Theory]
    [InlineData(5.0, "eu-west-1")]
    [InlineData(5.01, "us-west-1")]
    [InlineData(null, "us-west-1")]
    public void Choose_Lag_BothSidesOfTheLimit(double? lag, string region) =>
        Assert.Equal(region, Sent(Facts(place: Germany), Make().With("eu-west-1", r => r with { LagSeconds = lag })).Region);

    [Theory]
    [InlineData(86.0, "us-west-1")] // 10 ms apart: equal, and the distance decides
    [InlineData(86.1, "eu-west-1")]
    public void Choose_LatenciesWithinTenMilliseconds_DistanceDecides(double west, string region)
    {
        var table = Make() with { Latencies = [new("us-east-1", "eu-west-1", 76), new("us-east-1", "us-west-1", west)] };
        Assert.Equal(region, Sent(Facts("/reports/sales", place: UnitedStates), table).Region);
    }

    [Fact]
    public void Choose_ALatencyUnknown_DistanceDecides()
    {
        var table = Make() with { Latencies = [new("us-east-1", "eu-west-1", 1)] };
        Assert.Equal("us-west-1", Sent(Facts("/reports/sales", place: UnitedStates), table).Region);
    }

    [Theory]
    [InlineData("us-west-1", "us-west-1", RoutePrecision.Cookie)]
    [InlineData("us-east-1", "us-east-1", RoutePrecision.Cookie)]
    [InlineData("ap-south-1", "eu-west-1", RoutePrecision.Country)] // an edge serves nothing that needs a database
    [InlineData("mars-1", "eu-west-1", RoutePrecision.Country)]
    public void Choose_RegionCookie_IsAHintAmongThoseThatMayServe(string cookie, string region, RoutePrecision precision)
    {
        var sent = Sent(Facts(place: Germany, cookie: cookie, affinity: null));
        Assert.Equal((region, precision), (sent.Region, sent.Precision));
    }

    [Theory]
    [InlineData(HealthState.Unhealthy)]
    [InlineData(HealthState.Unknown)]
    [InlineData(HealthState.Draining)]
    public void Choose_CookiesOfARegionThatIsNotWell_AreLeft(HealthState health)
    {
        var table = Make().With("us-west-1", r => r with { Health = health });
        Assert.Equal("eu-west-1", Sent(Facts(place: Germany, cookie: "us-west-1", affinity: "us-west-1"), table).Region);
    }

    [Fact]
    public void Choose_RegionCookieBeforeAffinityBeforePlace()
    {
        Assert.Equal((RoutePrecision.Cookie, "us-west-1"), (Sent(Facts(place: Germany, cookie: "us-west-1", affinity: "us-east-1")).Precision, Sent(Facts(place: Germany, cookie: "us-west-1", affinity: "us-east-1")).Region));
        Assert.Equal((RoutePrecision.Affinity, "us-east-1"), (Sent(Facts(place: Germany, affinity: "us-east-1")).Precision, Sent(Facts(place: Germany, affinity: "us-east-1")).Region));
    }

    [Fact]
    public void Choose_AffinityExpired_IsIgnored()
    {
        var facts = Facts(place: Germany) with { Affinity = new AffinityClaim("us-west-1", Now.AddHours(-1), Now) };
        Assert.Equal("eu-west-1", Sent(facts).Region);
    }

    [Fact]
    public void Choose_UnknownHealth_IsALastResortForReads()
    {
        var table = Make();
        foreach (var code in new[] { "us-east-1", "us-west-1", "eu-west-1" })
            table = table.With(code, r => r with { Health = HealthState.Unknown });
        Assert.Equal("eu-west-1", Sent(Facts(place: Germany), table).Region);
        Assert.Equal("us-west-1", Sent(Facts(place: Germany), table.With("us-west-1", r => r with { Health = HealthState.Healthy })).Region);
        Assert.Equal("us-east-1", Sent(Facts(method: "POST"), table).Region);
    }

    [Fact]
    public void Choose_AllUnhealthy_Is503() =>
        Assert.Equal(503, Refused(Facts(), Make() with { Regions = [.. Make().Regions.Select(r => r with { Health = HealthState.Unhealthy })] }).Status);

    [Fact]
    public void Choose_SeenDownByTheGateway_IsTakenLast()
    {
        var facts = Facts(place: Germany) with { SeenDown = new HashSet<(string, string)> { ("eu-west-1", "api") } };
        Assert.Equal(("us-west-1", "us-east-1"), (Sent(facts).Region, Sent(facts).Retry));
    }

    [Theory]
    [InlineData("GET", 503)] // the region is allowed, its copy is away: refused rather than rerouted
    [InlineData("POST", 451)] // the primary is elsewhere
    public void Choose_StayIn_IsRefusedRatherThanRerouted(string method, int status)
    {
        Assert.Equal("eu-west-1", Sent(Facts("/account", place: UnitedStates, cookie: "us-east-1", affinity: "us-east-1")).Region);
        Assert.Equal(status, Refused(Facts("/account", method, place: UnitedStates), Make().With("eu-west-1", r => r with { Health = HealthState.Unhealthy })).Status);
        Assert.Equal("eu-west-1", Sent(Facts("//ACCOUNT/", place: UnitedStates)).Region);
    }

    [Fact]
    public void Choose_PrimaryNotAllowed_Is403()
    {
        var table = Make() with { AllowedRegions = ["eu-west-1"] };
        Assert.Equal(403, Refused(Facts(method: "POST"), table).Status);
        Assert.Equal(451, Refused(Facts("/account"), Make() with { AllowedRegions = ["us-east-1"] }).Status);
    }

    [Fact]
    public void Choose_HoldOrMovingEpoch_NoWriteGoesOut()
    {
        var held = Assert.IsType<RegionDecision.Hold>(Choose(Facts(method: "POST"), Make().WithDatabase(d => d with { HoldId = "run-1", State = EpochState.Closing })));
        Assert.Equal(("run-1", "us-east-1"), (held.HoldId, held.Region));
        Assert.Equal(503, Refused(Facts(method: "POST"), Make().WithDatabase(d => d with { State = EpochState.Moving })).Status);
        Assert.Equal(503, Refused(Facts(method: "POST"), Make().WithDatabase(d => d with { Writable = false })).Status);
    }

    [Fact]
    public void Choose_WhileMoving_TheTargetIsReadOnlyAsACopy()
    {
        var table = Make().WithDatabase(d => d with { Epoch = 4, State = EpochState.Moving, Primary = "us-west-1" }).With("us-east-1", r => r with { Health = HealthState.Unhealthy });
        Assert.Equal("us-west-1", Sent(Facts(place: UnitedStates), table).Region);
        Assert.Equal("eu-west-1", Sent(Facts(place: UnitedStates), table.With("us-west-1", r => r with { ServesReads = false })).Region);
    }

    [Fact]
    public void Choose_MultiRegionOff_EverythingGoesToTheDefaultRegion()
    {
        var table = Make() with { MultiRegion = false };
        Assert.Equal(("us-east-1", (string?)null), (Sent(Facts(place: Germany, cookie: "eu-west-1"), table).Region, Sent(Facts(place: Germany), table).Retry));
        Assert.Equal("us-east-1", Sent(Facts(method: "POST"), table).Region);
        Assert.Equal(403, Refused(Facts(), table with { AllowedRegions = ["eu-west-1"] }).Status);
    }

    [Fact]
    public void Choose_ServiceWithoutDatabase_IsServedAnywhere()
    {
        Assert.Equal("eu-west-1", Sent(Facts("/", "POST", place: Germany)).Region);
        Assert.Null(Sent(Facts("/", "POST", place: Germany)).Database);
        var edge = Make();
        edge = edge with { Services = [.. edge.Services.Select(s => s.Name == "web" ? s with { Instances = [.. s.Instances, s.Instances[0] with { Region = "ap-south-1" }] } : s)] };
        Assert.Equal("ap-south-1", Sent(Facts("/", place: India), edge).Region);
    }

    [Fact]
    public void Choose_Draining_NewReadsGoElsewhereAndWritesStay()
    {
        var table = Make().With("us-east-1", r => r with { Draining = true });
        Assert.Equal("us-west-1", Sent(Facts(place: UnitedStates), table).Region);
        Assert.Equal("us-east-1", Sent(Facts(method: "POST"), table).Region);
    }

    [Fact]
    public void Choose_Weight_ItsShareStaysAndTheSameClientsAlways()
    {
        var view = new RoutingView(Make().With("eu-west-1", r => r with { Weight = 20 }));
        var kept = Enumerable.Range(0, 10_000).Count(i => RegionChoice.Choose(Facts(place: Germany, client: (ulong)i), view, Now) is RegionDecision.Send { Region: "eu-west-1" });
        Assert.InRange(kept, 1_850, 2_150);
    }

    [Fact]
    public void Choose_NoInstance_IsNoPlaceToGo()
    {
        var table = Make().WithInstances(i => i.Region == "eu-west-1" ? i with { Health = HealthState.Unhealthy } : i);
        Assert.Equal("us-west-1", Sent(Facts(place: Germany), table).Region);
        Assert.Equal(503, Refused(Facts(method: "POST"), Make().WithInstances(i => i.Region == "us-east-1" ? null : i)).Status);
    }

    [Fact]
    public void Choose_NoRoute_Is404() => Assert.Equal(404, Refused(Facts(), Make() with { Services = [] }).Status);

    [Fact]
    public void Choose_Asked_SaysWhy()
    {
        var sent = Sent(Facts(place: India, cookie: "mars-1"));
        Assert.Contains(sent.Reasons, r => r.Contains("the address is in IN", StringComparison.Ordinal));
        Assert.Contains("br-region is left aside: it names no region", sent.Reasons);
        Assert.Contains(sent.Reasons, r => r.Contains("ap-south-1 does not serve", StringComparison.Ordinal));
        Assert.Contains(sent.Reasons, r => r.Contains("eu-west-1 (122 ms", StringComparison.Ordinal));
        Assert.Empty(RegionChoice.Choose(Facts(place: India), new RoutingView(Make()), Now).Reasons);
    }
}
