using BuildRunner.Core.Runbooks;

namespace BuildRunner.Server.Runbooks;

/// <summary>How one step is done, looked at and taken back.</summary>
internal sealed partial class RunDriver
{
    private static readonly TimeSpan VerifyPause = TimeSpan.FromMilliseconds(250);

    /// <summary>A step whose beginning is in the journal.</summary>
    /// <param name="Start">The move that began it.</param>
    /// <param name="MayHaveActed">It may have acted before, in an earlier attempt.</param>
    private sealed record Begun(NextMove.Start Start, bool MayHaveActed);

    /// <summary>Null: an abort came in this moment.</summary>
    private async Task<Begun?> BeginAsync(NextMove.Start start, CancellationToken cancel)
    {
        var may = State.Step(start.Step.Id).MayHaveActed;
        // An abort is heeded; a run that is a step is taken up all the same, for only its end says what it did.
        return await journal.AppendAsync(state => state.AbortedBy is not null && !state.PastReturn && !state.Step(start.Step.Id).ChildUnderWay ? null : Started(start), fence, cancel)
            ? new Begun(start, may) : null;
    }

    /// <summary>Acts, and writes how it ended, with the beginning of the one step that follows when nothing stands between.</summary>
    /// <returns>That step; null: what comes next is decided anew.</returns>
    private async Task<Begun?> ActAsync(Begun begun, CancellationToken cancel)
    {
        var (start, step) = (begun.Start, begun.Start.Step);
        cancel.ThrowIfCancellationRequested();
        var from = time.GetTimestamp();
        var others = State.Steps.Any(s => s.Step.Id != step.Id && (s.Step.PointOfNoReturn || !s.Step.Undo) && s.MayHaveActed);
        var abortable = step.Runbook is not null || (!step.PointOfNoReturn && step.Undo && !others);
        var outcome = await GuardAsync(step, start.Key, start.Attempt, step.With, abortable, (context, stop) => ActAsync(context, looksBefore: !begun.MayHaveActed, stop, cancel), cancel);
        var took = time.GetElapsedTime(from).TotalMilliseconds;
        RunEvent ended = outcome switch
        {
            ActionOutcome.Done done => new RunEvent.StepFinished { At = Now, Step = step.Id, Attempt = start.Attempt, Outputs = done.Outputs, Milliseconds = took },
            ActionOutcome.Failed failed => new RunEvent.StepFailed { At = Now, Step = step.Id, Attempt = start.Attempt, Error = failed.Error, Unknown = failed.Unknown, Milliseconds = took },
            ActionOutcome.Refused refused => new RunEvent.StepFailed { At = Now, Step = step.Id, Attempt = start.Attempt, Error = refused.Error, Refused = true, Milliseconds = took },
            _ => throw new InvalidOperationException("An action ended in no known way."),
        };
        Begun? next = null;
        await journal.AppendAsync(state =>
        {
            var after = RunState.Apply(state, ended);
            if (step.Group is not null || NextMove.Decide(after, Now) is not NextMove.Start { } following)
                return [ended];
            LogMove(logger, journal.Run, nameof(NextMove.Start), following.Reason);
            next = new Begun(following, after.Step(following.Step.Id).MayHaveActed);
            return [ended, Started(following)];
        }, fence, report: null, cancel);
        Wake();
        return next;
    }

    private RunEvent.StepStarted Started(NextMove.Start start) => new() { At = Now, Step = start.Step.Id, Attempt = start.Attempt, Key = start.Key };

