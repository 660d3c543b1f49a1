using BuildRunner.Client.Recovery;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Runbooks;
using System.Text.Json;

namespace BuildRunner.Tests.Recovery;

/// <summary>A primary that answers nobody and whose commits wait for copies: those are cut off it, and no clock is waited for.</summary>
public class SyncFailoverTests
{
    private const string West = FailoverHouse.West;
    private const string Europe = FailoverHouse.Europe;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 240_000)]
    public async Task Failover_ServerCrashesAfterEachJournalLine_TheCopiesAreCutAndNothingIsLost()
    {
        var crashes = 0;
        for (var line = 1; ; line++)
        {
            await using var house = await HouseAsync([West, Europe], 1);
            await house.KillAsync(FailoverHouse.East, Cancel);
            house.Agents[West].Held = new Lsn(900); // the other one holds more: one of them holds everything
            house.Boot(line);
            Assert.Null(await house.RunAsync(Cancel, ("target", West)));
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
            Assert.True(run.State == RunPhase.Succeeded, $"after line {line}: {run.State} {run.Outcome} {run.Person}");
            var record = await house.Epochs.GetAsync("main", Cancel);
            Assert.Equal((2, EpochState.Open, West, FenceProofKind.Cut), (record!.Epoch, record.State, record.Primary, record.Former!.Proof!.Kind));
            Assert.Null(record.Sync);
            Assert.Equal((1, 0), (house.Agents[West].Promotions, house.Agents[FailoverHouse.East].Fences));
            Assert.True(house.Agents[West].Cuts > 0 && house.Agents[Europe].Cuts > 0, "both copies are cut");
            Assert.Equal(new Lsn(1000), house.Agents[West].Held);
            var report = run.Report!.Value.Deserialize(RecoveryJson.Default.FailoverReport)!;
            Assert.Equal((0d, $"1 of {West}, {Europe}"), (report.KnownLossMs, report.HeldBy));
            if (!crashed)
                break;
        }
        TestContext.Current.TestOutputHelper?.WriteLine($"journal lines crashed after: {crashes}");
        Assert.True(crashes > 12, $"only {crashes} crashes"); // each step ends in a write, with which the next one begins
    }

    [Fact(Timeout = 60_000)]
    public async Task Failover_ToACopyThatNobodyWaitsFor_IsRefusedAndNamesThoseThatAre()
    {
        await using var house = await HouseAsync([West], 1);
        await house.KillAsync(FailoverHouse.East, Cancel);
        var refusal = await house.RunAsync(Cancel, ("target", Europe));
        Assert.Contains($"1 of {West} holds every acknowledged commit", refusal, StringComparison.Ordinal);
        // An accepted loss stands for no proof.
        Assert.Contains("Nothing can prove", await house.RunAsync(Cancel, ("target", Europe), ("accept_data_loss", "true")), StringComparison.Ordinal);
        Assert.Null(await house.RunAsync(Cancel, ("target", Europe), ("accept_data_loss", "true"), ("assume_fenced", "it is off")));
        Assert.Equal(RunPhase.Succeeded, (await house.TheRunAsync(Cancel)).State);
    }

    [Fact(Timeout = 60_000)]
    public async Task Failover_TooFewCopiesAnswer_NothingMovesAndTheyFollowAgain()
    {
        await using var house = await HouseAsync([West, Europe], 1);
        await house.KillAsync(FailoverHouse.East, Cancel);
        house.Agents[Europe].Fails.Add("database.cut");
        await house.RunAsync(Cancel, ("target", West));
        Assert.Contains("too few of its copies could be cut off", (await house.TheRunAsync(Cancel)).Outcome, StringComparison.Ordinal);
        Assert.True(house.Agents[West].Cuts <= 0, "the copy that was cut follows again");
        var record = await house.Epochs.GetAsync("main", Cancel);
        Assert.Equal((EpochState.Open, true), (record!.State, record.Sync!.Claims));
        house.Agents[Europe].Fails.Clear();
        Assert.Null(await house.RunAsync(Cancel, ("target", West)));
        Assert.Equal(FenceProofKind.Cut, (await house.Epochs.GetAsync("main", Cancel))!.Former!.Proof!.Kind);
    }

    [Fact(Timeout = 60_000)]
    public async Task Failover_OneOfTwoCopiesAway_ThereIsNoProof()
    {
        await using var house = await HouseAsync([West, Europe], 1);
        house.Break(Europe);
        await house.KillEastAloneAsync(Cancel);
        Assert.Contains("2 of the copies that its commits wait for", await house.RunAsync(Cancel, ("target", West)), StringComparison.Ordinal);
    }

    /// <summary>Commits wait for copies and not for the guard: that a lease has run out proves nothing by itself, in no state of a change.</summary>
    [Theory(Timeout = 60_000)]
    [InlineData(SyncState.Sync, 1, FenceProofKind.Cut)]
    [InlineData(SyncState.Changing, 0, null)]
    [InlineData(SyncState.Degraded, 0, FenceProofKind.Expired)]
    public async Task Failover_UnderALease_ItsEndIsAProofOnlyWhereTheGuardIsWaitedFor(SyncState state, int required, FenceProofKind? proof)
    {
        await using var house = await HouseAsync(required > 0 ? [West] : [], required, state, new RecoveryRules
        {
            AutoFailover = true, Fencing = FencingMode.Lease, LeaseTtl = TimeSpan.FromMilliseconds(600), LeaseHold = TimeSpan.FromMilliseconds(300), LeaseKill = TimeSpan.FromMilliseconds(200),
        });
        Assert.True((await house.Leases.RenewAsync(new LeaseAsk { Database = "main", Epoch = 1, Region = FailoverHouse.East, Enforced = true }, Cancel))!.Granted);
        await house.KillAsync(FailoverHouse.East, Cancel);
        var refusal = await house.RunAsync(Cancel, ("target", West));
        if (proof is null)
            Assert.Contains("Nothing can prove", refusal, StringComparison.Ordinal);
        else
            Assert.Equal(proof, (await house.Epochs.GetAsync("main", Cancel))!.Former!.Proof!.Kind);
    }

    [Fact(Timeout = 60_000)]
    public async Task Switchover_NoCopyIsWaitedFor_IsRefused()
    {
        await using var house = await HouseAsync([], 0, SyncState.Degraded, new RecoveryRules { Replication = ReplicationMode.Synchronous });
        Assert.Contains("no copy is waited for now", await house.RunAsync(FailoverRunbook.Switchover, Cancel, ("target", West)), StringComparison.Ordinal);
    }

    private static async Task<FailoverHouse> HouseAsync(IReadOnlyList<string> members, int required, SyncState state = SyncState.Sync, RecoveryRules? rules = null)
    {
        var house = new FailoverHouse(rules ?? new RecoveryRules { Replication = ReplicationMode.Quorum });
        await house.OpenAsync(Cancel);
        Assert.IsType<BuildRunner.Server.Databases.EpochWrite.Done>(await house.Epochs.MoveAsync("main", r => EpochTransitions.Claim(r, r, new SyncRecord(members, required, state, DateTimeOffset.UnixEpoch)), null, Cancel));
        return house;
    }
}
