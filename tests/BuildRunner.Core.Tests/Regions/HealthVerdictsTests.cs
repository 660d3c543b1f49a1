using BuildRunner.Core.Databases;
using BuildRunner.Core.Regions;
using CsCheck;

namespace BuildRunner.Core.Tests.Regions;

public class HealthVerdictsTests
{
    private static readonly DateTimeOffset Now = new(2026, 3, 1, 3, 0, 0, TimeSpan.Zero);
    private static readonly string[] Codes = ["us-east-1", "us-west-1", "eu-west-1", "ap-south-1"];
    private static readonly PassiveRules Rules = new();

    [Theory]
    [InlineData("uuuuu", HealthState.Healthy)]
    [InlineData("duuuu", HealthState.Healthy)] // one observer raises no alarm
    [InlineData("dduuu", HealthState.Healthy)]
    [InlineData("dddduu", HealthState.Unhealthy)]
    [InlineData("ddduu", HealthState.Unhealthy)]
    [InlineData("du", HealthState.Healthy)] // half is no majority
    [InlineData("ddu", HealthState.Unhealthy)]
    [InlineData("d??", HealthState.Unhealthy)] // those who cannot say are not counted
    [InlineData("u??", HealthState.Healthy)]
    [InlineData("???", HealthState.Unknown)]
    [InlineData("", HealthState.Unknown)]
    public void Decide_VotesOnTheGateway_MajorityDecides(string votes, HealthState expected)
    {
        var observers = votes.Select((v, i) => Observer($"o{i}", null, ("us-east-1", v switch { 'u' => true, 'd' => false, _ => (bool?)null }))).ToList();

        var verdict = HealthVerdicts.Decide([Edge("us-east-1")], observers, Rules, [], Now)[0];

        Assert.Equal(expected, verdict.Health);
    }

    [Fact]
    public void Decide_ObserverCutFromEverything_IsNotBelieved()
    {
        var cut = Observer("gateway/us-east-1", "us-east-1", ("us-east-1", true), ("us-west-1", false), ("eu-west-1", false), ("ap-south-1", false));
        var other = Observer("server", null, Codes.Select(c => (c, (bool?)true)).ToArray());

        var verdicts = HealthVerdicts.Decide([.. Codes.Select(Edge)], [cut, other], Rules, [], Now);

        Assert.All(verdicts, v => Assert.Equal(HealthState.Healthy, v.Health));
        Assert.Contains(verdicts[1].Evidence, e => e.StartsWith("gateway/us-east-1: not believed", StringComparison.Ordinal));
    }

    [Fact]
    public void Decide_AllOthersReallyDown_TheOnlySurvivorIsBelieved()
    {
        var survivor = Observer("gateway/us-east-1", "us-east-1", ("us-east-1", true), ("us-west-1", false), ("eu-west-1", false), ("ap-south-1", false));
        var server = Observer("server", null, ("us-east-1", true), ("us-west-1", false), ("eu-west-1", false), ("ap-south-1", false));

        var verdicts = HealthVerdicts.Decide([.. Codes.Select(Edge)], [survivor, server], Rules, [], Now);

        Assert.Equal([HealthState.Healthy, HealthState.Unhealthy, HealthState.Unhealthy, HealthState.Unhealthy], verdicts.Select(v => v.Health));
    }

    [Fact]
    public void Decide_SilentObserver_SaysNothingAndIsNamed()
    {
        var silent = Observer("gateway/eu-west-1", "eu-west-1", ("us-east-1", false)) with { SilentFor = TimeSpan.FromSeconds(7) };

        var verdict = HealthVerdicts.Decide([Edge("us-east-1")], [silent, Observer("server", null, ("us-east-1", true))], Rules, [], Now)[0];

        Assert.Equal(HealthState.Healthy, verdict.Health);
        Assert.Contains("gateway/eu-west-1: silent for 7 s", verdict.Evidence);
    }

