using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Tests.Recovery;

/// <summary>Failover over real server parts: each promise of FAILOVER.md 10 that a run can break.</summary>
public class FailoverTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory(Timeout = 240_000)]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Failover_ServerCrashesAfterEachJournalLine_EndsWithEachEffectOnce(bool alive)
    {
        var crashes = 0;
        for (var line = 1; ; line++)
        {
            await using var house = new FailoverHouse();
            house.Power.Ready = !alive;
            await house.OpenAsync(Cancel);
            if (!alive)
                await house.KillAsync(FailoverHouse.East, Cancel);
            house.Boot(line);
            Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.West)));
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
            Assert.Equal((2, EpochState.Open, FailoverHouse.West), (record!.Epoch, record.State, record.Primary));
            Assert.Equal(alive ? FenceProofKind.Stopped : FenceProofKind.PoweredOff, record.Former!.Proof!.Kind);
            Assert.Equal(1, house.Agents[FailoverHouse.West].Promotions);
            Assert.Equal(alive ? 1 : 0, house.Agents[FailoverHouse.East].Fences);
            Assert.Equal(alive ? 0 : 1, house.Power.Effects);
            Assert.Null(await house.Store.GetAsync("holds/main", Cancel));
            Assert.Equal(250, run.OutageMs);
            Assert.NotNull(run.Lost);
            Assert.Null(run.Lost.Commits);
            if (!crashed)
                break;
        }
        TestContext.Current.TestOutputHelper?.WriteLine($"journal lines crashed after: {crashes}");
        Assert.True(crashes > 12, $"only {crashes} crashes"); // each step ends in a write, with which the next one begins
    }

    [Fact(Timeout = 60_000)]
    public async Task Failover_NoProof_IsRefusedAlsoWithAcceptedLoss()
    {
        await using var house = new FailoverHouse();
        await house.OpenAsync(Cancel);
        await house.KillAsync(FailoverHouse.East, Cancel);
        var said = await house.RunAsync(Cancel, ("target", FailoverHouse.West), ("accept_data_loss", "true"));
        Assert.Contains("Nothing can prove", said, StringComparison.Ordinal);
        Assert.Empty(await house.Records.ListAsync(Cancel));
        Assert.Equal(EpochState.Open, (await house.Epochs.GetAsync("main", Cancel))!.State);
    }

    [Fact(Timeout = 60_000)]
    public async Task Failover_AnotherCopyHoldsMore_TheTargetTakesItFromThereFirst()
    {
        await using var house = new FailoverHouse();
        house.Agents[FailoverHouse.Europe].Held = new Lsn(5000);
        await house.OpenAsync(Cancel);
        Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.West)));
        Assert.Equal(RunPhase.Succeeded, (await house.TheRunAsync(Cancel)).State);
        Assert.Equal((new Lsn(5000), 1), (house.Agents[FailoverHouse.West].Held, house.Agents[FailoverHouse.West].CatchUps));
    }

    [Fact(Timeout = 60_000)]
    public async Task Failover_TheTargetCannotTakeWhatAnotherHolds_IsRefusedAndUndone()
    {
        await using var house = new FailoverHouse();
        house.Agents[FailoverHouse.Europe].Held = new Lsn(5000);
        house.Agents[FailoverHouse.West].CatchUpFails = true;
        await house.OpenAsync(Cancel);
        await house.RunAsync(Cancel, ("target", FailoverHouse.West));
        Assert.Equal(0, house.Agents[FailoverHouse.West].Promotions);
        Assert.Equal(FailoverHouse.East, (await house.Epochs.GetAsync("main", Cancel))!.Primary);
    }

    [Fact(Timeout = 60_000)]
    public async Task Failover_Stated_IsDoneAndAudited()
    {
        await using var house = new FailoverHouse();
        await house.OpenAsync(Cancel);
        await house.KillAsync(FailoverHouse.East, Cancel);
        Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.West), ("assume_fenced", "I pulled the plug")));
        Assert.Equal(RunPhase.Succeeded, (await house.TheRunAsync(Cancel)).State);
        Assert.Contains(await house.Events.ListAsync(100, Cancel), e => e.Kind == "fence.stated" && e.Summary.Contains("plug", StringComparison.Ordinal));
    }

    [Fact(Timeout = 60_000)]
    public async Task Failover_FailsAfterTheFence_StartsTheOldPrimaryAgainAsTheNextEpoch()
    {
        await using var house = new FailoverHouse();
        house.Agents[FailoverHouse.West].Fails.Add(DatabaseOrders.Cut);
        await house.OpenAsync(Cancel);
        Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.West)));
        Assert.Equal(RunPhase.RolledBack, (await house.TheRunAsync(Cancel)).State);
        var record = await house.Epochs.GetAsync("main", Cancel);
        Assert.Equal((2, EpochState.Open, FailoverHouse.East), (record!.Epoch, record.State, record.Primary));
        Assert.Equal((1, 1, DatabaseState.Primary), (house.Agents[FailoverHouse.East].Fences, house.Agents[FailoverHouse.East].Restarts, house.Agents[FailoverHouse.East].State));
        Assert.Null(await house.Store.GetAsync("holds/main", Cancel));
    }

    [Fact(Timeout = 60_000)]
    public async Task Failover_ACopyCanNeitherBeCutOffNorBroughtBack_StillGivesThePrimaryBack()
    {
        await using var house = new FailoverHouse();
        house.Agents[FailoverHouse.West].Fails.UnionWith([DatabaseOrders.Cut, DatabaseOrders.Uncut]);
        await house.OpenAsync(Cancel);
        Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.West)));
        var run = await house.TheRunAsync(Cancel);
        // The copy that could not be cut off cannot be brought back either: that keeps nobody from starting the primary again.
        Assert.Equal(RunPhase.RolledBack, run.State);
        var record = await house.Epochs.GetAsync("main", Cancel);
        Assert.Equal((2, EpochState.Open, FailoverHouse.East), (record!.Epoch, record.State, record.Primary));
        Assert.Equal((0, 1), (house.Agents[FailoverHouse.West].Promotions, house.Agents[FailoverHouse.East].Restarts));
    }

    /// <summary>A run that called a person can leave the record closing; the next one takes it up instead of being refused for ever.</summary>
    [Fact(Timeout = 60_000)]
    public async Task Failover_TheRecordWasLeftClosingByAnEndedRun_TakesItUp()
    {
        await using var house = new FailoverHouse();
        await house.OpenAsync(Cancel);
        var ended = new RunRecord
        {
            Id = "ended", Runbook = "failover", State = RunPhase.Failed, Actor = "somebody", Reason = "a test", Inputs = new Dictionary<string, string>(),
            StartedAt = DateTimeOffset.UtcNow, FinishedAt = DateTimeOffset.UtcNow, Over = "main", Steps = [],
        };
        await house.Records.PutAsync(ended, house.Fence, Cancel);
        Assert.IsType<EpochWrite.Done>(await house.Epochs.MoveAsync("main", r => EpochTransitions.Close(r, ended.Id, DateTimeOffset.UtcNow), house.Fence, Cancel));

        Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.West)));
        var record = await house.Epochs.GetAsync("main", Cancel);
        Assert.Equal((2, EpochState.Open, FailoverHouse.West), (record!.Epoch, record.State, record.Primary));
    }

    [Fact(Timeout = 60_000)]
    public async Task Failover_Aborted_BringsBackTheOldPrimary()
    {
        await using var house = new FailoverHouse();
        await house.OpenAsync(Cancel);
        house.Boot(5); // after the fence has finished: run, close begins, hold begins, fence begins, select begins
        Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.West)));
        var before = await house.TheRunAsync(Cancel);
        Assert.Null(before.FinishedAt);
        await AppendAsync(house, before.Id, new RunEvent.AbortRequested { At = DateTimeOffset.UtcNow, Actor = "tester" });
        house.Boot(null);
        await house.Runner.RunOnceAsync(Cancel);
        await house.Runner.WhenStoppedAsync(before.Id).WaitAsync(Cancel);

        var run = await house.TheRunAsync(Cancel);
        Assert.Equal(RunPhase.Aborted, run.State);
        var record = await house.Epochs.GetAsync("main", Cancel);
        Assert.Equal((2, EpochState.Open, FailoverHouse.East), (record!.Epoch, record.State, record.Primary));
        Assert.Equal(1, house.Agents[FailoverHouse.East].Restarts);
        Assert.Equal(0, house.Agents[FailoverHouse.West].Promotions);
        Assert.Null(await house.Store.GetAsync("holds/main", Cancel));
    }

    /// <summary>A run that gave up gave the stopped primary the next epoch itself, and it did not start: a person takes that up, and it is started and not promoted.</summary>
    [Fact(Timeout = 60_000)]
    public async Task Failover_ToAStoppedPrimaryThatHoldsTheNextEpochItself_StartsItAgain()
    {
        await using var house = new FailoverHouse();
        await house.OpenAsync(Cancel);
        var fenced = await house.Links.SendAsync(new NodeName(NodeKind.Agent, FailoverHouse.East), "f", DatabaseOrders.Fence, 1, house.Fence.Token, new FenceOrder("main", 1, "r0"), WireJson.Default.FenceOrder, WireJson.Default.FenceResult, TimeSpan.FromSeconds(5), Cancel);
        await house.Epochs.MoveAsync("main", r => EpochTransitions.Close(r, "r0", DateTimeOffset.UtcNow), null, Cancel);
        await house.Epochs.MoveAsync("main", r => EpochTransitions.Move(r, FailoverHouse.East, fenced.Data!.Proof, "r0", DateTimeOffset.UtcNow), null, Cancel);

        Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.East)));
        var run = await house.TheRunAsync(Cancel);
        Assert.True(run.State == RunPhase.Succeeded, $"{run.State} {run.Outcome} {run.Person}");
        Assert.Equal((1, 0), (house.Agents[FailoverHouse.East].Restarts, house.Agents[FailoverHouse.East].Promotions));
        Assert.Equal((2L, EpochState.Open), ((await house.Epochs.GetAsync("main", Cancel))!.Epoch, (await house.Epochs.GetAsync("main", Cancel))!.State));
    }

    [Fact(Timeout = 120_000)]
    public async Task Failover_TargetCannotPromote_CallsAPersonAndStaysMoving_ThenIsTakenUp()
    {
        await using var house = new FailoverHouse();
        house.Agents[FailoverHouse.West].RefusesToPromote = true;
        await house.OpenAsync(Cancel);
        Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.West)));
        var run = await house.TheRunAsync(Cancel);
        Assert.Equal(RunPhase.Failed, run.State);
        Assert.Contains("br dr failover --target us-west-1", run.Person, StringComparison.Ordinal);
        Assert.Equal(EpochState.Moving, (await house.Epochs.GetAsync("main", Cancel))!.State);

        house.Agents[FailoverHouse.West].RefusesToPromote = false;
        Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.West)));
        var record = await house.Epochs.GetAsync("main", Cancel);
        Assert.Equal((2, EpochState.Open, FailoverHouse.West), (record!.Epoch, record.State, record.Primary));
    }

    [Fact(Timeout = 60_000)]
    public async Task DryRunChangesNothing()
    {
        await using var house = new FailoverHouse();
        await house.OpenAsync(Cancel);
        var before = await house.DumpAsync(Cancel);
        var answer = await house.Desk.AskAsync(new RunRequest { Runbook = "failover", DryRun = true, Inputs = new Dictionary<string, string> { ["target"] = FailoverHouse.West } }, "tester", false, Cancel);
        var plan = Assert.IsType<RunDecision.Planned>(answer).Plan;
        Assert.True(plan.Ready, string.Join(" ", plan.Problems));
        Assert.Equal(
            ["Stop traffic to primary region", "Promote standby to primary", "Update DNS records", "Warm caches in new region", "Verify application health", "Resume traffic"],
            plan.Steps.Where(s => !s.AfterResume).Select(s => s.Title).Distinct());
        Assert.Equal(before, await house.DumpAsync(Cancel));
        Assert.Equal(0, house.Agents.Values.Sum(a => a.Cuts + a.Fences + a.Promotions));
    }

    [Theory(Timeout = 60_000)]
    [InlineData(PolicyMode.Observe, true, true, "mode: observe")]
    [InlineData(PolicyMode.Act, false, true, "recovery.enabled, DR_ENABLED")]
    [InlineData(PolicyMode.Act, true, false, "multiregion.enabled, MULTIREGION_ENABLED")]
    public async Task Failover_SwitchedOff_IsRefusedInASentence_AndItsDryRunSaysSo(PolicyMode mode, bool enabled, bool multiRegion, string says)
    {
        await using var house = new FailoverHouse(new RecoveryRules { Enabled = enabled }, mode, multiRegion);
        await house.OpenAsync(Cancel);
        Assert.Contains(says, await house.RunAsync(Cancel, ("target", FailoverHouse.West)), StringComparison.Ordinal);
        Assert.Empty(await house.Records.ListAsync(Cancel));

        var answer = await house.Desk.AskAsync(new RunRequest { Runbook = "failover", DryRun = true, Inputs = new Dictionary<string, string> { ["target"] = FailoverHouse.West } }, "tester", false, Cancel);
        var plan = Assert.IsType<RunDecision.Planned>(answer).Plan;
        // A dry run touches nothing: `observe` allows it, and the plan says that the run itself would be refused.
        Assert.Equal(mode == PolicyMode.Observe, plan.Ready);
        Assert.Contains(mode == PolicyMode.Observe ? plan.Notes : plan.Problems, line => line.Contains(says, StringComparison.Ordinal));
    }

    [Fact(Timeout = 60_000)]
    public async Task Failover_RightAfterTheKill_WaitsForNoLineThatBroke()
    {
        await using var house = new FailoverHouse();
        house.Power.Ready = true;
        await house.OpenAsync(Cancel);
        house.Break(FailoverHouse.East);
        Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.West)));
        var run = await house.TheRunAsync(Cancel);
        Assert.Equal(RunPhase.Succeeded, run.State);
        Assert.Equal((1, 0), (house.Power.Effects, house.Agents[FailoverHouse.East].Fences));
        Assert.InRange(run.Steps.Single(s => s.Id == "fence").DurationMs!.Value, 0, 1000); // its agent would have been waited for 1.5 s
        Assert.DoesNotContain(FailoverHouse.East, run.Steps.Single(s => s.Id == "verify").Outputs["verified"], StringComparison.Ordinal);
    }

    [Fact(Timeout = 60_000)]
    public async Task Failover_AGatewayGoesAwayWhileItIsVerified_IsNamedAndNotWaitedFor()
    {
        await using var house = new FailoverHouse();
        await house.OpenAsync(Cancel);
        house.OnProbe = (gateway, probe) =>
        {
            if (gateway != FailoverHouse.Asia || probe.Method != "POST")
                return house.Probed(gateway, probe);
            house.Break(gateway);
            return null;
        };
        Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.West)));
        var run = await house.TheRunAsync(Cancel);
        Assert.Equal(RunPhase.Succeeded, run.State);
        var verify = run.Steps.Single(s => s.Id == "verify");
        Assert.Equal(FailoverHouse.Asia, verify.Outputs["away"]);
        Assert.InRange(verify.DurationMs!.Value, 0, 2000);
        Assert.Contains(run.Report!.Value.GetProperty("warnings").EnumerateArray(), w => w.GetString()!.Contains(FailoverHouse.Asia, StringComparison.Ordinal));
    }

    [Fact(Timeout = 60_000)]
    public async Task Failover_NothingCouldBeVerified_ResumesTrafficAndEndsFailed()
    {
        await using var house = new FailoverHouse();
        await house.OpenAsync(Cancel);
        house.OnProbe = (gateway, probe) => probe.Method == "POST" ? new Client.Routing.ProbeResult(0, 1, 500, null, "no", null, 1) : house.Probed(gateway, probe);
        Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.West)));
        var run = await house.TheRunAsync(Cancel);
        Assert.Equal(RunPhase.Failed, run.State);
        Assert.Contains("traffic has resumed", run.Outcome, StringComparison.Ordinal);
        Assert.False(run.Report!.Value.GetProperty("success").GetBoolean());
        Assert.Null(await house.Store.GetAsync("holds/main", Cancel));
        Assert.Equal(EpochState.Open, (await house.Epochs.GetAsync("main", Cancel))!.State);
    }

    private static async Task AppendAsync(FailoverHouse house, string run, RunEvent happened)
    {
        using var journal = await RunJournal.OpenAsync(house.Store, new CrashPoint(null), run, "database/main", Cancel);
        await journal.AppendAsync(happened, house.Fence, Cancel);
    }
}
