namespace BuildRunner.Core.Runbooks;

/// <summary>The closed set of things that a run may do next; every answer carries its reason.</summary>
public abstract record NextMove
{
    private static readonly TimeSpan DelayMax = TimeSpan.FromSeconds(100);

    private NextMove() { }

    public required string Reason { get; init; }

    public sealed record Start(RunbookStep Step, int Attempt, string Key) : NextMove;

    /// <summary>The step was started and its result is not known, or it failed and may be repeated: look whether it is already so.</summary>
    public sealed record VerifyFirst(RunbookStep Step, int Attempt, string Key, TimeSpan After) : NextMove;

    public sealed record Undo(RunbookStep Step, string Key) : NextMove;

    public sealed record Finish(RunPhase State) : NextMove;

    /// <summary>The run ends failed; nothing more is tried without a person.</summary>
    public sealed record CallPerson(RunbookStep Step) : NextMove;

    public sealed record Nothing : NextMove;

    /// <summary>What comes next, asked whenever nothing is under way: a step that is running by then was cut off.</summary>
    public static NextMove Decide(RunState state)
    {
        if (state.Finished)
            return new Nothing { Reason = $"the run ended {state.Phase}" };
        if (state.Steps.FirstOrDefault(s => s.Status == StepStatus.UndoFailed) is { } stuck)
            return new CallPerson(stuck.Step) { Reason = $"taking back '{stuck.Step.Id}' failed: {stuck.Error}" };
        if (Unwinding(state) is { } why)
            return NextUndo(state, why);

        foreach (var step in state.Steps)
        {
            switch (step.Status)
            {
                case StepStatus.Done:
                    continue;
                case StepStatus.Pending or StepStatus.Verified:
                    return new Start(step.Step, step.Attempt + 1, step.Key(state.Run)) { Reason = step.Attempt == 0 ? "next in order" : "looked: not so yet" };
                case StepStatus.Running:
                    return new VerifyFirst(step.Step, step.Attempt, step.Key(state.Run), TimeSpan.Zero) { Reason = "started, result unknown" };
                case StepStatus.Failed when MayRepeat(step):
                    return new VerifyFirst(step.Step, step.Attempt, step.Key(state.Run), Delay(step)) { Reason = $"failure {step.Failures} of at most {step.Step.Retries + 1}: {step.Error}" };
                case StepStatus.Failed when step.Step.GoesOn:
                    continue;
                case StepStatus.Failed when state.PastReturn:
                    return new CallPerson(step.Step) { Reason = $"'{step.Step.Id}' failed and the run can only go forward: {step.Error}" };
                default:
                    return new Finish(RunPhase.Failed) { Reason = $"'{step.Step.Id}' failed: {step.Error}" };
            }
        }
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

    private static StepState? Broken(RunState state) =>
        state.Steps.FirstOrDefault(s => s.Error is not null && s.Status != StepStatus.Done && !s.Step.GoesOn && (s.Status != StepStatus.Failed || !MayRepeat(s)));

    /// <summary>Last first; a step that was only begun is taken back too, for it may have acted.</summary>
    private static NextMove NextUndo(RunState state, string why)
    {
        var last = state.Steps.LastOrDefault(s => s.Step.Undo && !s.Step.PointOfNoReturn && s.Status is not (StepStatus.Pending or StepStatus.Undone));
        if (last is not null)
            return new Undo(last.Step, $"{state.Run}/{last.Step.Id}/undo") { Reason = why };
        var refused = state.Steps.Any(s => s.Refused);
        return new Finish(refused ? RunPhase.Refused : state.AbortedBy is not null ? RunPhase.Aborted : RunPhase.RolledBack) { Reason = why };
    }

    private static bool MayRepeat(StepState step) => !step.Refused && step.Failures <= step.Step.Retries;

    private static TimeSpan Delay(StepState step)
    {
        var doubled = step.Step.RetryDelay * Math.Pow(2, Math.Min(step.Failures - 1, 20));
        return doubled < DelayMax ? doubled : DelayMax;
    }
}