    [Fact]
    public void Decide_OwnGateway_SaysSoInEvidence()
    {
        var verdict = HealthVerdicts.Decide([Edge("us-east-1")], [Observer("gateway/us-east-1", "us-east-1", ("us-east-1", false))], Rules, [], Now)[0];

        Assert.Contains(verdict.Evidence, e => e.Contains("gateway/us-east-1 (in the region itself): gateway: down", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(19, 19, HealthState.Healthy)] // too few to judge
    [InlineData(20, 9, HealthState.Healthy)]
    [InlineData(20, 10, HealthState.Unhealthy)]
    public void Decide_UserRequestsFail_CountsAsDown(int requests, int failures, HealthState expected)
    {
        var observer = new Observer { Name = "gateway/x", Sightings = [new Sighting { Region = "us-east-1", Service = "gateway", Up = true, PassiveRequests = requests, PassiveFailures = failures }] };

        Assert.Equal(expected, HealthVerdicts.Decide([Edge("us-east-1")], [observer], Rules, [], Now)[0].Health);
    }

    [Fact]
    public void Decide_SameStateAgain_KeepsSince()
    {
        var before = new RegionVerdict { Code = "us-east-1", Health = HealthState.Healthy, Since = Now - TimeSpan.FromHours(1) };

        var same = HealthVerdicts.Decide([Edge("us-east-1")], [Observer("server", null, ("us-east-1", true))], Rules, [before], Now)[0];
        var other = HealthVerdicts.Decide([Edge("us-east-1")], [Observer("server", null, ("us-east-1", false))], Rules, [before], Now)[0];

        Assert.Equal(before.Since, same.Since);
        Assert.Equal(Now, other.Since);
    }

    [Fact]
    public void Decide_FailuresInRow_AreThoseThatAMajoritySaw()
    {
        var observers = new[] { 9, 4, 3 }.Select((n, i) => new Observer { Name = $"o{i}", Sightings = [new Sighting { Region = "us-east-1", Service = "gateway", Up = false, FailuresInRow = n, Error = "refused" }] }).ToList();

        Assert.Equal(4, HealthVerdicts.Decide([Edge("us-east-1")], observers, Rules, [], Now)[0].CheckFailures);
    }

    [Fact]
    public void Decide_OneServiceDown_Degraded()
    {
        var region = Edge("us-east-1") with { Services = [new("api", 2), new("web", 1)] };
        var seen = See(("gateway", true), ("api", true), ("web", false));

        var verdict = HealthVerdicts.Decide([region], [seen], Rules, [], Now)[0];

        Assert.Equal(HealthState.Degraded, verdict.Health);
        Assert.Equal("web: 1 of 1 observers see it down (refused)", verdict.Reason);
    }

    [Fact]
    public void Decide_EveryServiceDown_Unhealthy()
    {
        var region = Edge("us-east-1") with { Services = [new("api", 2), new("web", 1)] };

        Assert.Equal(HealthState.Unhealthy, HealthVerdicts.Decide([region], [See(("gateway", true), ("api", false), ("web", false))], Rules, [], Now)[0].Health);
    }

    [Fact]
    public void Decide_NoInstanceRuns_ServiceIsDownThoughNobodyProbesIt()
    {
        var region = Edge("us-east-1") with { Services = [new("api", 2), new("web", 0)] };

        var verdict = HealthVerdicts.Decide([region], [See(("gateway", true), ("api", true))], Rules, [], Now)[0];

        Assert.Equal(HealthState.Unhealthy, verdict.HealthOf("web"));
        Assert.Equal(HealthState.Degraded, verdict.Health);
    }

    [Theory]
    [InlineData(true, HealthState.Draining)]
    [InlineData(false, HealthState.Unhealthy)] // worse than draining
    public void Decide_DrainedRegion_SaysDrainingUnlessDown(bool up, HealthState expected)
    {
        var region = Edge("us-east-1") with { Control = new RegionControl { Draining = true } };

        Assert.Equal(expected, HealthVerdicts.Decide([region], [See(("gateway", up))], Rules, [], Now)[0].Health);
    }

    [Theory]
    [InlineData(DatabaseState.Primary, true, "us-east-1", HealthState.Healthy, HealthState.Healthy)]
    [InlineData(DatabaseState.Primary, false, "us-east-1", HealthState.Unhealthy, HealthState.Unhealthy)]
    [InlineData(DatabaseState.Fenced, false, "us-east-1", HealthState.Unhealthy, HealthState.Unhealthy)]
    [InlineData(DatabaseState.Promoting, true, "us-east-1", HealthState.Degraded, HealthState.Degraded)]
    [InlineData(DatabaseState.Primary, true, "us-west-1", HealthState.Unhealthy, HealthState.Degraded)] // a primary that is none
    [InlineData(DatabaseState.Standby, true, "us-west-1", HealthState.Healthy, HealthState.Healthy)]
    [InlineData(DatabaseState.Rejoining, false, "us-west-1", HealthState.Degraded, HealthState.Degraded)]
    [InlineData(DatabaseState.Absent, false, "us-west-1", HealthState.Unhealthy, HealthState.Degraded)]
    [InlineData(DatabaseState.Unknown, true, "us-west-1", HealthState.Unknown, HealthState.Degraded)]
    public void Decide_DatabaseState_GivesItsVerdict(DatabaseState state, bool accepts, string primary, HealthState db, HealthState region)
    {
        var reading = new DatabaseReading { Database = "main", State = state, AcceptsConnections = accepts, Streaming = true, LagSeconds = 0 };

        var verdict = Database(reading, primary);

        Assert.Equal((db, region), (verdict.HealthOf("db"), verdict.Health));
    }

    [Theory]
    [InlineData(0, HealthState.Degraded)]
    [InlineData(100, HealthState.Unhealthy)]
    public void Decide_NewPrimaryReadBeforeItsPromotion_IsNotTakenForAStandby(long marker, HealthState expected)
    {
        var reading = new DatabaseReading { Database = "main", State = DatabaseState.Standby, AcceptsConnections = true, Streaming = true, LagSeconds = 0, MarkerEpoch = marker };

        Assert.Equal(expected, Database(reading, "us-east-1").HealthOf("db"));
    }

    [Theory]
    [InlineData(5.0, true, HealthState.Healthy)]
    [InlineData(5.1, true, HealthState.Degraded)]
    [InlineData(null, true, HealthState.Degraded)] // unknown is never green
    [InlineData(0.0, false, HealthState.Degraded)]
    public void Decide_CopyBehindOrNotStreaming_Degraded(double? lag, bool streaming, HealthState expected)
    {
        var reading = new DatabaseReading { Database = "main", State = DatabaseState.Standby, AcceptsConnections = true, Streaming = streaming, LagSeconds = lag };

        Assert.Equal(expected, Database(reading, "us-west-1").HealthOf("db"));
    }

    [Fact]
    public void Decide_AgentSilent_DatabaseUnknownAndRegionNotHealthy()
    {
        var verdict = Database(null, "us-east-1");

        Assert.Equal((HealthState.Unknown, HealthState.Degraded), (verdict.HealthOf("db"), verdict.Health));
        Assert.Contains("has not reported for 4 s", verdict.Reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false, HealthState.Unhealthy)]
    [InlineData(true, HealthState.Degraded)]
    public void Decide_PrimaryIsFenced_IsAFaultOfTheRegionUnlessARunMovesTheDatabase(bool moving, HealthState expected) =>
        Assert.Equal(expected, Database(new DatabaseReading { Database = "main", State = DatabaseState.Fenced }, "us-east-1", moving).Health);

    [Fact]
    public void Decide_OneObserverChangesItsMind_NoHealthyRegionTurnsUnhealthy() =>
        Gen.Select(Gen.Int[3, 7], Gen.Int[0, 6], Gen.Bool).Sample((count, liar, says) =>
        {
            var observers = Enumerable.Range(0, count).Select(i => Observer($"o{i}", null, ("us-east-1", i == liar % count ? says : true))).ToList();
            return HealthVerdicts.Decide([Edge("us-east-1")], observers, Rules, [], Now)[0].Health == HealthState.Healthy;
        });

    [Fact]
    public void Decide_AnythingSeen_HealthyOnlyWhenSomebodySawTheGatewayUpAndNothingIsUnknown() =>
        Gen.Select(Gen.Int[0, 2].Array[0, 6], Gen.Int[0, 2].Array[0, 6], Gen.Bool).Sample((gateway, api, database) =>
        {
            static bool? Say(int n) => n switch { 0 => true, 1 => false, _ => null };
            var observers = gateway.Select((g, i) => See($"o{i}", ("gateway", Say(g)), ("api", i < api.Length ? Say(api[i]) : null))).ToList();
            var region = Edge("us-east-1") with { Services = [new("api", null)], Database = database ? new DatabaseFacts { LagMax = TimeSpan.FromSeconds(5) } : null };

            var verdict = HealthVerdicts.Decide([region], observers, Rules, [], Now)[0];

            return verdict.Health != HealthState.Healthy || (!database && gateway.Contains(0) && verdict.Services.All(s => s.Health == HealthState.Healthy && s.Up > 0));
        });

    private static RegionVerdict Database(DatabaseReading? reading, string primary, bool moving = false)
    {
        var region = Edge("us-east-1") with
        {
            Role = primary == "us-east-1" ? RegionRole.Primary : RegionRole.Standby,
            Database = new DatabaseFacts { Reading = reading, ReportAge = TimeSpan.FromSeconds(4), Primary = primary, Epoch = 2, Moving = moving, LagMax = TimeSpan.FromSeconds(5) },
        };
        return HealthVerdicts.Decide([region], [See(("gateway", true))], Rules, [], Now)[0];
    }

    private static RegionFacts Edge(string code) => new() { Code = code, Role = RegionRole.Edge };

    private static Observer See(params (string Service, bool? Up)[] seen) => See("server", seen);

    private static Observer See(string name, params (string Service, bool? Up)[] seen) =>
        new() { Name = name, Sightings = [.. seen.Select(s => new Sighting { Region = "us-east-1", Service = s.Service, Up = s.Up, FailuresInRow = s.Up == false ? 3 : 0, Error = "refused" })] };

    private static Observer Observer(string name, string? region, params (string Region, bool? Up)[] seen) =>
        new() { Name = name, Region = region, Sightings = [.. seen.Select(s => new Sighting { Region = s.Region, Service = "gateway", Up = s.Up, FailuresInRow = s.Up == false ? 3 : 0, Error = "refused" })] };
}
