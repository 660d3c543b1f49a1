using BuildRunner.Core.Alerting;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Alerting;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using BuildRunner.Tests.Regions;
using Microsoft.Extensions.Logging.Abstractions;

namespace BuildRunner.Tests.Alerting;

/// <summary>When the loss of the region that takes writes is news.</summary>
[Trait("Category", "unit")]
public class RegionAlertLoopTests
{
    private const int Limit = 30_000;
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = Limit)]
    public async Task Pass_JustStarted_WaitsUntilItWasSeenWellOrTwentySecondsArePast()
    {
        using var house = new AlertingHouse();
        var health = new FakeHealth { Primary = HealthState.Unhealthy };
        using (var loop = Loop(house, health))
        {
            await loop.RunOnceAsync(Cancel);
            house.Time.Advance(TimeSpan.FromSeconds(20));
            await loop.RunOnceAsync(Cancel);
            Assert.Empty(await house.Book.ListAsync(Cancel)); // everything may still be coming up
            house.Time.Advance(TimeSpan.FromMilliseconds(1));
            await loop.RunOnceAsync(Cancel);
            Assert.Equal(IncidentState.Open, (await house.OnlyAsync(Cancel)).State);
        }
        using var restarted = Loop(house, health);
        health.Primary = HealthState.Healthy;
        await restarted.RunOnceAsync(Cancel);
        Assert.Equal(IncidentState.Mitigated, (await house.OnlyAsync(Cancel)).State);
        health.Primary = HealthState.Unhealthy;
        await restarted.RunOnceAsync(Cancel);
        Assert.Equal(IncidentState.Open, (await house.OnlyAsync(Cancel)).State); // seen well: at once
    }

    [Fact(Timeout = Limit)]
    public async Task Pass_NotSettledOrNotLeading_SaysNothing()
    {
        using var house = new AlertingHouse();
        var health = new FakeHealth();
        using var loop = Loop(house, health);
        await loop.RunOnceAsync(Cancel);
        (health.Primary, health.Settled) = (HealthState.Unhealthy, false);
        await loop.RunOnceAsync(Cancel);
        (health.Settled, house.Leads) = (true, false);
        await loop.RunOnceAsync(Cancel);
        Assert.Empty(await house.Book.ListAsync(Cancel));
        house.Leads = true;
        await loop.RunOnceAsync(Cancel);
        Assert.Single(await house.Book.ListAsync(Cancel));
    }

    [Theory(Timeout = Limit)]
    [InlineData(EpochState.Open, 0, true)]
    [InlineData(EpochState.Closing, 119, false)]
    [InlineData(EpochState.Moving, 119, false)]
    [InlineData(EpochState.Moving, 120, true)]
    public async Task Pass_WhileARunMovesTheWrites_StillnessIsNoNews(EpochState state, int seconds, bool raised)
    {
        using var house = new AlertingHouse();
        var health = new FakeHealth();
        using var loop = Loop(house, health);
        await loop.RunOnceAsync(Cancel);
        var epoch = EpochTransitions.First("main", "us-east-1", ["us-east-1", "us-west-1"], house.Time.GetUtcNow());
        await new Epochs(house.Store, house.Events).CreateAsync(epoch with { State = state }, null, Cancel);
        health.Primary = HealthState.Unhealthy;
        house.Time.Advance(TimeSpan.FromSeconds(seconds));
        await loop.RunOnceAsync(Cancel);
        Assert.Equal(raised, (await house.Book.ListAsync(Cancel)).Count == 1);
    }

    /// <summary>The epoch names the new primary, and writes are still held: not over for anybody who wants to write.</summary>
    [Theory(Timeout = Limit)]
    [InlineData(StepStatus.Running, false)]
    [InlineData(StepStatus.Done, true)]
    public async Task Pass_TheEpochHasMovedAndTheRunGoesOn_IsOverWhenTrafficHasResumed(StepStatus resume, bool over)
    {
        using var house = new AlertingHouse();
        var health = new FakeHealth();
        using var loop = Loop(house, health);
        await loop.RunOnceAsync(Cancel);
        health.Primary = HealthState.Unhealthy;
        await loop.RunOnceAsync(Cancel);
        var now = house.Time.GetUtcNow();
        RunStep Step(string id, StepStatus status, bool after = false) => new() { Id = id, Title = id, Status = status, AfterResume = after };
        await new RunRecords(house.Store).PutAsync(new RunRecord
        {
            Id = "failover-1", Runbook = "failover", State = RunPhase.Running, Actor = "a", Reason = "r", Inputs = new Dictionary<string, string>(), StartedAt = now, Over = "database/main",
            Steps = [Step("open", StepStatus.Done), Step("resume", resume), Step("settle", StepStatus.Pending, after: true)],
        }, null, Cancel);
        var epoch = EpochTransitions.First("main", "us-west-1", ["us-east-1", "us-west-1"], now);
        await new Epochs(house.Store, house.Events).CreateAsync(epoch with { Epoch = 2, Run = "failover-1" }, null, Cancel);
        await loop.RunOnceAsync(Cancel);
        Assert.Equal(over ? IncidentState.Mitigated : IncidentState.Open, (await house.OnlyAsync(Cancel)).State);
    }

    private static RegionAlertLoop Loop(AlertingHouse house, FakeHealth health) => new(
        health, new FixedPolicy(new PolicyDocument
        {
            Regions =
            [
                .. new[] { ("us-east-1", RegionRole.Primary), ("us-west-1", RegionRole.Standby) }
                    .Select(r => new RegionDefinition { Code = r.Item1, Name = r.Item1, Role = r.Item2, Endpoint = "http://127.0.0.1:1", Location = new GeoPoint(0, 0), DatabaseHost = "127.0.0.1" }),
            ],
        }),
        new Epochs(house.Store, house.Events), new RunRecords(house.Store), house.Book, house.Alerts, () => house.Leads ? new Fence("server", 7) : null, house.Time, NullLogger<RegionAlertLoop>.Instance);

    private sealed class FakeHealth : IRegionHealth
    {
        public HealthState Primary { get; set; } = HealthState.Healthy;
        public bool Settled { get; set; } = true;

        public IReadOnlyList<RegionVerdict> Current =>
        [
            new() { Code = "us-east-1", Health = Primary, Since = DateTimeOffset.UnixEpoch, Reason = Primary == HealthState.Healthy ? "" : "gateway: refused" },
            new() { Code = "us-west-1", Health = HealthState.Healthy, Since = DateTimeOffset.UnixEpoch },
        ];

        public IReadOnlyDictionary<string, RegionControl> Controls { get; } = new Dictionary<string, RegionControl>();

        public IDisposable OnChange(Action changed) => new MemoryStream();
    }
}
