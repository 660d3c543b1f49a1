using BuildRunner.Core.Policy;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Events;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using BuildRunner.Tests.Recovery;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace BuildRunner.Tests.Runbooks;

/// <summary>What a runbook acts on in a test: the room's actions over something that remembers each effect and says what is so.</summary>
/// <param name="Actions">The actions, over this world; they live longer than a server.</param>
/// <param name="Effects">Each change of the world since its beginning; something done twice stands here twice.</param>
/// <param name="State">What is so now, as text that is equal when it is the same.</param>
/// <param name="Close">Lets go what the world holds.</param>
internal sealed record SurvivalWorld(IReadOnlyList<IAction> Actions, Func<IReadOnlyList<string>> Effects, Func<string> State, Action? Close = null);

/// <summary>What came of it: how many cases of each kind, and every case in which something was done twice, lost or left behind.</summary>
internal sealed record SurvivalReport(IReadOnlyDictionary<string, int> Cases, IReadOnlyList<string> Faults)
{
    public override string ToString() => $"survival kit: {Cases.Values.Sum()} cases ({string.Join(", ", Cases.Select(c => $"{c.Value} {c.Key}"))}), {Faults.Count} faults";
}

/// <summary>
/// The survival kit: a run of any runbook is crashed before and after every line of its journals (its child runs' included), also while it is taken
/// back; each step fails once, loses its answer once, and is done twice. Always the effects and the end are those of the run that nobody disturbed, or everything
/// was taken back. A room passes its runbook by giving its documents and a world with its actions.
/// </summary>
/// <param name="runbooks">The runbook under test, then those that it runs.</param>
/// <param name="world">Makes a fresh world.</param>
/// <param name="inputs">Inputs of the run.</param>
internal sealed class SurvivalKit(IReadOnlyList<Runbook> runbooks, Func<SurvivalWorld> world, params (string Name, string Value)[] inputs)
{
    private static readonly TimeSpan CaseMax = TimeSpan.FromSeconds(30);

    public enum Luck
    {
        Fails,
        LosesItsAnswer,
        IsDoneTwice,

        /// <summary>A person who is asked says no.</summary>
        IsRejected,
    }

    public async Task<SurvivalReport> RunAsync(CancellationToken cancel)
    {
        var cases = new SortedDictionary<string, int>(StringComparer.Ordinal);
        var faults = new List<string>();
        void Count(string kind) => cases[kind] = cases.GetValueOrDefault(kind) + 1;
        void Judge(string what, End end, End good, bool mayBeTakenBack, string untouched, bool mayBeginAgain = false)
        {
            IReadOnlyList<string> effects = mayBeginAgain ? Net(end.Effects) : end.Effects;
            var same = end.Phase == good.Phase && end.State == good.State && effects.Order(StringComparer.Ordinal).SequenceEqual(good.Effects.Order(StringComparer.Ordinal));
            var back = mayBeTakenBack && end.Phase is RunPhase.RolledBack or RunPhase.Refused && end.State == untouched;
            if (!same && !back)
                faults.Add($"{what}: {end}; undisturbed: {good}");
        }

        var begin = world();
        var untouched = begin.State();
        begin.Close?.Invoke();
        var straight = await CaseAsync(null, false, null, cancel);
        Count("undisturbed");
        if (straight.Phase != RunPhase.Succeeded)
            return new(cases, [$"undisturbed: {straight}"]);
        for (var write = 1; write <= straight.Writes; write++)
        {
            foreach (var before in new[] { true, false })
            {
                Judge($"crash {(before ? "before" : "after")} write {write} of {straight.Writes}", await CaseAsync(write, before, null, cancel), straight, false, untouched);
                Count("crashes");
            }
        }

        var steps = runbooks.SelectMany(r => r.Steps.Select(s => (Runbook: r.Name, Step: s))).Where(s => s.Step.Manual is null && s.Step.Runbook is null && s.Step.Action != StepKind.Approval).ToList();
        foreach (var (owner, step) in steps)
        {
            foreach (var luck in new[] { Luck.Fails, Luck.LosesItsAnswer, Luck.IsDoneTwice })
            {
                var struck = new Strike(owner, step.Id, luck, Always: false);
                var end = await CaseAsync(null, false, struck, cancel);
                if (!struck.Happened)
                    continue; // a step that this run skips
                if (!(step.GoesOn && luck != Luck.IsDoneTwice))
                    Judge($"'{step.Id}'{(owner == runbooks[0].Name ? "" : $" of {owner}")} {luck}", end, straight, luck != Luck.IsDoneTwice && step.Retries == 0, untouched, mayBeginAgain: runbooks[0].Steps.Any(s => s.Runbook == owner && s.Retries > 0));
                Count(luck switch { Luck.Fails => "failures", Luck.LosesItsAnswer => "lost answers", _ => "repeats" });
            }
        }

        foreach (var (owner, step) in runbooks.SelectMany(r => r.Steps.Select(s => (Runbook: r.Name, Step: s))).Where(s => s.Step.Manual is not null || s.Step.Approval is not null))
        {
            var struck = new Strike(owner, step.Id, Luck.IsRejected, Always: false);
            var end = await CaseAsync(null, false, struck, cancel);
            if (!struck.Happened)
                continue;
            if (!step.GoesOn)
                Judge($"'{step.Id}' {Luck.IsRejected}", end, straight, true, untouched);
            Count("rejections");
        }

        // Taken back, and crashed meanwhile: the last step that can make the run turn round fails for good.
        foreach (var turn in runbooks[0].Steps.Where(s => s.OnFailure == OnFailure.Rollback && steps.Contains((runbooks[0].Name, s))).Reverse())
        {
            var struck = new Strike(runbooks[0].Name, turn.Id, Luck.Fails, Always: true);
            var back = await CaseAsync(null, false, struck, cancel);
            if (!struck.Happened || back.Phase is not RunPhase.RolledBack)
                continue; // skipped, or there is no way back from there
            if (back.State != untouched)
                faults.Add($"taken back from '{turn.Id}': {back}; at first: {untouched}");
            foreach (var (write, before) in Enumerable.Range(1, back.Writes).SelectMany(write => new[] { (write, true), (write, false) }))
            {
                var end = await CaseAsync(write, before, struck, cancel);
                if (end.Phase != back.Phase || end.State != untouched)
                    faults.Add($"crash {(before ? "before" : "after")} write {write} of {back.Writes} of a run that is taken back: {end}; undisturbed: {back}");
                Count("crashes while taken back");
            }
            break;
        }
        return new(cases, faults);
    }