    /// <summary>The precondition, unless it may have acted already; the action or the runbook; the postcondition.</summary>
    private async Task<ActionOutcome> ActAsync(ActionContext context, bool looksBefore, CancellationToken stop, CancellationToken cancel)
    {
        var step = context.Step;
        if (looksBefore && step.Check is { } check && await LookAsync(check, context, stop) is var before and not ActionVerdict.So)
            return new ActionOutcome.Refused($"What must be so before is not: {ReasonOf(before)}");
        var outcome = step.Runbook is { } child
            ? await children.RunAsync(new ChildRun(IdOf(context.Key), child, context.Arguments, State.Run, step.Id), context.Actor, $"step '{step.Id}' of {State.Run}: {context.Reason}", fence, stop, cancel)
            : await ActionOf(step.Action).ActAsync(context, stop);
        if (outcome is not ActionOutcome.Done done || step.Verify is not { } verify)
            return outcome;
        var outputs = new Dictionary<string, string>(context.Outputs);
        foreach (var (name, value) in done.Outputs)
            outputs[$"{step.Id}.{name}"] = value;
        while (true)
        {
            var verdict = await LookAsync(verify, context with { Outputs = outputs }, stop);
            if (verdict is ActionVerdict.So)
                return outcome;
            if (verdict is ActionVerdict.Unknown)
                return new ActionOutcome.Failed($"It was done, and whether it is so cannot be told: {ReasonOf(verdict)}", Unknown: true);
            context.Progress($"not so yet: {ReasonOf(verdict)}");
            await Task.Delay(VerifyPause, time, stop);
        }
    }

