namespace BuildRunner.Core.Runbooks;

/// <summary>The closed set of things that a run may do next; every answer carries its reason.</summary>
public abstract record NextMove
{
    private NextMove() { }

    public required string Reason { get; init; }

    public sealed record Start(RunbookStep Step, int Attempt, string Key) : NextMove;

    /// <summary>The step was started and its result is not known, or it failed and may be repeated: look whether it is already so.</summary>
    public sealed record VerifyFirst(RunbookStep Step, int Attempt, string Key, TimeSpan After) : NextMove;

    /// <summary>Its condition does not hold.</summary>
    public sealed record Skip(RunbookStep Step) : NextMove;

    /// <summary>Ask people to agree to the step, or to do it by hand when <paramref name="ByHand"/>.</summary>
    public sealed record Ask(RunbookStep Step, bool ByHand, DateTimeOffset Expires) : NextMove;

    /// <summary>People have been asked and have not all answered.</summary>
    public sealed record Await(RunbookStep Step, DateTimeOffset Expires) : NextMove;

    /// <summary>They have not answered in time.</summary>
    public sealed record Expire(RunbookStep Step, bool ByHand) : NextMove;

    /// <summary>The steps of one group, each with its own move; they go on side by side, each until it is settled (<see cref="OfLane"/>).</summary>
    public sealed record Together(IReadOnlyList<NextMove> Moves) : NextMove;

    public sealed record Undo(RunbookStep Step, string Key) : NextMove;

    public sealed record Finish(RunPhase State) : NextMove;

    /// <summary>The run ends failed; nothing more is tried without a person.</summary>
    public sealed record CallPerson(RunbookStep Step) : NextMove;

    public sealed record Nothing : NextMove;

    /// <summary>The step that a move is about; null when it is about the run.</summary>
    public RunbookStep? About => this switch
    {
        Start m => m.Step,
        VerifyFirst m => m.Step,
        Skip m => m.Step,
        Ask m => m.Step,
        Await m => m.Step,
        Expire m => m.Step,
        Undo m => m.Step,
        CallPerson m => m.Step,
        _ => null,
    };

    /// <summary>What comes next, asked whenever nothing is under way: a step that is running by then was cut off.</summary>
    public static NextMove Decide(RunState state, DateTimeOffset now)
    {
        if (state.Finished)
            return new Nothing { Reason = $"the run ended {state.Phase}" };
        if (state.Steps.FirstOrDefault(s => s.Status == StepStatus.UndoFailed) is { } stuck)
            return new CallPerson(stuck.Step) { Reason = $"taking back '{stuck.Step.Id}' failed: {stuck.Error}" };
        if (Unwinding(state) is { } why)
        {
            // What a run that is a step did is known only when it has ended.
            return state.Steps.FirstOrDefault(s => s.ChildUnderWay) is { } child ? StepMove.Of(state, child, now)! : NextUndo(state, why);
        }
        for (var at = 0; at < state.Steps.Count;)
        {
            var group = GroupAt(state, at);
            at += group.Count;
            var broken = group.FirstOrDefault(Ends);
            var moves = group.Where(s => broken is null || IsUnderWay(s)).Select(s => StepMove.Of(state, s, now)).OfType<NextMove>().ToList();
            if (moves.Count == 1)
                return moves[0];
            if (moves.Count > 1)
                return new Together(moves) { Reason = $"the steps of '{group[0].Step.Group}' go on together" };
            if (broken is not null)
            {
                return state.PastReturn
                    ? new CallPerson(broken.Step) { Reason = $"'{broken.Step.Id}' failed and the run can only go forward: {broken.Error}" }
                    : new Finish(RunPhase.Failed) { Reason = $"'{broken.Step.Id}' failed: {broken.Error}" };
            }
        }
        return End(state);
    }

