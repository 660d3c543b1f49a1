using BuildRunner.Core.Alerting;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Tests.Alerting;

/// <summary>The loss of the region that takes writes, who is told, and on which timeline a run belongs.</summary>
public class RegionAlertsTests
{
    private const string Key = "region_failure/us-east-1";
    private static readonly PolicyDocument ByHand = new();
    private static readonly PolicyDocument ByItself = new() { Recovery = new RecoveryRules { AutoFailover = true, Fencing = FencingMode.Lease } };

    [Fact]
    public void Decide_PrimaryUnhealthyAndAutomaticFailoverOff_CarriesTheCommand()
    {
        var alert = Assert.Single(Decide(ByHand, HealthState.Unhealthy).Raise);
        Assert.Equal((Key, AlertSeverity.Critical, "br dr failover --target us-west-1 --reason \"us-east-1 is unhealthy\""), (alert.Key, alert.Severity, alert.Command));
        Assert.Contains("AUTO_FAILOVER_ENABLED", alert.Details, StringComparison.Ordinal);
        Assert.Contains("gateway: refused", alert.Details, StringComparison.Ordinal);
    }

    [Fact]
    public void Decide_SomebodyActsOrNobodyMay_CarriesNoCommand()
    {
        Assert.Null(Assert.Single(Decide(ByItself, HealthState.Unhealthy).Raise).Command);
        Assert.NotNull(Assert.Single(Decide(ByItself, HealthState.Unhealthy, frozen: true).Raise).Command);
        Assert.Null(Assert.Single(Decide(ByHand with { Mode = PolicyMode.Observe }, HealthState.Unhealthy).Raise).Command);
        Assert.Null(Assert.Single(Decide(ByHand, HealthState.Unhealthy, heir: HealthState.Unhealthy).Raise).Command);
    }

    [Theory]
    [InlineData(HealthState.Healthy, true)]
    [InlineData(HealthState.Degraded, false)]
    [InlineData(HealthState.Unknown, false)]
    [InlineData(HealthState.Draining, false)]
    [InlineData(HealthState.Unhealthy, false)]
    public void Decide_Firing_ClearsOnlyWhenHealthy(HealthState health, bool clears)
    {
        var decided = Decide(ByHand, health, firing: Key);
        Assert.Equal(clears, decided.Clear.Any(c => c.Key == Key));
        Assert.Equal(health == HealthState.Unhealthy, decided.Raise.Count > 0);
    }

    [Fact]
    public void Decide_AnotherRegionTakesTheWrites_ClearsWhateverItsHealth()
    {
        var decided = RegionAlerts.Decide([Region("us-east-1", RegionRole.Standby, HealthState.Unhealthy), Region("us-west-1", RegionRole.Primary, HealthState.Healthy)], ByHand, false, [Key, "region_failure/gone", "dns/x"]);
        Assert.Equal([Key, "region_failure/gone"], decided.Clear.Select(c => c.Key));
        Assert.Empty(decided.Raise);
    }

    [Theory]
    [InlineData("region_failure/us-east-1", AlertSeverity.Critical, "pagerduty,phone")]
    [InlineData("dns/write", AlertSeverity.Critical, "pagerduty,slack,phone")]
    [InlineData("dns/write", AlertSeverity.Warning, "slack,email")]
    [InlineData("dns/write", AlertSeverity.Info, "log")]
    public void Channels_ByTheKindsRuleThenTheSeverity(string key, AlertSeverity severity, string channels) => Assert.Equal(channels, string.Join(',', AlertRouting.Channels(new PolicyDocument
    {
        Alerts =
        [
            new("high_latency", "p95_latency > budget", "warning", ["slack", "email"]),
            new("budget_burn", "error_budget_burn_rate > 10x", "critical", ["pagerduty", "slack"]),
            new("region_failure", "region_health_check_failures > 3", "critical", ["pagerduty", "phone"]),
        ],
    }, key, severity)));

    [Fact]
    public void Channels_PolicyWithoutAlerts_IsTheLog() => Assert.Equal(["log"], AlertRouting.Channels(new PolicyDocument(), Key, AlertSeverity.Critical));

