using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Tests.Regions;

public class StatusVerdictTests
{
    private static readonly DateTimeOffset Now = new(2026, 3, 1, 3, 0, 0, TimeSpan.Zero);

    [Fact]
    public void Decide_AllHealthy_SaysWhoTakesWritesAndAsksForNothing()
    {
        var verdict = StatusVerdict.Decide(Facts(), Now);

        Assert.Equal("All 3 regions are healthy; us-east-1 takes writes.", verdict.Sentence);
        Assert.Equal(HealthState.Healthy, verdict.Health);
        Assert.Null(verdict.Next);
    }

    [Fact]
    public void Decide_PrimaryDown_SaysSinceWhenAndNamesTheFailoverToTheStandby()
    {
        var verdict = StatusVerdict.Decide(Facts(primary: HealthState.Unhealthy), Now);

        Assert.Equal("us-east-1 is unhealthy for 42 s, and it is the primary: writes fail; the other 2 are healthy.", verdict.Sentence);
        Assert.Equal(HealthState.Unhealthy, verdict.Health);
        Assert.Equal("br dr failover --dry-run --target us-west-1", verdict.Next);
    }

    [Fact]
    public void Decide_PrimaryDownAndRecoveryOff_NamesNoFailover()
    {
        var verdict = StatusVerdict.Decide(Facts(primary: HealthState.Unhealthy) with { RecoveryEnabled = false }, Now);

        Assert.Equal("br regions show us-east-1", verdict.Next);
        Assert.Contains(verdict.Notes, n => n.Contains("DR_ENABLED=false", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(HealthState.Degraded, HealthState.Degraded, "br regions show eu-west-1")]
    [InlineData(HealthState.Unhealthy, HealthState.Degraded, "br regions show eu-west-1")]
    [InlineData(HealthState.Draining, HealthState.Degraded, "br regions undrain eu-west-1")]
    [InlineData(HealthState.Unknown, HealthState.Degraded, "br regions show eu-west-1")]
    public void Decide_AnotherRegionNotHealthy_Degraded(HealthState replica, HealthState expected, string next)
    {
        var verdict = StatusVerdict.Decide(Facts(replica: replica), Now);

        Assert.Equal((expected, next), (verdict.Health, verdict.Next));
    }

    [Fact]
    public void Decide_NothingKnown_IsUnknownAndNotGreen()
    {
        var verdict = StatusVerdict.Decide(Facts(HealthState.Unknown, HealthState.Unknown, HealthState.Unknown), Now);

        Assert.Equal(HealthState.Unknown, verdict.Health);
        Assert.Equal("Nothing is known of any region: no gateway and no agent reports.", verdict.Sentence);
    }

    [Fact]
    public void Decide_RunUnderWay_ComesFirst()
    {
        var verdict = StatusVerdict.Decide(Facts(primary: HealthState.Unhealthy) with { Runs = [new("r1", "Failover to us-west-1", "running", Now)] }, Now);

        Assert.StartsWith("Failover to us-west-1 is under way (running); ", verdict.Sentence, StringComparison.Ordinal);
        Assert.Equal("br runbook status r1", verdict.Next);
    }

    [Fact]
    public void Decide_Switches_AreNoted()
    {
        var verdict = StatusVerdict.Decide(Facts() with { Observe = true, MultiRegion = false, DefaultRegion = "us-east-1", Freeze = new("migration", "ada", Now.AddHours(1)) }, Now);

        Assert.Equal(3, verdict.Notes.Count);
        Assert.Equal("Frozen until 2026-03-01 04:00:00Z by ada: migration. No automatic act.", verdict.Notes[0]);
    }

    private static StatusFacts Facts(HealthState primary = HealthState.Healthy, HealthState standby = HealthState.Healthy, HealthState replica = HealthState.Healthy) => new()
    {
        Regions =
        [
            new("us-east-1", RegionRole.Primary, primary, Now - TimeSpan.FromSeconds(42), primary == HealthState.Healthy ? "" : "gateway: down", true),
            new("us-west-1", RegionRole.Standby, standby, Now, "", true),
            new("eu-west-1", RegionRole.Replica, replica, Now, "", true),
        ],
    };
}
