using BuildRunner.Client.Hosting;
using BuildRunner.Client.Routing;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Routing;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Routing;
using BuildRunner.Server.Storage;

namespace BuildRunner.Tests.Routing;

/// <summary>Holds and tables over a real store.</summary>
public class TrafficControlTests
{
    private static readonly TimeSpan Short = TimeSpan.FromMilliseconds(50);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 30_000)]
    public async Task HoldAndRelease_Repeated_ActOnce_AndTheTableFollows()
    {
        await using var house = await RoutingHouse.StartAsync(Cancel);
        await house.RunAsync("r1", RunPhase.Running, Cancel);
        var before = await house.Traffic.PublishAsync(Cancel);
        Assert.Null(Row(house).HoldId);

        var held = Assert.IsType<TrafficOutcome.Done>(await house.Traffic.HoldAsync("main", "r1", house.Fence, Cancel));
        Assert.Equal((true, before + 1), (held.Effect, held.TableVersion));
        Assert.Equal("r1", Row(house).HoldId);
        Assert.Equal((false, before + 1), Done(await house.Traffic.HoldAsync("main", "r1", house.Fence, Cancel)));

        Assert.Equal((true, before + 2), Done(await house.Traffic.ReleaseAsync("main", "r1", house.Fence, Cancel)));
        Assert.Null(Row(house).HoldId);
        Assert.Equal((false, before + 2), Done(await house.Traffic.ReleaseAsync("main", "r1", house.Fence, Cancel)));
    }

    [Fact(Timeout = 30_000)]
    public async Task Hold_OfTwoRuns_TheSecondIsToldWhoHolds_UntilTheFirstHasEnded()
    {
        await using var house = await RoutingHouse.StartAsync(Cancel);
        await house.RunAsync("r1", RunPhase.Running, Cancel);
        await house.RunAsync("r2", RunPhase.Running, Cancel);
        await house.Traffic.HoldAsync("main", "r1", house.Fence, Cancel);
        Assert.Equal(new TrafficOutcome.Taken("r1"), await house.Traffic.HoldAsync("main", "r2", house.Fence, Cancel));
        Assert.Equal(new TrafficOutcome.Taken("r1"), await house.Traffic.ReleaseAsync("main", "r2", house.Fence, Cancel));
        await house.Loop.RunOnceAsync(Cancel);
        Assert.Equal("r1", Row(house).HoldId); // a run that goes on keeps its hold

        await house.RunAsync("r1", RunPhase.Failed, Cancel);
        Assert.True(Assert.IsType<TrafficOutcome.Done>(await house.Traffic.HoldAsync("main", "r2", house.Fence, Cancel)).Effect);
        Assert.Equal("r2", Row(house).HoldId);
        Assert.Equal(new TrafficOutcome.Taken("r2"), await house.Traffic.ReleaseAsync("main", "r1", house.Fence, Cancel)); // the first one's late release lets nothing go
    }

    [Fact(Timeout = 30_000)]
    public async Task Hold_OfAnEndedRun_IsReleasedByTheNextPass()
    {
        await using var house = await RoutingHouse.StartAsync(Cancel);
        await house.RunAsync("r1", RunPhase.Running, Cancel);
        await house.Traffic.HoldAsync("main", "r1", house.Fence, Cancel);
        await house.RunAsync("r1", RunPhase.Failed, Cancel);
        await house.Loop.RunOnceAsync(Cancel);
        Assert.Null(Row(house).HoldId);
        Assert.Null(await house.Store.GetAsync("holds/main", Cancel));
    }

    [Fact(Timeout = 30_000)]
    public async Task Hold_ServerRestarts_StaysAndIsReleasedByTheSameRun()
    {
        await using var house = await RoutingHouse.StartAsync(Cancel);
        await house.RunAsync("r1", RunPhase.Running, Cancel);
        var held = (await house.Traffic.HoldAsync("main", "r1", house.Fence, Cancel) as TrafficOutcome.Done)!.TableVersion;
        await house.RestartAsync(Cancel);
        Assert.Equal(held, await house.Traffic.PublishAsync(Cancel)); // no new table for a restart
        Assert.Equal("r1", Row(house).HoldId);
        Assert.Equal((false, held), Done(await house.Traffic.HoldAsync("main", "r1", house.Fence, Cancel)));
        Assert.Equal((true, held + 1), Done(await house.Traffic.ReleaseAsync("main", "r1", house.Fence, Cancel)));
    }

    [Fact(Timeout = 30_000)]
    public async Task HoldAndRelease_UnderAnOlderToken_AreFenced()
    {
        await using var house = await RoutingHouse.StartAsync(Cancel);
        await house.RunAsync("r1", RunPhase.Running, Cancel);
        var older = house.Fence;
        await house.RestartAsync(Cancel);
        Assert.Equal(new TrafficOutcome.Fenced(house.Fence.Token), await house.Traffic.HoldAsync("main", "r1", older, Cancel));
        Assert.Null(await house.Store.GetAsync("holds/main", Cancel));
        await house.Traffic.HoldAsync("main", "r1", house.Fence, Cancel);
        Assert.IsType<TrafficOutcome.Fenced>(await house.Traffic.ReleaseAsync("main", "r1", older, Cancel));
        Assert.NotNull(await house.Store.GetAsync("holds/main", Cancel));
    }

    [Theory(Timeout = 30_000)]
    [InlineData(0, false, 2, true, "holds, 3 writes wait, 2 are out")]
    [InlineData(0, true, 2, false, "holds, 2 writes are still out")]
    [InlineData(0, true, 0, true, "holds, 3 writes wait, 0 are out")]
    [InlineData(-1, false, 0, false, "still has table")]
    public async Task WaitHeld_SaysWhatEachGatewaySaid(int versionOff, bool inFlightMatters, int inFlight, bool confirmed, string says)
    {
        await using var house = await RoutingHouse.StartAsync(Cancel);
        await house.RunAsync("r1", RunPhase.Running, Cancel);
        await house.Traffic.PublishAsync(Cancel);
        var version = (await house.Traffic.HoldAsync("main", "r1", house.Fence, Cancel) as TrafficOutcome.Done)!.TableVersion;
        house.Report(RoutingHouse.East, version, new HoldReading("main", "r1", 3, 0, false));
        house.Report(RoutingHouse.West, version + versionOff, new HoldReading("main", "r1", 3, inFlight, false));
        var said = await house.Traffic.WaitHeldAsync("main", "r1", version, inFlightMatters ? InFlight.Writes : InFlight.Ignored, Short, Cancel);
        Assert.Equal(confirmed, said.Confirmed);
        Assert.Contains($"{RoutingHouse.West}: {says}", said.Sentence, StringComparison.Ordinal);
    }

    [Fact(Timeout = 30_000)]
    public async Task WaitTable_AGatewayWhoseLineBroke_IsNamedAndNotWaitedFor()
    {
        await using var house = await RoutingHouse.StartAsync(Cancel);
        var version = await house.Traffic.PublishAsync(Cancel);
        house.Report(RoutingHouse.East, version);
        house.Report(RoutingHouse.West, version - 1);
        using var line = new CancellationTokenSource();
        var poll = house.Links.PollAsync(new NodeName(NodeKind.Gateway, RoutingHouse.West), new NodePoll { Incarnation = "g", DocumentVersion = version, WaitMs = 20_000 }, line.Token);
        Assert.False((await house.Traffic.WaitTableAsync(version, Short, Cancel)).Confirmed);

        await line.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => poll);
        var said = await house.Traffic.WaitTableAsync(version, Short, Cancel);
        Assert.True(said.Confirmed);
        Assert.Contains($"{RoutingHouse.West}: away, its connection broke", said.Sentence, StringComparison.Ordinal);
    }

    [Fact(Timeout = 30_000)]
    public async Task Publish_PolicySwapped_EveryRoutingValueIsInTheNextTable()
    {
        await using var house = await RoutingHouse.StartAsync(Cancel);
        var version = await house.Traffic.PublishAsync(Cancel);
        var hold = new HoldRules { Duration = TimeSpan.FromSeconds(4), RequestsMax = 7, BodyBytesMax = 1234 };
        house.Policy.Current = house.Policy.Current with
        {
            MultiRegion = new MultiRegionRules
            {
                Enabled = false, DefaultRegion = RoutingHouse.West, AllowedRegions = [RoutingHouse.West], StickyAffinity = TimeSpan.FromMinutes(7), TrustedProxies = ["10.0.0.0/8"],
                ReadLagMax = TimeSpan.FromSeconds(9), Hold = hold,
            },
        };
        Assert.Equal(version + 1, await house.Traffic.PublishAsync(Cancel));
        var table = house.Desk.View!.Table;
        Assert.Equal((false, RoutingHouse.West, TimeSpan.FromMinutes(7), TimeSpan.FromSeconds(9), hold), (table.MultiRegion, table.DefaultRegion, table.Affinity, table.ReadLagMax, table.Hold));
        Assert.Equal([RoutingHouse.West], table.AllowedRegions);
        Assert.Equal(["10.0.0.0/8"], table.TrustedProxies);
        Assert.Equal(version + 1, await house.Traffic.PublishAsync(Cancel)); // the same policy makes no new table
    }

    private static DatabaseRow Row(RoutingHouse house) => house.Desk.View!.Table.Databases.Single();

    private static (bool Effect, long Version) Done(TrafficOutcome outcome)
    {
        var done = Assert.IsType<TrafficOutcome.Done>(outcome);
        return (done.Effect, done.TableVersion);
    }
}
