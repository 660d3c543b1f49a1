using BuildRunner.Core.Runbooks;
using CsCheck;

namespace BuildRunner.Core.Tests.Runbooks;

/// <summary>The next move of a run, driven over runbooks, outcomes and crashes that nobody thought of.</summary>
public class NextMoveTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 23, 10, 0, 0, TimeSpan.Zero);
    private static readonly IReadOnlyDictionary<string, string> None = new Dictionary<string, string>();

    private enum Luck
    {
        Works,
        Fails,
        AnswerLost,
        Refused,
    }

    private sealed record StepLuck(Luck[] Acts, bool?[] Looks, bool UndoFails, OnFailure OnFailure, int Retries);

    private sealed record Case(StepLuck[] Steps, int NoReturn, int AbortAt, int[] Cuts)
    {
        public override string ToString() => $"no return {NoReturn}, abort {AbortAt}, cuts {string.Join(",", Cuts)}; "
            + string.Join(" | ", Steps.Select(s => $"{string.Join(",", s.Acts)} looks {string.Join(",", s.Looks)} undo {(s.UndoFails ? "fails" : "works")} {s.OnFailure} x{s.Retries}"));
    }

    private static readonly Gen<StepLuck> GenStep = Gen.Select(
        Gen.Frequency((5, Gen.Const(Luck.Works)), (1, Gen.Enum<Luck>())).Array[1, 4],
        Gen.Int[0, 2].Select(i => i == 0 ? true : i == 1 ? false : (bool?)null).Array[1, 3],
        Gen.Frequency((6, Gen.Const(false)), (1, Gen.Const(true))),
        Gen.Enum<OnFailure>(),
        Gen.Int[0, 2],
        (acts, looks, undo, on, retries) => new StepLuck(acts, looks, undo, on, retries));

    private static readonly Gen<Case> GenCase = Gen.Select(GenStep.Array[1, 6], Gen.Int[-1, 6], Gen.Int[-1, 12], Gen.Int[1, 25].Array[0, 4], (s, n, a, c) => new Case(s, n, a, c));

    [Fact]
    public void Decide_CutAnywhereAndResumed_EndsAndKeepsItsPromises() => GenCase.Sample(Run, iter: 5000);

    private static void Run(Case one)
    {
        var runbook = new Runbook
        {
            Name = "any",
            Title = "Any",
            Steps = [.. one.Steps.Select((s, i) => new RunbookStep { Id = $"s{i}", Title = "t", Action = "a", OnFailure = s.OnFailure, Retries = s.Retries, PointOfNoReturn = i == one.NoReturn })],
        };
        var journal = new List<RunEvent> { new RunEvent.RunStarted { At = Now, Run = "r", Runbook = runbook, Hash = "h", Inputs = None, Actor = "a", Reason = "why" } };
        var acted = new Dictionary<string, int>();
        var looked = new Dictionary<string, int>();
        var cuts = new Queue<int>(one.Cuts);
        var moves = 0;
        string? crashedIn = null;
        while (true)
        {
            Assert.True(++moves < 200, "the run does not end");
            if (moves == one.AbortAt && RunState.Fold(journal) is { Finished: false })
                journal.Add(new RunEvent.AbortRequested { At = Now, Actor = "p" });
            var state = RunState.Fold(journal)!;
            var move = NextMove.Decide(state, Now);
            Assert.NotEmpty(move.Reason);
            if (move is NextMove.Nothing)
                break;
            if (crashedIn is not null && move is NextMove.Start)
                Assert.NotEqual(crashedIn, ((NextMove.Start)move).Step.Id); // after a crash: look first
            crashedIn = null;
            switch (move)
            {
                case NextMove.Start start:
                    journal.Add(new RunEvent.StepStarted { At = Now, Step = start.Step.Id, Attempt = start.Attempt, Key = start.Key });
                    if (Crash(cuts))
                    {
                        crashedIn = start.Step.Id;
                        break;
                    }
                    journal.Add(Outcome(one, start, acted));
                    break;
                case NextMove.VerifyFirst look:
                    var answers = one.Steps[Index(look.Step)].Looks;
                    var nth = looked[look.Step.Id] = looked.GetValueOrDefault(look.Step.Id) + 1;
                    journal.Add(new RunEvent.StepVerified { At = Now, Step = look.Step.Id, Attempt = look.Attempt, Already = answers[(nth - 1) % answers.Length] });
                    break;
                case NextMove.Undo undo:
                    Assert.False(state.PastReturn);
                    // Last first: nothing that may have acted is left behind it.
                    Assert.All(state.Steps.Skip(Index(undo.Step) + 1), s => Assert.True(s.Status is StepStatus.Pending or StepStatus.Undone || s.Step.PointOfNoReturn));
                    journal.Add(new RunEvent.UndoStarted { At = Now, Step = undo.Step.Id, Key = undo.Key });
                    if (!Crash(cuts))
                        journal.Add(one.Steps[Index(undo.Step)].UndoFails ? new RunEvent.UndoFailed { At = Now, Step = undo.Step.Id, Error = "stuck" } : new RunEvent.Undone { At = Now, Step = undo.Step.Id });
                    break;
                case NextMove.Finish finish:
                    journal.Add(new RunEvent.RunFinished { At = Now, State = finish.State, Reason = finish.Reason });
                    break;
                case NextMove.CallPerson call:
                    journal.Add(new RunEvent.RunFinished { At = Now, State = RunPhase.Failed, Reason = call.Reason, Person = "look" });
                    break;
            }
        }

        // Every prefix of the journal folds, and the form survives writing and reading.
        var read = journal.Select(e => Journal.Read(Journal.Write(e))).ToList();
        Assert.Equal(RunState.Fold(journal)!.Phase, RunState.Fold(read)!.Phase);
        Assert.Throws<InvalidOperationException>(() => RunState.Fold([.. journal, new RunEvent.StepStarted { At = Now, Step = "s0", Attempt = 9, Key = "k" }]));
        var end = RunState.Fold(journal)!;
        if (end.Phase is RunPhase.RolledBack or RunPhase.Aborted or RunPhase.Refused)
            Assert.All(end.Steps.Where(s => !s.Step.PointOfNoReturn), s => Assert.True(s.Status is StepStatus.Pending or StepStatus.Undone));
        if (end.Phase == RunPhase.Succeeded)
            Assert.All(end.Steps, s => Assert.True(s.Status == StepStatus.Done || s.Step.OnFailure == OnFailure.Continue));
    }

    private static RunEvent Outcome(Case one, NextMove.Start start, Dictionary<string, int> acted)
    {
        var lucks = one.Steps[Index(start.Step)].Acts;
        var nth = acted[start.Step.Id] = acted.GetValueOrDefault(start.Step.Id) + 1;
        return lucks[(nth - 1) % lucks.Length] switch
        {
            Luck.Works => new RunEvent.StepFinished { At = Now, Step = start.Step.Id, Attempt = start.Attempt, Outputs = None, Milliseconds = 1 },
            var luck => new RunEvent.StepFailed { At = Now, Step = start.Step.Id, Attempt = start.Attempt, Error = luck.ToString(), Refused = luck == Luck.Refused, Unknown = luck == Luck.AnswerLost, Milliseconds = 1 },
        };
    }

    private static bool Crash(Queue<int> cuts)
    {
        if (!cuts.TryPeek(out var left))
            return false;
        cuts.Dequeue();
        if (left <= 8)
            return true;
        return false;
    }

    private static int Index(RunbookStep step) => int.Parse(step.Id.AsSpan(1), CultureInfo.InvariantCulture);

    [Fact]
    public void Key_AfterCrashTheSame_AfterKnownFailureAnother()
    {
        var step = new StepState { Step = new RunbookStep { Id = "s0", Title = "t", Action = "a" } };
        var crashed = step.Apply(new RunEvent.StepStarted { At = Now, Step = "s0", Attempt = 1, Key = "r/s0" });
        Assert.Equal("r/s0", crashed.Key("r"));
        var lost = crashed.Apply(new RunEvent.StepFailed { At = Now, Step = "s0", Attempt = 1, Error = "no answer", Unknown = true, Milliseconds = 1 });
        Assert.Equal("r/s0", lost.Key("r"));
        Assert.True(lost.MayHaveActed);
        var failed = crashed.Apply(new RunEvent.StepFailed { At = Now, Step = "s0", Attempt = 1, Error = "no", Milliseconds = 1 });
        Assert.Equal("r/s0.2", failed.Key("r"));
        Assert.False(failed.MayHaveActed);
    }

    [Fact]
    public void Fill_InputsAndOutputs_AreReplacedAndMissingOnesAreEmpty() =>
        Assert.Equal("us-west-1 3 ", StepArguments.Fill(
            new Dictionary<string, string> { ["a"] = "${target} ${move.epoch} ${gone}" },
            new Dictionary<string, string> { ["target"] = "us-west-1" },
            new Dictionary<string, string> { ["move.epoch"] = "3" })["a"]);

    [Fact]
    public void Errors_UnknownActionDoubleStepAndUnknownReference_AreAllNamed()
    {
        var errors = RunbookCheck.Errors(new Runbook
        {
            Name = "x",
            Title = "X",
            Steps =
            [
                new() { Id = "one", Title = "t", Action = "no.such" },
                new() { Id = "one", Title = "t", Action = "is", With = new Dictionary<string, string> { ["a"] = "${later.out}" } },
            ],
        }, name => name == "is");
        Assert.Equal(3, errors.Count);
        Assert.Contains("'no.such'", errors[0], StringComparison.Ordinal);
    }
}