    /// <summary>What is left when each "-x" has taken back the "+x" before it: a child run that failed, was taken back and was begun again.</summary>
    private static List<string> Net(IReadOnlyList<string> effects)
    {
        var net = new List<string>();
        foreach (var effect in effects)
        {
            if (effect.StartsWith('-') && net.LastIndexOf($"+{effect[1..]}") is >= 0 and var done)
                net.RemoveAt(done);
            else
                net.Add(effect);
        }
        return net;
    }

    /// <summary>One run from its beginning to its end, over at most one crash.</summary>
    private async Task<End> CaseAsync(int? dieAt, bool before, Strike? strike, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(CaseMax);
        using var folder = new TempFolder();
        using var store = SqliteStore.Open(Path.Combine(folder.Path, "state.db"), TimeProvider.System, NullLogger.Instance);
        var one = world();
        try { return await CaseAsync(one, store, dieAt, before, strike, limit.Token, cancel); }
        finally { one.Close?.Invoke(); }
    }

    private async Task<End> CaseAsync(SurvivalWorld one, SqliteStore store, int? dieAt, bool before, Strike? strike, CancellationToken limit, CancellationToken cancel)
    {
        var lines = 0;
        for (int? death = dieAt; ; death = null)
        {
            var mortal = new MortalStore(store, death, before);
            using var server = new KitServer(mortal, runbooks, one, strike);
            try { await server.LiveAsync(runbooks[0].Name, inputs, limit); }
            catch (ServerGone) { }
            catch (OperationCanceledException) when (!cancel.IsCancellationRequested) { return new(null, one.State(), [.. one.Effects()], lines, $"not ended within {CaseMax.TotalSeconds:0} s"); }
            lines += mortal.Writes;
            if (mortal.IsDead)
                continue;
            var runs = await server.Records.ListAsync(limit);
            var run = runs.Single(r => r.Parent is null);
            var doubled = runs.Where(r => r.Parent is not null).GroupBy(r => (r.Parent, r.ParentStep, r.Runbook)).Where(g => g.Count(r => r.State == RunPhase.Succeeded) > 1).Select(g => g.Key.ParentStep);
            return new(run.State, one.State(), [.. one.Effects(), .. doubled.Select(d => $"two runs of '{d}'")], lines, $"{run.Outcome} {run.Person}");
        }
    }

    private sealed record End(RunPhase? Phase, string State, IReadOnlyList<string> Effects, int Writes, string Outcome)
    {
        public override string ToString() => $"{Phase} ({Outcome}), is {State}, did {string.Join(", ", Effects)}";
    }

    /// <summary>Bad luck of one step, the first time or always.</summary>
    internal sealed record Strike(string Runbook, string Step, Luck Luck, bool Always)
    {
        public bool Happened { get; set; }
    }
}

/// <summary>One server process of the kit: the shipped engine over a store that may die, and people who answer whatever waits.</summary>
internal sealed class KitServer : IDisposable
{
    private readonly MortalStore _store;
    private readonly RunDesk _desk;
    private readonly RunnerLoop _runner;
    private readonly SurvivalKit.Strike? _strike;

