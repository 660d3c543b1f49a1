using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Tests.Recovery;

/// <summary>The planned move over the real engine, store and lines, with regions that remember what they did.</summary>
public class SwitchoverTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 300_000)]
    public async Task Switchover_ServerCrashesAfterEachJournalLine_EndsWithEachEffectOnce()
    {
        var crashes = 0;
        for (var line = 1; ; line++)
        {
            await using var house = await OpenAsync();
            house.Boot(line);
            Assert.Null(await house.RunAsync("switchover", Cancel, ("target", FailoverHouse.West)));
            var before = await house.TheRunAsync(Cancel);
            var crashed = before.FinishedAt is null;
            if (crashed)
            {
                crashes++;
                house.Boot(null);
                await house.Runner.RunOnceAsync(Cancel);
                await house.Runner.WhenStoppedAsync(before.Id).WaitAsync(Cancel);
            }

            var run = await house.TheRunAsync(Cancel);
            var (east, west) = (house.Agents[FailoverHouse.East], house.Agents[FailoverHouse.West]);
            Assert.True(run.State == RunPhase.Succeeded && run.Steps.All(s => s.Error is null), $"after line {line}: {run.State} {run.Outcome} {run.Person} {string.Join("; ", run.Steps.Select(s => s.Error))}");
            var record = (await house.Epochs.GetAsync("main", Cancel))!;
            Assert.Equal((2, EpochState.Open, FailoverHouse.West, FenceProofKind.Stopped), (record.Epoch, record.State, record.Primary, record.Former!.Proof!.Kind));
            Assert.Equal((1, 1, 1, 0), (east.Seals, east.Fences, west.Promotions, house.Power.Effects));
            Assert.False(east.Sealed || west.Sealed || west.Prepared);
            Assert.Null(await house.Store.GetAsync("holds/main", Cancel));
            Assert.Equal(250, run.OutageMs);
            if (!crashed)
                break;
        }
        TestContext.Current.TestOutputHelper?.WriteLine($"writes to the journal crashed after: {crashes}");
        Assert.True(crashes > 20, $"only {crashes} crashes"); // each step ends in a write, with which the next one begins
    }

    /// <summary>Every step fails once, loses its answer once, throws once and is done twice: the move is made, or all of it is taken back.</summary>
    [Theory(Timeout = 300_000)]
    [InlineData(BadLuck.Fails)]
    [InlineData(BadLuck.FailsAfterActing)]
    [InlineData(BadLuck.Throws)]
    [InlineData(BadLuck.IsDoneTwice)]
    public async Task Switchover_EachStepOnce_IsMadeOrTakenBackWhole(BadLuck bad)
    {
        var ends = new Dictionary<string, RunPhase>();
        foreach (var step in RunbookLibrary.Shipped(FailoverRunbook.Switchover).Steps)
        {
            await using var house = await OpenAsync();
            var struck = new Unlucky.Once();
            house.Boot(null, action => action.Name == step.Action ? new Unlucky(action, bad, struck, step.Id) : action);
            Assert.Null(await house.RunAsync("switchover", Cancel, ("target", FailoverHouse.West)));

            var run = await house.TheRunAsync(Cancel);
            var record = (await house.Epochs.GetAsync("main", Cancel))!;
            var (east, west) = (house.Agents[FailoverHouse.East], house.Agents[FailoverHouse.West]);
            var what = $"{step.Id} {bad}: {run.State} {run.Outcome} {run.Person}; epoch {record.Epoch} {record.State} {record.Primary}";
            Assert.True(struck.Happened && run.FinishedAt is not null && run.Person is null, what);
            Assert.True(record.State == EpochState.Open && !east.Sealed && !west.Sealed, what);
            Assert.True(await house.Store.GetAsync("holds/main", Cancel) is null, what);
            Assert.True(west.Promotions <= 1 && east.Fences <= 1, what);
            if (run.State == RunPhase.RolledBack)
                Assert.True(record.Primary == FailoverHouse.East && west.Promotions == 0 && !west.Prepared && east.State == DatabaseState.Primary && east.PrimaryAt == record.Epoch, what);
            else
                Assert.True((record.Epoch, record.Primary, west.PrimaryAt) == (2, FailoverHouse.West, 2), what);
            Assert.True(bad != BadLuck.IsDoneTwice || run.State == RunPhase.Succeeded, what);
            ends[step.Id] = run.State;
        }
        TestContext.Current.TestOutputHelper?.WriteLine($"{ends.Count} cases ({bad}): {string.Join(", ", ends.Select(e => $"{e.Key} {e.Value}"))}");
    }

    [Theory(Timeout = 60_000)]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Switchover_ATransactionIsOpenForLong_IsRefusedUnlessItIsCut(bool cut)
    {
        await using var house = await OpenAsync();
        house.Boot(null);
        house.Agents[FailoverHouse.East].OldestMs = 4000;
        var refused = await house.RunAsync("switchover", Cancel, ("target", FailoverHouse.West), ("cut_long_transactions", cut ? "true" : "false"));
        if (cut)
        {
            Assert.Null(refused);
            Assert.Equal(RunPhase.Succeeded, (await house.TheRunAsync(Cancel)).State);
            return;
        }
        Assert.Contains("open for 4.0 s", refused, StringComparison.Ordinal);
        Assert.Contains("--cut-long-transactions", refused, StringComparison.Ordinal);
        Assert.Empty(await house.Records.ListAsync(Cancel));
    }

    /// <summary>The copy does not come to the sealed position: commits that waited are answered, held writes go, and the primary keeps its epoch.</summary>
    [Theory(Timeout = 60_000)]
    [InlineData(FailoverHouse.West, DatabaseOrders.Reach)]
    [InlineData(FailoverHouse.East, DatabaseOrders.Seal)]
    public async Task Switchover_AnOrderFails_IsTakenBack(string region, string order)
    {
        await using var house = await OpenAsync();
        house.Boot(null);
        house.Agents[region].Fails.Add(order);
        Assert.Null(await house.RunAsync("switchover", Cancel, ("target", FailoverHouse.West)));
        var run = await house.TheRunAsync(Cancel);
        var record = (await house.Epochs.GetAsync("main", Cancel))!;
        Assert.Equal((RunPhase.RolledBack, 1L, EpochState.Open, FailoverHouse.East), (run.State, record.Epoch, record.State, record.Primary));
        Assert.False(house.Agents[FailoverHouse.East].Sealed || house.Agents[FailoverHouse.West].Prepared);
        Assert.Null(await house.Store.GetAsync("holds/main", Cancel));
    }

    /// <summary>A primary under another manager takes writes until it is demoted: what it took after the sealed position must have arrived, or the epoch goes back to it.</summary>
    [Theory(Timeout = 60_000)]
    [InlineData(1000ul, false)]
    [InlineData(2000ul, true)]
    public async Task Switchover_DemotedPastTheSealedPosition_MovesOnlyToACopyThatHoldsIt(ulong reaches, bool moves)
    {
        await using var house = await OpenAsync();
        house.Boot(null);
        house.Agents[FailoverHouse.East].DemotedAt = new(2000);
        house.Agents[FailoverHouse.West].Reaches = new(reaches);
        Assert.Null(await house.RunAsync("switchover", Cancel, ("target", FailoverHouse.West)));
        var run = await house.TheRunAsync(Cancel);
        var record = (await house.Epochs.GetAsync("main", Cancel))!;
        Assert.Equal((moves ? RunPhase.Succeeded : RunPhase.RolledBack, 2L, EpochState.Open, moves ? FailoverHouse.West : FailoverHouse.East), (run.State, record.Epoch, record.State, record.Primary));
        Assert.Equal(moves ? 1 : 0, house.Agents[FailoverHouse.West].Promotions);
        Assert.Null(await house.Store.GetAsync("holds/main", Cancel));
    }

    [Fact(Timeout = 60_000)]
    public async Task Switchover_PrimaryIsAway_IsRefusedAndNamesFailover()
    {
        await using var house = await OpenAsync();
        house.Boot(null);
        await house.KillAsync(FailoverHouse.East, Cancel);
        var refused = await house.RunAsync("switchover", Cancel, ("target", FailoverHouse.West));
        Assert.Contains("br dr failover", refused, StringComparison.Ordinal);
    }

    private static async Task<FailoverHouse> OpenAsync()
    {
        var house = new FailoverHouse();
        await house.OpenAsync(Cancel);
        house.Agents[FailoverHouse.East].Rejoins = true;
        return house;
    }
}