    [Theory]
    [InlineData("failover", "ada", "us-west-1", "nothing is open", "opens")]
    [InlineData("backup", "server", "us-east-1", "nothing is open", "nowhere")]
    [InlineData("backup", "server", "us-west-1", "east", "nowhere")]
    [InlineData("backup", "server", "us-east-1", "east", "east")]
    [InlineData("drain-region", "ada", "eu-west-1", "east", "east")]
    [InlineData("failover", "server", "us-west-1", "east", "east")]
    [InlineData("drain-region", "ada", "us-east-1", "east,critical,new", "east")]
    [InlineData("drain-region", "ada", "ap-south-1", "east,critical,new", "critical")]
    [InlineData("drain-region", "ada", "us-east-1", "over", "nowhere")]
    public void Attachment_ByRegionThenSeverityThenAge(string runbook, string actor, string region, string open, string expected)
    {
        List<Incident> all =
        [
            IncidentMoveTests.New("east", minutes: 1, regions: "us-east-1"), IncidentMoveTests.New("critical", severity: AlertSeverity.Critical, minutes: 2, regions: "us-west-1"),
            IncidentMoveTests.New("new", minutes: 3, regions: "eu-west-1"), IncidentMoveTests.New("over", IncidentState.Resolved, minutes: 4, regions: "us-east-1"),
        ];
        var decided = RunAttachment.Decide(new RunFacts("run-1", runbook, actor, "r", [region]), [.. all.Where(i => open.Split(',').Contains(i.Id))]);
        Assert.Equal(expected, decided switch { RunAttachment.To to => to.Incident, RunAttachment.Opens => "opens", _ => "nowhere" });
    }

    [Theory]
    [InlineData("a", null)]
    [InlineData("region_failure/us-east-1", null)]
    [InlineData("", "no key")]
    [InlineData("/a", "no key")]
    [InlineData("a b", "no key")]
    public void Key_WhatItMayHold(string key, string? wrong)
    {
        Assert.Equal(wrong is null, Alert.KeyWrong(key) is null);
        if (wrong is not null)
            Assert.Throws<ArgumentException>(() => new Alert(key, AlertSeverity.Info, "t", "d"));
    }

    [Theory]
    [InlineData(1, 2)]
    [InlineData(2, 4)]
    [InlineData(8, 256)]
    [InlineData(9, 300)]
    [InlineData(60, 300)]
    public void Pause_DoublesUpToFiveMinutes(int attempts, int seconds) => Assert.Equal(TimeSpan.FromSeconds(seconds), DeliveryDecision.Pause(attempts));

    [Theory]
    [InlineData(0, false, DeliveryState.Pending)]
    [InlineData(8, false, DeliveryState.Pending)]
    [InlineData(9, false, DeliveryState.Failed)]
    [InlineData(0, true, DeliveryState.Failed)]
    public void After_AFailure_IsRepeatedABoundedNumberOfTimes(int attempts, bool permanent, DeliveryState expected)
    {
        var now = DateTimeOffset.UnixEpoch;
        var delivery = new Delivery { Channel = "slack", NextAt = now, Attempts = attempts, Notification = new Notification { Key = "k", Severity = AlertSeverity.Info, Title = "t", Text = "x", At = now, What = "opened" } };
        var after = DeliveryDecision.After(delivery, new ChannelOutcome.Failed("no route", permanent), now);
        Assert.Equal((expected, attempts + 1, "no route"), (after.State, after.Attempts, after.Error));
        Assert.True(expected == DeliveryState.Failed || after.NextAt > now);
        Assert.Equal(after, DeliveryDecision.After(after with { State = DeliveryState.Sent }, new ChannelOutcome.Failed("late"), now) with { State = after.State });
    }

    private static RegionAlerts Decide(PolicyDocument policy, HealthState primary, bool frozen = false, HealthState heir = HealthState.Healthy, params string[] firing) =>
        RegionAlerts.Decide([Region("us-east-1", RegionRole.Primary, primary), Region("us-west-1", RegionRole.Standby, heir)], policy, frozen, firing);

    private static StatusRegion Region(string code, RegionRole role, HealthState health) => new(code, role, health, DateTimeOffset.UnixEpoch, health == HealthState.Healthy ? "" : "gateway: refused", true);
}