    public KitServer(MortalStore store, IReadOnlyList<Runbook> runbooks, SurvivalWorld world, SurvivalKit.Strike? strike)
    {
        (_store, _strike) = (store, strike);
        var time = TimeProvider.System;
        var records = Records = new RunRecords(store);
        var actions = new ActionRegistry([.. world.Actions.Select(a => new KitAction(a, store, records, strike)), new ApprovalAction(), new ManualAction()]);
        var events = new EventLog(store, time, NullLogger<EventLog>.Instance);
        var policy = new HousePolicy(new PolicyDocument());
        var catalog = new RunbookCatalog(new RunbookLibrary(null, runbooks.Where(r => !RunbookLibrary.ShippedNames.Contains(r.Name))), [], actions);
        Lead lead = () => new Fence("server", 1);
        _runner = new RunnerLoop(store, catalog, actions, Records, new RunNotes(time), events, policy, lead, new CrashPoint(null), time, NullLogger<RunnerLoop>.Instance);
        _desk = new RunDesk(catalog, new RunChecks(catalog, actions, Records, policy, time), _runner, lead);
    }

    public RunRecords Records { get; }

    /// <summary>Asks for the run when there is none yet, takes up what there is, and lives until the run has ended or the process dies.</summary>
    public async Task LiveAsync(string runbook, (string Name, string Value)[] inputs, CancellationToken cancel)
    {
        var changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var watch = _store.Watch("runs/", _ => Volatile.Read(ref changed).TrySetResult());
        await _runner.RunOnceAsync(cancel);
        var asked = false;
        while (true)
        {
            var waiting = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            Volatile.Write(ref changed, waiting);
            var runs = await Records.ListAsync(cancel);
            if (runs.All(r => r.Parent is not null) && !asked)
            {
                asked = true;
                var decision = await _desk.AskAsync(new() { Runbook = runbook, Reason = "survival kit", Inputs = inputs.ToDictionary(i => i.Name, i => i.Value) }, "kit", false, cancel);
                Assert.True(decision is RunDecision.Begun, decision is RunDecision.Refused refused ? string.Join(" ", refused.Reasons) : decision.ToString());
                continue;
            }
            if (runs.SingleOrDefault(r => r.Parent is null) is { FinishedAt: not null })
                return;
            foreach (var run in runs)
            {
                foreach (var wait in run.Waiting)
                    await AnswerAsync(run, wait, cancel);
            }
            await ((Task)Task.WhenAny(waiting.Task, _store.Died.Task)).WaitAsync(TimeSpan.FromMilliseconds(100), cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            _store.ThrowIfDead();
            cancel.ThrowIfCancellationRequested();
            await _runner.RunOnceAsync(cancel);
        }
    }

    public void Dispose()
    {
        // What is still under way of a dead process comes to its end at the dead store.
        _runner.StopAsync(CancellationToken.None).GetAwaiter().GetResult();
        _runner.Dispose();
    }

    private async Task AnswerAsync(Client.Runbooks.RunRecord record, Client.Runbooks.RunWait wait, CancellationToken cancel)
    {
        var run = record.Id;
        if (_strike is { Luck: SurvivalKit.Luck.IsRejected } no && no.Runbook == record.Runbook && no.Step == wait.Step)
        {
            no.Happened = true;
            await _runner.ReplyAsync(run, state => RunReply.Reject(state, wait.Step, "ada", "admin", "not now", DateTimeOffset.UtcNow), cancel);
            return;
        }
        if (wait.ByHand)
        {
            await _runner.ReplyAsync(run, state => RunReply.Confirm(state, wait.Step, "ada", "operator", "done and seen", DateTimeOffset.UtcNow), cancel);
            return;
        }
        foreach (var person in new[] { "ada", "bob", "cyd" }.Take(wait.Needed))
            await _runner.ReplyAsync(run, state => RunReply.Approve(state, wait.Step, person, "admin", null, DateTimeOffset.UtcNow), cancel);
    }

    /// <summary>An action that a dead process cannot call, and that may have bad luck.</summary>
    private sealed class KitAction(IAction inner, MortalStore store, RunRecords records, SurvivalKit.Strike? strike) : IAction
    {
        public string Name => inner.Name;

        public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) => inner.CheckAsync(context, cancel);

        public Task<ActionVerdict> VerifyAsync(ActionContext context, CancellationToken cancel)
        {
            store.ThrowIfDead();
            return inner.VerifyAsync(context, cancel);
        }

        public Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel)
        {
            store.ThrowIfDead();
            return inner.UndoAsync(context, cancel);
        }

        public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
        {
            store.ThrowIfDead();
            // The step's own act: one that looks or undoes by this action has its luck with its own step.
            if (strike is null || strike.Step != context.Step.Id || context.Step.Action != Name || (strike.Happened && !strike.Always) || (await records.GetAsync(context.Run, cancel))?.Runbook != strike.Runbook)
                return await inner.ActAsync(context, cancel);
            strike.Happened = true;
            if (strike.Luck == SurvivalKit.Luck.Fails)
                return new ActionOutcome.Failed("bad luck");
            var outcome = await inner.ActAsync(context, cancel);
            return strike.Luck == SurvivalKit.Luck.LosesItsAnswer ? new ActionOutcome.Failed("the answer was lost", Unknown: true) : await inner.ActAsync(context, cancel) is { } again ? again : outcome;
        }
    }
}