    private async Task VerifyAsync(NextMove.VerifyFirst look, CancellationToken cancel)
    {
        if (look.After > TimeSpan.Zero)
            await WaitAsync(look.After, cancel);
        if (State.AbortedBy is not null && !State.PastReturn && !State.Step(look.Step.Id).ChildUnderWay)
            return;

        ActionVerdict verdict;
        using (var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel))
        {
            stop.CancelAfter(look.Step.Timeout);
            var context = Context(look.Step, look.Key, look.Attempt, look.Step.With);
            try
            {
                verdict = look.Step.Runbook is not null ? await children.LookAsync(IdOf(look.Key), stop.Token)
                    : look.Step.Verify is { } verify ? await LookAsync(verify, context, stop.Token)
                    : actions.Find(look.Step.Action) is { } action ? await action.VerifyAsync(context, stop.Token)
                    : new ActionVerdict.Unknown($"no room has registered '{look.Step.Action}'");
            }
            catch (Exception error) when (!cancel.IsCancellationRequested) { verdict = new ActionVerdict.Unknown(error.Message); }
        }
        await AppendAsync(verdict switch
        {
            ActionVerdict.So so => new RunEvent.StepVerified { At = Now, Step = look.Step.Id, Attempt = look.Attempt, Already = true, Outputs = so.Outputs },
            ActionVerdict.NotSo not => new RunEvent.StepVerified { At = Now, Step = look.Step.Id, Attempt = look.Attempt, Already = false, Detail = not.Reason },
            ActionVerdict.Unknown unknown => new RunEvent.StepVerified { At = Now, Step = look.Step.Id, Attempt = look.Attempt, Already = null, Detail = unknown.Reason },
            _ => throw new InvalidOperationException("A verdict is of no known kind."),
        }, cancel);
    }

    private async Task UndoAsync(NextMove.Undo undo, CancellationToken cancel)
    {
        var step = undo.Step;
        await AppendAsync(new RunEvent.UndoStarted { At = Now, Step = step.Id, Key = undo.Key }, cancel);
        var outcome = await GuardAsync(step, undo.Key, 1, step.UndoBy?.With ?? step.With, abortable: false, (context, stop) => step.UndoBy switch
        {
            { Runbook: { } other } => children.RunAsync(new ChildRun(IdOf(context.Key), other, context.Arguments, State.Run, step.Id), context.Actor, $"takes back step '{step.Id}' of {State.Run}", fence, stop, cancel),
            { Action: { } other } => ActionOf(other).ActAsync(context, stop),
            _ when step.Runbook is not null => Task.FromResult(ActionOutcome.Finished()),
            _ => ActionOf(step.Action).UndoAsync(context, stop),
        }, cancel);
        await AppendAsync(outcome switch
        {
            ActionOutcome.Done done => new RunEvent.Undone { At = Now, Step = step.Id, Outputs = done.Outputs },
            ActionOutcome.Failed failed => new RunEvent.UndoFailed { At = Now, Step = step.Id, Error = failed.Error },
            ActionOutcome.Refused refused => new RunEvent.UndoFailed { At = Now, Step = step.Id, Error = refused.Error },
            _ => throw new InvalidOperationException("An undo ended in no known way."),
        }, cancel);
    }

    /// <summary>Looks by another action than the step's own.</summary>
    private Task<ActionVerdict> LookAsync(StepCall call, ActionContext context, CancellationToken stop) =>
        ActionOf(call.Action!).VerifyAsync(context with { Arguments = StepArguments.Fill(call.With, context.Inputs, context.Outputs), Written = call.With }, stop);

    private IAction ActionOf(string name) => actions.Find(name) ?? throw new UnknownActionException(name);

    /// <summary>Does something within its step's time; an abort stops it, unless it can no longer be taken back.</summary>
    private async Task<ActionOutcome> GuardAsync(
        RunbookStep step, string key, int attempt, IReadOnlyDictionary<string, string> with, bool abortable, Func<ActionContext, CancellationToken, Task<ActionOutcome>> act, CancellationToken cancel)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(stop.Token, abortable ? _aborted.Token : CancellationToken.None);
        stop.CancelAfter(step.Timeout);
        try { return await act(Context(step, key, attempt, with), both.Token); }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested) { throw; }
        catch (OperationCanceledException) when (abortable && _aborted.IsCancellationRequested) { return new ActionOutcome.Failed("stopped by an abort", Unknown: true); }
        catch (OperationCanceledException) when (stop.IsCancellationRequested) { return new ActionOutcome.Failed($"not done within {step.Timeout.TotalSeconds:0.#} s", Unknown: true); }
        catch (UnknownActionException unknown) { return new ActionOutcome.Refused(unknown.Message); }
        catch (JournalLostException) { throw; }
        catch (StoreFencedException error) { throw new JournalLostException(error.Message); }
        catch (Exception error)
        {
            LogStepThrew(logger, error, journal.Run, step.Id);
            return new ActionOutcome.Failed(error.Message, Unknown: true);
        }
    }

    private async Task WaitAsync(TimeSpan delay, CancellationToken cancel)
    {
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancel, State.PastReturn ? CancellationToken.None : _aborted.Token);
        await Task.Delay(delay, time, both.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // an abort: decide anew
        cancel.ThrowIfCancellationRequested();
    }

    private ActionContext Context(RunbookStep step, string key, int attempt, IReadOnlyDictionary<string, string> with)
    {
        var state = State;
        var outputs = new Dictionary<string, string>(state.Outputs);
        foreach (var (name, value) in state.Step(step.Id).Outputs)
            outputs[$"{step.Id}.{name}"] = value;
        return new()
        {
            Run = state.Run,
            Step = step,
            Arguments = StepArguments.Fill(with, state.Inputs, outputs),
            Written = with,
            Inputs = state.Inputs,
            Outputs = outputs,
            Key = key,
            Attempt = attempt,
            Fence = fence,
            Actor = state.Actor,
            Reason = state.Reason,
            RunStartedAt = state.StartedAt,
            Progress = text => notes.Add(state.Run, step.Id, text),
        };
    }

    /// <summary>Id of the run that is a step: made from the step's key, so that a crash never starts two.</summary>
    private static string IdOf(string key) => key.Replace('/', '.');

    private static string ReasonOf(ActionVerdict verdict) => verdict switch
    {
        ActionVerdict.NotSo not => not.Reason,
        ActionVerdict.Unknown unknown => unknown.Reason,
        _ => "it is so",
    };

    private sealed class UnknownActionException(string name) : Exception($"No room of this server has registered the action '{name}'.");
}