    /// <summary>What comes next for one step of a group while others of it are under way; null: it is settled, or the group has to be left.</summary>
    public static NextMove? OfLane(RunState state, string step, DateTimeOffset now)
    {
        var one = state.Step(step);
        if (state.Finished || (Unwinding(state) is not null && !one.ChildUnderWay))
            return null;
        var broken = one.Step.Group is { } group && state.Steps.Any(s => s.Step.Group == group && Ends(s));
        return broken && !IsUnderWay(one) ? null : StepMove.Of(state, one, now);
    }

    /// <summary>The steps that begin together at this place: a whole group, or the one step.</summary>
    private static IReadOnlyList<StepState> GroupAt(RunState state, int at) =>
        state.Steps[at].Step.Group is { } group ? [.. state.Steps.Skip(at).TakeWhile(s => s.Step.Group == group)] : [state.Steps[at]];

    /// <summary>Begun, and neither done nor given up.</summary>
    private static bool IsUnderWay(StepState step) => step.Status is StepStatus.Running or StepStatus.Verified || (step.Status == StepStatus.Failed && step.Begun);

    /// <summary>Failed for good, in a way that ends the run.</summary>
    private static bool Ends(StepState step) => step.Status == StepStatus.Failed && !StepMove.MayRepeat(step) && !step.Step.GoesOn;

    private static Finish End(RunState state)
    {
        if (state.Steps.FirstOrDefault(s => s.Status == StepStatus.Failed && s.Step.OnFailure == OnFailure.ContinueAndFail) is { } failed)
        {
            var rest = state.Steps.Any(s => s.Step.AfterResume) ? "traffic has resumed all the same" : "the other steps are done";
            return new Finish(RunPhase.Failed) { Reason = $"'{failed.Step.Id}' failed, and {rest}: {failed.Error}" };
        }
        return state.Steps.FirstOrDefault(s => s.Status == StepStatus.Failed) is { } warning
            ? new Finish(RunPhase.Succeeded) { Reason = $"every step that counts is done; '{warning.Step.Id}' failed: {warning.Error}" }
            : new Finish(RunPhase.Succeeded) { Reason = "every step is done" };
    }

    /// <summary>Why the run takes its steps back; null when it does not.</summary>
    private static string? Unwinding(RunState state)
    {
        if (state.Phase == RunPhase.Undoing)
            return Cause(state);
        if (state.PastReturn)
            return null;
        if (state.AbortedBy is not null)
            return Cause(state);
        return Broken(state) is { Step.OnFailure: OnFailure.Rollback } ? Cause(state) : null;
    }

    private static string Cause(RunState state) =>
        Broken(state) is { } broken ? $"'{broken.Step.Id}' failed: {broken.Error}" : $"aborted by {state.AbortedBy}";

    /// <summary>Failed for good; one that was looked at after a failure is about to be repeated.</summary>
    private static StepState? Broken(RunState state) =>
        state.Steps.FirstOrDefault(s => s.Error is not null && s.Status is not (StepStatus.Done or StepStatus.Verified) && !s.Step.GoesOn && (s.Status != StepStatus.Failed || !StepMove.MayRepeat(s)));

    /// <summary>Last first; a step that was only begun is taken back too, for it may have acted.</summary>
    private static NextMove NextUndo(RunState state, string why)
    {
        if (state.Steps.LastOrDefault(NeedsUndo) is { } last)
            return new Undo(last.Step, $"{state.Run}/{last.Step.Id}/undo") { Reason = why };
        var refused = state.Steps.Any(s => s.Refused);
        return new Finish(refused ? RunPhase.Refused : state.AbortedBy is not null ? RunPhase.Aborted : RunPhase.RolledBack) { Reason = why };
    }

    private static bool NeedsUndo(StepState step) => step.Step.Undo && !step.Step.PointOfNoReturn && step.Status switch
    {
        StepStatus.Pending or StepStatus.Undone or StepStatus.Skipped or StepStatus.Waiting => false,
        StepStatus.Failed => step.Begun, // people said no, or nothing: it never began
        _ => true,
    };
}
