using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Tests.Recovery;

public class FailoverPlannerTests
{
    private static readonly EpochRecord Record = EpochTransitions.First("main", "us-east-1", ["us-east-1", "us-west-1", "eu-west-1"], DateTimeOffset.UnixEpoch) with { Epoch = 3 };

    [Fact]
    public void Plan_HealthySystem_IsReadyAndStopsThePrimary()
    {
        var plan = FailoverPlanner.Plan(Facts(), new FailoverWish { Target = "us-west-1" });
        Assert.Empty(plan.Problems);
        Assert.Equal(FenceProofKind.Stopped, plan.Proof);
        Assert.Equal(TimeSpan.FromSeconds(1), plan.KnownLoss);
    }

    [Fact]
    public void Plan_NoTarget_ChoosesTheStandbyBeforeTheReplica() =>
        Assert.Equal("us-west-1", FailoverPlanner.Plan(Facts(), new FailoverWish()).Target);

    [Theory]
    [InlineData("ap-south-1", "has no database")]
    [InlineData("us-east-1", "is the primary")]
    [InlineData("mars-1", "no region 'mars-1'")]
    public void Plan_ImpossibleTarget_IsRefusedAlsoWithAcceptedLoss(string target, string says)
    {
        var plan = FailoverPlanner.Plan(Facts(), new FailoverWish { Target = target, AcceptDataLoss = true });
        Assert.Contains(plan.Problems, p => p.Contains(says, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(59.9, false, true)]
    [InlineData(60.0, false, true)]
    [InlineData(60.1, false, false)]
    [InlineData(60.1, true, true)]
    [InlineData(null, false, false)]
    [InlineData(null, true, true)]
    public void Plan_Lag_IsJudgedByLossMax(double? seconds, bool accepted, bool ready)
    {
        var facts = Facts(west: r => r with { KnownLag = seconds is { } s ? TimeSpan.FromSeconds(s) : null });
        facts = facts with { Rules = new RecoveryRules { LossMax = TimeSpan.FromSeconds(60) } };
        Assert.Equal(ready, FailoverPlanner.Plan(facts, new FailoverWish { Target = "us-west-1", AcceptDataLoss = accepted }).Problems.Count == 0);
    }

    [Theory]
    [InlineData(HealthState.Healthy, false, true)]
    [InlineData(HealthState.Degraded, false, true)]
    [InlineData(HealthState.Unknown, false, true)]
    [InlineData(HealthState.Unhealthy, false, false)]
    [InlineData(HealthState.Unhealthy, true, true)]
    public void Plan_Health_RefusesOnlyUnhealthy(HealthState health, bool accepted, bool ready) =>
        Assert.Equal(ready, FailoverPlanner.Plan(Facts(west: r => r with { Health = health }), new FailoverWish { Target = "us-west-1", AcceptDataLoss = accepted }).Problems.Count == 0);

    [Fact]
    public void Plan_PrimaryAwayWithoutPower_AcceptedLossIsNoProof()
    {
        var facts = Facts(east: r => r with { AgentReachable = false, ReportAge = TimeSpan.FromSeconds(9) });
        var plan = FailoverPlanner.Plan(facts, new FailoverWish { Target = "us-west-1", AcceptDataLoss = true });
        Assert.Contains("Nothing can prove", Assert.Single(plan.Problems), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true, null, FenceProofKind.PoweredOff)]
    [InlineData(false, "pulled the plug", FenceProofKind.Stated)]
    public void Plan_PrimaryAway_PowerOrAWordStands(bool power, string? word, FenceProofKind kind)
    {
        var facts = Facts(east: r => r with { AgentReachable = false }) with { PowerReady = power };
        var plan = FailoverPlanner.Plan(facts, new FailoverWish { Target = "us-west-1", AssumeFenced = word });
        Assert.Empty(plan.Problems);
        Assert.Equal(kind, plan.Proof);
    }

    [Fact]
    public void Plan_UnguardedPrimary_CannotGiveTheProofStopped()
    {
        var plan = FailoverPlanner.Plan(Facts(east: r => r with { Reading = r.Reading! with { Guarded = false } }), new FailoverWish { Target = "us-west-1" });
        Assert.Contains("guard", Assert.Single(plan.Problems), StringComparison.Ordinal);
    }

    [Fact]
    public void Plan_CopyOfAnOlderEpoch_IsRefused()
    {
        var plan = FailoverPlanner.Plan(Facts(west: r => r with { Reading = r.Reading! with { MarkerEpoch = 2 } }), new FailoverWish { Target = "us-west-1" });
        Assert.Contains("has not joined", Assert.Single(plan.Problems), StringComparison.Ordinal);
    }

    [Fact]
    public void Plan_MovingToTheSameTarget_TakesThePromotionUp()
    {
        var proof = new FenceProof { Kind = FenceProofKind.PoweredOff, Epoch = 3, Region = "us-east-1", Evidence = "off", At = DateTimeOffset.UnixEpoch };
        var moving = Record with { Epoch = 4, State = EpochState.Moving, Primary = "us-west-1", Run = "old", Former = new(3, "us-east-1", proof, null, null) };
        var plan = FailoverPlanner.Plan(Facts() with { Record = moving }, new FailoverWish { Target = "us-west-1" });
        Assert.True(plan.Resumes);
        Assert.Empty(plan.Problems);
    }

    /// <summary>A stopped primary was to go on at the next epoch itself and did not start: taking its promotion up for ever would help nobody.</summary>
    [Theory]
    [InlineData(DatabaseState.Fenced, "us-west-1")]
    [InlineData(DatabaseState.Primary, "us-east-1")]
    public void Plan_MovingToThePrimaryItself_ChoosesAnotherWhenItLiesFenced(DatabaseState state, string chosen)
    {
        var proof = new FenceProof { Kind = FenceProofKind.Stopped, Epoch = 3, Region = "us-east-1", Evidence = "stopped", At = DateTimeOffset.UnixEpoch };
        var moving = Record with { Epoch = 4, State = EpochState.Moving, Run = "old", Former = new(3, "us-east-1", proof, null, null) };
        var plan = FailoverPlanner.Plan(Facts(east: r => r with { Reading = r.Reading! with { State = state } }) with { Record = moving }, new FailoverWish());
        Assert.Equal(chosen, plan.Target);
        Assert.Empty(plan.Problems);
    }

    private static FailoverFacts Facts(Func<FailoverRegion, FailoverRegion>? east = null, Func<FailoverRegion, FailoverRegion>? west = null) => new()
    {
        Database = "main",
        Rules = new RecoveryRules(),
        Record = Record,
        Regions =
        [
            (east ?? (r => r))(Region("us-east-1", RegionRole.Primary, DatabaseState.Primary, "0/3000000") with { KnownLag = null }),
            (west ?? (r => r))(Region("us-west-1", RegionRole.Standby, DatabaseState.Standby, "0/3000000")),
            Region("eu-west-1", RegionRole.Replica, DatabaseState.Standby, "0/3000100"),
            new FailoverRegion { Code = "ap-south-1", Role = RegionRole.Edge, HasDatabase = false, GatewayLive = true, Health = HealthState.Healthy },
        ],
    };

    private static FailoverRegion Region(string code, RegionRole role, DatabaseState state, string lsn) => new()
    {
        Code = code,
        Role = role,
        HasDatabase = true,
        Health = HealthState.Healthy,
        AgentReachable = true,
        ReportAge = TimeSpan.FromSeconds(0.3),
        GatewayLive = true,
        KnownLag = TimeSpan.FromSeconds(1),
        KnownLagBytes = 100,
        Reading = new DatabaseReading { Database = "main", State = state, AcceptsConnections = true, Guarded = true, MarkerEpoch = 3, Received = Lsn.Parse(lsn), Replayed = Lsn.Parse(lsn), Written = Lsn.Parse(lsn) },
    };
}
