using BuildRunner.Core.Runbooks;
using CsCheck;

namespace BuildRunner.Core.Tests.Runbooks;

/// <summary>The next move over conditions, groups, agreements and hands, with crashes, bad luck and people who say anything at any time.</summary>
public class NextMoveShapesTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 23, 10, 0, 0, TimeSpan.Zero);
    private static readonly IReadOnlyDictionary<string, string> None = new Dictionary<string, string>();
    private static readonly string[] People = ["ada", "bob", "cyd"];

    private sealed record Shape(int Group, int When, int Approvals, bool ByHand, bool NoReturn, OnFailure OnFailure, int Retries);

    private sealed record Case(Shape[] Steps, int[] Dice)
    {
        public override string ToString() => $"{string.Join(" | ", (IEnumerable<Shape>)Steps)}; dice {string.Join(",", Dice)}";
    }

    private static readonly Gen<Shape> GenShape = Gen.Select(
        Gen.Int[0, 3], Gen.Int[0, 4], Gen.Frequency((4, Gen.Const(0)), (1, Gen.Int[1, 3])), Gen.Frequency((5, Gen.Const(false)), (1, Gen.Const(true))), Gen.Frequency((9, Gen.Const(false)), (1, Gen.Const(true))), Gen.Enum<OnFailure>(), Gen.Int[0, 2],
        (group, when, approvals, hand, none, on, retries) => new Shape(group, when, approvals, hand, none, on, retries));

    private static readonly Gen<Case> GenCase = Gen.Select(GenShape.Array[1, 7], Gen.Int[0, 99].Array[20, 80], (s, d) => new Case(s, d));

    [Fact]
    public void Decide_AnyShapeAnyLuckCutAnywhere_EndsAndKeepsItsPromises() => GenCase.Sample(one => new Play(one).ToTheEnd(), iter: 5000);

    /// <summary>One run, played with the dice of its case.</summary>
    private sealed class Play
    {
        private readonly List<RunEvent> _journal = [];
        private readonly int[] _dice;
        private int _thrown;
        private int _answers;
        private DateTimeOffset _now = Now;

        public Play(Case one)
        {
            _dice = one.Dice;
            var runbook = new Runbook
            {
                Name = "any",
                Title = "Any",
                Inputs = [new("yes", "y"), new("no", "n")],
                Steps = [.. one.Steps.Select((s, i) => new RunbookStep
                {
                    Id = $"s{i}",
                    Title = "t",
                    Action = s.ByHand ? StepKind.Manual : "a",
                    Manual = s.ByHand ? "do it" : null,
                    Group = s.Group == 0 ? null : $"g{s.Group}",
                    When = s.When switch { 0 => "${no}", 1 => i > 0 ? $"${{s{i - 1}.out}}" : "${yes}", _ => null },
                    Approval = s.Approvals > 0 ? new StepApproval { Count = s.Approvals, Timeout = TimeSpan.FromMinutes(5) } : null,
                    PointOfNoReturn = s.NoReturn,
                    OnFailure = s.OnFailure,
                    Retries = s.Retries,
                })],
            };
            Add(new RunEvent.RunStarted { At = Now, Run = "r", Runbook = runbook, Hash = "h", Inputs = new Dictionary<string, string> { ["yes"] = "y", ["no"] = "" }, Actor = "a", Reason = "why" });
        }

        private RunState State => RunState.Fold(_journal)!;

        public void ToTheEnd()
        {
            for (var moves = 0; ; moves++)
            {
                Assert.True(moves < 300, "the run does not end");
                var state = State;
                if (Dice() > 96 && !state.Finished && state.ReturnBarredBy is null)
                {
                    Add(new RunEvent.AbortRequested { At = _now, Actor = "p" });
                    state = State;
                }
                var move = NextMove.Decide(state, _now);
                Assert.NotEmpty(move.Reason);
                switch (move)
                {
                    case NextMove.Nothing:
                        Judge(state);
                        return;
                    case NextMove.Together together:
                        Assert.Single(together.Moves.Select(m => m.About!.Group).Distinct());
                        Side(together.Moves);
                        break;
                    case NextMove.Undo undo:
                        Assert.False(state.PastReturn);
                        Add(new RunEvent.UndoStarted { At = _now, Step = undo.Step.Id, Key = undo.Key });
                        if (Dice() > 10)
                            Add(Dice() > 5 ? new RunEvent.Undone { At = _now, Step = undo.Step.Id } : new RunEvent.UndoFailed { At = _now, Step = undo.Step.Id, Error = "stuck" });
                        break;
                    case NextMove.Finish finish:
                        Add(new RunEvent.RunFinished { At = _now, State = finish.State, Reason = finish.Reason });
                        break;
                    case NextMove.CallPerson call:
                        Add(new RunEvent.RunFinished { At = _now, State = RunPhase.Failed, Reason = call.Reason, Person = "look" });
                        break;
                    default:
                        Side([move]);
                        break;
                }
            }
        }

        /// <summary>Steps side by side: all begin, then each comes to its outcome in any order, unless the server is gone by then.</summary>
        private void Side(IReadOnlyList<NextMove> moves)
        {
            var begun = new List<NextMove.Start>();
            foreach (var move in moves)
            {
                switch (move)
                {
                    case NextMove.Start start:
                        Begins(start.Step);
                        Add(new RunEvent.StepStarted { At = _now, Step = start.Step.Id, Attempt = start.Attempt, Key = start.Key });
                        begun.Add(start);
                        break;
                    case NextMove.VerifyFirst look:
                        Add(new RunEvent.StepVerified { At = _now, Step = look.Step.Id, Attempt = look.Attempt, Already = Dice() switch { < 30 => true, < 60 => false, _ => null }, Outputs = new Dictionary<string, string> { ["out"] = "o" } });
                        break;
                    case NextMove.Skip skip:
                        Assert.NotNull(skip.Step.When);
                        Add(new RunEvent.StepSkipped { At = _now, Step = skip.Step.Id, Why = skip.Reason });
                        break;
                    case NextMove.Ask ask:
                        Assert.Equal(ask.ByHand, ask.Step.Manual is not null && State.Step(ask.Step.Id).IsApproved);
                        Add(ask.ByHand ? new RunEvent.ConfirmationRequested { At = _now, Step = ask.Step.Id, Expires = ask.Expires } : new RunEvent.ApprovalRequested { At = _now, Step = ask.Step.Id, Expires = ask.Expires });
                        break;
                    case NextMove.Await wait:
                        Answer(wait.Step);
                        break;
                    case NextMove.Expire expire:
                        Add(expire.ByHand ? new RunEvent.ConfirmationExpired { At = _now, Step = expire.Step.Id } : new RunEvent.ApprovalExpired { At = _now, Step = expire.Step.Id });
                        break;
                }
            }
            while (begun.Count > 0 && Dice() > 8)
            {
                var next = begun[Dice() % begun.Count];
                begun.Remove(next);
                Add(Dice() switch
                {
                    < 70 => new RunEvent.StepFinished { At = _now, Step = next.Step.Id, Attempt = next.Attempt, Outputs = new Dictionary<string, string> { ["out"] = "o" }, Milliseconds = 1 },
                    var d => new RunEvent.StepFailed { At = _now, Step = next.Step.Id, Attempt = next.Attempt, Error = "no", Unknown = d < 80, Refused = d > 95, Milliseconds = 1 },
                });
            }
        }

        /// <summary>People answer whatever they are asked, and what they are not asked.</summary>
        private void Answer(RunbookStep step)
        {
            var (person, what, role) = (People[Dice() % 3], Dice(), Dice() % 5 == 0 ? "viewer" : "operator");
            if (what > 95 || ++_answers > 60)
            {
                _now = State.Step(step.Id).Expires!.Value;
                return;
            }
            var reply = what > 85 ? RunReply.Reject(State, step.Id, person, role, "no", _now)
                : what > 40 ? RunReply.Approve(State, step.Id, person, role, null, _now)
                : RunReply.Confirm(State, step.Id, person, role, "seen", _now);
            Assert.True(reply.Line is null != reply.Problem is null);
            if (role == "viewer")
                Assert.Null(reply.Line);
            if (reply.Line is not null)
                Add(reply.Line);
        }

        /// <summary>Everything before a step is settled, its condition holds, and enough different people agreed.</summary>
        private void Begins(RunbookStep step)
        {
            var state = State;
            var before = state.Steps.TakeWhile(s => s.Step.Id != step.Id).Where(s => step.Group is null || s.Step.Group != step.Group || Apart(state, s, step));
            Assert.All(before, s => Assert.True(s.Status is StepStatus.Done or StepStatus.Skipped || (s.Status == StepStatus.Failed && s.Step.GoesOn), $"{step.Id} begins while {s.Step.Id} is {s.Status}"));
            Assert.True(step.When is null || state.Step(step.Id).Begun || Condition.Holds(step.When, state.Inputs, state.Outputs));
            Assert.True(state.Step(step.Id).Agreed.Select(a => a.Actor).Distinct().Count() >= (step.Approval?.Count ?? 0));
            Assert.Null(step.Manual);
        }

        /// <summary>Two runs of the same group's name with another step between them are two groups.</summary>
        private static bool Apart(RunState state, StepState one, RunbookStep other) =>
            state.Steps.SkipWhile(s => s != one).TakeWhile(s => s.Step.Id != other.Id).Any(s => s.Step.Group != other.Group);

        private void Judge(RunState end)
        {
            var read = _journal.Select(e => Journal.Read(Journal.Write(e))).ToList();
            Assert.Equal(end.Phase, RunState.Fold(read)!.Phase);
            Assert.NotEqual(RunPhase.Waiting, end.Phase);
            if (end.Phase is RunPhase.RolledBack or RunPhase.Aborted or RunPhase.Refused)
                Assert.All(end.Steps.Where(s => !s.Step.PointOfNoReturn), s => Assert.True(s.Status is StepStatus.Pending or StepStatus.Undone or StepStatus.Skipped or StepStatus.Waiting || !s.Begun, $"{s.Step.Id} is {s.Status}"));
            if (end.Phase == RunPhase.Succeeded)
                Assert.All(end.Steps, s => Assert.True(s.Status is StepStatus.Done or StepStatus.Skipped || s.Step.OnFailure == OnFailure.Continue));
        }

        private void Add(RunEvent happened) => _journal.Add(happened);

        /// <summary>The dice of the case, and then the same ones turned: a run that never ends must not be the dice's doing.</summary>
        private int Dice()
        {
            var thrown = _thrown++;
            return (_dice[thrown % _dice.Length] + (thrown / _dice.Length * 31)) % 100;
        }
    }

    [Fact]
    public void Decide_GroupOfThree_StartsAllAndTheNextStepWaits()
    {
        var state = Begin(Step("a", "g"), Step("b", "g"), Step("c", "g"), Step("d"));
        var together = Assert.IsType<NextMove.Together>(NextMove.Decide(state, Now));
        Assert.Equal(["a", "b", "c"], together.Moves.Select(m => m.About!.Id));
        state = With(state, Started("a"), Started("b"), Finished("a"), Started("c"), Finished("c"));
        Assert.IsType<NextMove.VerifyFirst>(NextMove.Decide(state, Now)); // b was cut off; d waits for it
        Assert.Null(NextMove.OfLane(state, "a", Now));
        Assert.Equal("d", NextMove.Decide(With(state, Finished("b")), Now).About!.Id);
    }

    [Fact]
    public void Decide_FailedOnceWithARetry_IsLookedAtAndRepeatedUnderAnotherKey()
    {
        var state = With(Begin(Step("a") with { Retries = 1 }), Started("a"), Failed("a"));
        Assert.Equal(TimeSpan.FromSeconds(1), Assert.IsType<NextMove.VerifyFirst>(NextMove.Decide(state, Now)).After);
        state = With(state, new RunEvent.StepVerified { At = Now, Step = "a", Attempt = 1, Already = false });
        Assert.Equal((2, "r/a.2"), NextMove.Decide(state, Now) is NextMove.Start start ? (start.Attempt, start.Key) : default);
        state = With(state, new RunEvent.StepStarted { At = Now, Step = "a", Attempt = 2, Key = "r/a.2" }, new RunEvent.StepFailed { At = Now, Step = "a", Attempt = 2, Error = "no", Milliseconds = 1 });
        Assert.IsType<NextMove.Undo>(NextMove.Decide(state, Now));
    }

    [Fact]
    public void Decide_OneOfAGroupFails_TheOthersEndAndAreTakenBackLastFirst()
    {
        var state = With(Begin(Step("before"), Step("a", "g"), Step("b", "g")), Started("before"), Finished("before"), Started("a"), Started("b"), Failed("a"));
        Assert.Null(NextMove.OfLane(state, "a", Now));
        state = With(state, Finished("b"));
        var order = new List<string>();
        while (NextMove.Decide(state, Now) is NextMove.Undo undo)
        {
            order.Add(undo.Step.Id);
            state = With(state, new RunEvent.UndoStarted { At = Now, Step = undo.Step.Id, Key = undo.Key }, new RunEvent.Undone { At = Now, Step = undo.Step.Id });
        }
        Assert.Equal(["b", "a", "before"], order);
        Assert.Equal(RunPhase.RolledBack, Assert.IsType<NextMove.Finish>(NextMove.Decide(state, Now)).State);
    }

    [Theory]
    [InlineData(-1, "Await")]
    [InlineData(0, "Expire")]
    [InlineData(1, "Expire")]
    public void Decide_WaitingAtItsLimit_Expires(int secondsPast, string move)
    {
        var state = With(Begin(Step("a") with { Approval = new StepApproval { Timeout = TimeSpan.FromMinutes(1) } }), new RunEvent.ApprovalRequested { At = Now, Step = "a", Expires = Now.AddMinutes(1) });
        Assert.Equal(RunPhase.Waiting, state.Phase);
        Assert.Equal(move, NextMove.Decide(state, Now.AddMinutes(1).AddSeconds(secondsPast)).GetType().Name);
    }

    [Fact]
    public void Approve_SamePersonTwiceOrWrongRole_CountsForNothing()
    {
        var state = With(Begin(Step("a") with { Approval = new StepApproval { Roles = ["admin"], Count = 2 } }), new RunEvent.ApprovalRequested { At = Now, Step = "a", Expires = Now.AddHours(1) });
        Assert.True(RunReply.Approve(state, null, "ada", "operator", null, Now) is { NotPermitted: true, Line: null });
        state = RunState.Apply(state, RunReply.Approve(state, null, "ada", "admin", "fine", Now).Line!);
        Assert.Contains("already", RunReply.Approve(state, null, "ada", "admin", null, Now).Problem, StringComparison.Ordinal);
        Assert.Equal(StepStatus.Waiting, state.Step("a").Status);
        state = RunState.Apply(state, RunReply.Approve(state, null, "bob", "admin", null, Now).Line!);
        Assert.IsType<NextMove.Start>(NextMove.Decide(state, Now));
        Assert.Equal(RunPhase.Running, state.Phase);
    }

    [Fact]
    public void Reject_OfAWaitingStep_EndsRefusedAndTakesBack()
    {
        var state = With(Begin(Step("a"), Step("b") with { Manual = "look", Action = StepKind.Manual }), Started("a"), Finished("a"), new RunEvent.ConfirmationRequested { At = Now, Step = "b", Expires = Now.AddHours(1) });
        Assert.NotNull(RunReply.Confirm(state, "b", "ada", "operator", " ", Now).Problem); // a note is required
        Assert.Contains("confirm", RunReply.Approve(state, "b", "ada", "operator", null, Now).Problem, StringComparison.Ordinal);
        state = RunState.Apply(state, RunReply.Reject(state, "b", "ada", "operator", "it smokes", Now).Line!);
        Assert.Equal("a", Assert.IsType<NextMove.Undo>(NextMove.Decide(state, Now)).Step.Id);
        state = With(state, new RunEvent.UndoStarted { At = Now, Step = "a", Key = "k" }, new RunEvent.Undone { At = Now, Step = "a" });
        Assert.Equal(RunPhase.Refused, Assert.IsType<NextMove.Finish>(NextMove.Decide(state, Now)).State);
    }

    [Theory]
    [InlineData("graceful", "graceful", true)]
    [InlineData("graceful", "ungraceful", false)]
    [InlineData("ungraceful", null, false)]
    [InlineData(null, "ungraceful", true)]
    public void Decide_StepOfAVariant_IsDoneInThatOnly(string? only, string? variant, bool done)
    {
        var state = Begin(Step("a") with { Only = only }) with { Inputs = variant is null ? None : new Dictionary<string, string> { ["variant"] = variant } };
        Assert.Equal(done, NextMove.Decide(state, Now) is NextMove.Start);
    }

    [Fact]
    public void Decide_AbortWhileARunIsAStep_BringsItToItsEndFirst()
    {
        var child = Step("c") with { Action = StepKind.ChildRun, Runbook = "other", Undo = false };
        var state = With(Begin(Step("a"), child), Started("a"), Finished("a"), Started("c"));
        Assert.Null(state.ReturnBarredBy); // it can be stopped, and its end says what it did
        state = With(state, new RunEvent.AbortRequested { At = Now, Actor = "p" });
        Assert.IsType<NextMove.VerifyFirst>(NextMove.Decide(state, Now));
        Assert.Equal("a", Assert.IsType<NextMove.Undo>(NextMove.Decide(With(state, Failed("c")), Now)).Step.Id);
        var done = With(state, Finished("c"));
        Assert.True(done.PastReturn); // too late: it has been done
        Assert.Equal(RunPhase.Succeeded, Assert.IsType<NextMove.Finish>(NextMove.Decide(done, Now)).State);
    }

    private static RunbookStep Step(string id, string? group = null) => new() { Id = id, Title = "t", Action = "a", Group = group };

    private static RunState Begin(params RunbookStep[] steps) =>
        RunState.Apply(null, new RunEvent.RunStarted { At = Now, Run = "r", Runbook = new Runbook { Name = "n", Title = "t", Steps = steps }, Hash = "h", Inputs = None, Actor = "a", Reason = "why" });

    private static RunState With(RunState state, params RunEvent[] events) => events.Aggregate(state, RunState.Apply);

    private static RunEvent.StepStarted Started(string step) => new() { At = Now, Step = step, Attempt = 1, Key = $"r/{step}" };

    private static RunEvent.StepFinished Finished(string step) => new() { At = Now, Step = step, Attempt = 1, Outputs = None, Milliseconds = 1 };

    private static RunEvent.StepFailed Failed(string step) => new() { At = Now, Step = step, Attempt = 1, Error = "no", Milliseconds = 1 };
}
