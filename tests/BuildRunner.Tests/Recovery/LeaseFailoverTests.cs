using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Runbooks;

namespace BuildRunner.Tests.Recovery;

/// <summary>A primary that answers nobody: its lease runs out, and only then does another region take its place.</summary>
public class LeaseFailoverTests
{
    private static readonly RecoveryRules Rules = new()
    {
        AutoFailover = true, Fencing = FencingMode.Lease, LeaseTtl = TimeSpan.FromMilliseconds(600), LeaseHold = TimeSpan.FromMilliseconds(300), LeaseKill = TimeSpan.FromMilliseconds(200),
    };

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 240_000)]
    public async Task Failover_ServerCrashesAfterEachJournalLine_TheLeaseIsWaitedForEachTime()
    {
        var crashes = 0;
        for (var line = 1; ; line++)
        {
            await using var house = await HouseAsync();
            await house.KillAsync(FailoverHouse.East, Cancel);
            await RenewAsync(house); // as if it could still reach the arbiter a moment ago
            house.Boot(line);
            Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.West)));
            var before = await house.TheRunAsync(Cancel);
            var crashed = before.FinishedAt is null;
            if (crashed)
            {
                crashes++;
                house.Boot(null); // a new arbiter, which expires nothing for one ttl
                await house.Runner.RunOnceAsync(Cancel);
                await house.Runner.WhenStoppedAsync(before.Id).WaitAsync(Cancel);
            }
            var run = await house.TheRunAsync(Cancel);
            Assert.True(run.State == RunPhase.Succeeded, $"after line {line}: {run.State} {run.Outcome} {run.Person}");
            var record = await house.Epochs.GetAsync("main", Cancel);
            Assert.Equal((2, EpochState.Open, FailoverHouse.West, FenceProofKind.Expired), (record!.Epoch, record.State, record.Primary, record.Former!.Proof!.Kind));
            Assert.True(house.Agents[FailoverHouse.West].Refused, "the target refuses the old epoch");
            Assert.Equal((1, 0), (house.Agents[FailoverHouse.West].Promotions, house.Agents[FailoverHouse.East].Fences));
            if (!crashed)
                break;
        }
        TestContext.Current.TestOutputHelper?.WriteLine($"journal lines crashed after: {crashes}");
        Assert.True(crashes > 12, $"only {crashes} crashes"); // each step ends in a write, with which the next one begins
    }

    [Fact(Timeout = 60_000)]
    public async Task Failover_LeaseNotEnforced_IsRefused()
    {
        await using var house = await HouseAsync(enforced: false);
        await house.KillAsync(FailoverHouse.East, Cancel);
        Assert.Contains("Nothing can prove", await house.RunAsync(Cancel, ("target", FailoverHouse.West)), StringComparison.Ordinal);
    }

    [Fact(Timeout = 60_000)]
    public async Task Failover_WhileItIsWithheld_TheOldPrimaryGetsNoLease()
    {
        await using var house = await HouseAsync();
        var record = (await house.Epochs.GetAsync("main", Cancel))!;
        await house.Leases.WithholdAsync(record, "run-1", Cancel);
        Assert.False((await RenewAsync(house)).Granted);
        house.Boot(null); // an arbiter that begins now knows it too
        Assert.False((await RenewAsync(house)).Granted);
        await house.Leases.RestoreAsync(record, Cancel);
        Assert.True((await RenewAsync(house)).Granted);
    }

    [Fact(Timeout = 60_000)]
    public async Task Failover_TargetDoesNotConfirmThatItRefuses_NothingMovesAndTheLeaseIsGivenBack()
    {
        await using var house = await HouseAsync();
        await house.KillAsync(FailoverHouse.East, Cancel);
        house.Agents[FailoverHouse.West].Fails.Add("database.refuse");
        await house.RunAsync(Cancel, ("target", FailoverHouse.West));
        Assert.Equal(EpochState.Open, (await house.Epochs.GetAsync("main", Cancel))!.State);
        Assert.True((await RenewAsync(house)).Granted);
    }

    [Fact(Timeout = 60_000)]
    public async Task Failover_PromiseRunsLongerThanTheLease_IsWaitedForToo()
    {
        await using var house = await HouseAsync();
        await house.KillAsync(FailoverHouse.East, Cancel);
        house.Agents[FailoverHouse.West].PromiseLeft = TimeSpan.FromSeconds(2);
        var begun = TimeProvider.System.GetTimestamp();
        Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.West)));
        Assert.Equal(RunPhase.Succeeded, (await house.TheRunAsync(Cancel)).State);
        Assert.True(TimeProvider.System.GetElapsedTime(begun) >= TimeSpan.FromSeconds(2));
    }

    /// <summary>A database whose primary holds an enforced lease.</summary>
    private static async Task<FailoverHouse> HouseAsync(bool enforced = true)
    {
        var house = new FailoverHouse(Rules);
        await house.OpenAsync(Cancel);
        Assert.True((await RenewAsync(house, enforced)).Granted);
        return house;
    }

    /// <summary>As a holder does: where an answer came too late to be the last one, the next renewal names it.</summary>
    private static async Task<LeaseAnswer> RenewAsync(FailoverHouse house, bool enforced = true)
    {
        var ask = new LeaseAsk { Database = "main", Epoch = 1, Region = FailoverHouse.East, Enforced = enforced };
        var answer = (await house.Leases.RenewAsync(ask, Cancel))!;
        return answer.Granted || answer.Refused ? answer : (await house.Leases.RenewAsync(ask with { Received = answer.Id }, Cancel))!;
    }
}
