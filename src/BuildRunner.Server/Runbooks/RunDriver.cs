using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Events;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Runbooks;

/// <summary>Carries one run from where its journal stands to its end: decide, write, act, write.</summary>
internal sealed partial class RunDriver(
    RunJournal journal, RunbookSource? source, string over, ActionRegistry actions, RunRecords records, RunNotes notes, IEventLog events,
    Fence fence, TimeProvider time, ILogger logger) : IDisposable
{
    private readonly SemaphoreSlim _abortGate = new(1);
    private CancellationTokenSource? _step;

    private RunState State => journal.State ?? throw new InvalidOperationException($"Run {journal.Run} has no journal.");

    /// <summary>Ends when the run has ended; stops at once when cancelled or when another server has the run.</summary>
    public async Task DriveAsync(CancellationToken cancel)
    {
        while (true)
        {
            cancel.ThrowIfCancellationRequested();
            var move = NextMove.Decide(State);
            LogMove(logger, journal.Run, move.GetType().Name, move.Reason);
            switch (move)
            {
                case NextMove.Start start:
                    await StartAsync(start, cancel);
                    break;
                case NextMove.VerifyFirst look:
                    await VerifyAsync(look, cancel);
                    break;
                case NextMove.Undo undo:
                    await UndoAsync(undo, cancel);
                    break;
                case NextMove.Finish finish:
                    await FinishAsync(finish.State, finish.Reason, null, cancel);
                    break;
                case NextMove.CallPerson call:
                    await FinishAsync(RunPhase.Failed, call.Reason, Stuck(call), cancel);
                    break;
                case NextMove.Nothing:
                    return;
            }
        }
    }

    /// <summary>Null when the run will be taken back; else why it will not.</summary>
    public async Task<string?> AbortAsync(string actor, string? reason, CancellationToken cancel)
    {
        await _abortGate.WaitAsync(cancel);
        try
        {
            if (State.Finished)
                return $"Run {journal.Run} has ended ({State.Phase}).";
            if (State.ReturnBarredBy is { } bar)
                return $"Run {journal.Run} is past '{bar.Step.Id}' and can only go forward.";
            if (State.AbortedBy is null)
                await AppendAsync(new RunEvent.AbortRequested { At = Now, Actor = actor, Reason = reason }, cancel);
            _step?.Cancel();
            return null;
        }
        finally { _abortGate.Release(); }
    }

    public void Dispose()
    {
        _step?.Dispose();
        _abortGate.Dispose();
        journal.Dispose();
    }

    private DateTimeOffset Now => time.GetUtcNow();

    private async Task StartAsync(NextMove.Start start, CancellationToken cancel)
    {
        var begun = time.GetTimestamp();
        await AppendAsync(new RunEvent.StepStarted { At = Now, Step = start.Step.Id, Attempt = start.Attempt, Key = start.Key }, cancel);
        var outcome = await GuardAsync(start.Step, (action, context, stop) => action.ActAsync(context, stop), start.Key, start.Attempt, abortable: !start.Step.PointOfNoReturn && start.Step.Undo, cancel);
        var took = time.GetElapsedTime(begun).TotalMilliseconds;
        await AppendAsync(outcome switch
        {
            ActionOutcome.Done done => new RunEvent.StepFinished { At = Now, Step = start.Step.Id, Attempt = start.Attempt, Outputs = done.Outputs, Milliseconds = took },
            ActionOutcome.Failed failed => new RunEvent.StepFailed { At = Now, Step = start.Step.Id, Attempt = start.Attempt, Error = failed.Error, Unknown = failed.Unknown, Milliseconds = took },
            ActionOutcome.Refused refused => new RunEvent.StepFailed { At = Now, Step = start.Step.Id, Attempt = start.Attempt, Error = refused.Error, Refused = true, Milliseconds = took },
            _ => throw new InvalidOperationException("An action ended in no known way."),
        }, cancel);
        await SaveAsync(null, cancel);
    }

    private async Task VerifyAsync(NextMove.VerifyFirst look, CancellationToken cancel)
    {
        if (look.After > TimeSpan.Zero)
            await WaitAsync(look.After, cancel);
        if (State.AbortedBy is not null && !State.PastReturn)
            return;

        ActionVerdict verdict;
        if (actions.Find(look.Step.Action) is not { } action)
            verdict = new ActionVerdict.Unknown($"no room has registered '{look.Step.Action}'");
        else
        {
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            stop.CancelAfter(look.Step.Timeout);
            try { verdict = await action.VerifyAsync(Context(look.Step, look.Key, look.Attempt), stop.Token); }
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
        await AppendAsync(new RunEvent.UndoStarted { At = Now, Step = undo.Step.Id, Key = undo.Key }, cancel);
        var outcome = await GuardAsync(undo.Step, (action, context, stop) => action.UndoAsync(context, stop), undo.Key, 1, abortable: false, cancel);
        await AppendAsync(outcome switch
        {
            ActionOutcome.Done done => new RunEvent.Undone { At = Now, Step = undo.Step.Id, Outputs = done.Outputs },
            ActionOutcome.Failed failed => new RunEvent.UndoFailed { At = Now, Step = undo.Step.Id, Error = failed.Error },
            ActionOutcome.Refused refused => new RunEvent.UndoFailed { At = Now, Step = undo.Step.Id, Error = refused.Error },
            _ => throw new InvalidOperationException("An undo ended in no known way."),
        }, cancel);
        await SaveAsync(null, cancel);
    }

    private async Task FinishAsync(RunPhase phase, string reason, string? person, CancellationToken cancel)
    {
        RunReport? report = null;
        if (source is not null)
        {
            // A report that cannot be made never keeps a run from ending.
            try { report = await source.ReportAsync(State, phase, cancel); }
            catch (Exception error) when (!cancel.IsCancellationRequested) { LogReportFailed(logger, error, journal.Run); }
        }
        await AppendAsync(new RunEvent.RunFinished { At = Now, State = phase, Reason = reason, Person = person, Report = report?.Data }, cancel);
        await SaveAsync(report, cancel);
        await events.RecordAsync("run.finished", State.Actor, $"Run {journal.Run} {Word(phase)}: {reason}.{(person is null ? "" : $" {person}")}",
            new Dictionary<string, string> { ["run"] = journal.Run, ["state"] = Word(phase), ["journal_lines"] = journal.Position.ToString(CultureInfo.InvariantCulture) }, cancel);
    }

    /// <summary>Runs an action within its step's time; an abort stops it, unless it can no longer be taken back.</summary>
    private async Task<ActionOutcome> GuardAsync(
        RunbookStep step, Func<IAction, ActionContext, CancellationToken, Task<ActionOutcome>> act, string key, int attempt, bool abortable, CancellationToken cancel)
    {
        if (actions.Find(step.Action) is not { } action)
            return new ActionOutcome.Refused($"No room of this server has registered the action '{step.Action}'.");
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        using var aborted = new CancellationTokenSource();
        using var both = CancellationTokenSource.CreateLinkedTokenSource(stop.Token, aborted.Token);
        stop.CancelAfter(step.Timeout);
        if (abortable)
        {
            Volatile.Write(ref _step, aborted);
            if (State.AbortedBy is not null)
                await aborted.CancelAsync();
        }
        try { return await act(action, Context(step, key, attempt), both.Token); }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested) { throw; }
        catch (OperationCanceledException) when (aborted.IsCancellationRequested) { return new ActionOutcome.Failed("stopped by an abort", Unknown: true); }
        catch (OperationCanceledException) when (stop.IsCancellationRequested) { return new ActionOutcome.Failed($"not done within {step.Timeout.TotalSeconds:0.#} s", Unknown: true); }
        catch (StoreFencedException error) { throw new JournalLostException(error.Message); }
        catch (Exception error)
        {
            LogStepThrew(logger, error, journal.Run, step.Id);
            return new ActionOutcome.Failed(error.Message, Unknown: true);
        }
        finally
        {
            await _abortGate.WaitAsync(CancellationToken.None);
            Volatile.Write(ref _step, null);
            _abortGate.Release();
        }
    }

    private async Task WaitAsync(TimeSpan delay, CancellationToken cancel)
    {
        using var aborted = new CancellationTokenSource();
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancel, aborted.Token);
        Volatile.Write(ref _step, aborted);
        try { await Task.Delay(delay, time, both.Token); }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested) { } // an abort: decide anew
        finally
        {
            await _abortGate.WaitAsync(CancellationToken.None);
            Volatile.Write(ref _step, null);
            _abortGate.Release();
        }
    }

    private ActionContext Context(RunbookStep step, string key, int attempt)
    {
        var state = State;
        var outputs = new Dictionary<string, string>(state.Outputs);
        foreach (var (name, value) in state.Steps.Single(s => s.Step.Id == step.Id).Outputs)
            outputs[$"{step.Id}.{name}"] = value;
        return new()
        {
            Run = state.Run,
            Step = step,
            Arguments = StepArguments.Fill(step.With, state.Inputs, outputs),
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

    private string Stuck(NextMove.CallPerson call)
    {
        var advice = call.Step.IfStuck is { } text ? StepArguments.Fill(new Dictionary<string, string> { ["text"] = text }, State.Inputs, State.Outputs)["text"] : $"Look at `br runbook status {journal.Run}`.";
        return $"A person is needed at '{call.Step.Title}'. {advice}";
    }

    private Task AppendAsync(RunEvent happened, CancellationToken cancel) => journal.AppendAsync(happened, fence, cancel);

    private async Task SaveAsync(RunReport? report, CancellationToken cancel)
    {
        if (await records.PutAsync(RunRecords.Of(State, journal.Position, over, report), fence, cancel) is StoreWrite.Fenced fenced)
            throw new JournalLostException($"Run {journal.Run} belongs to another server now (fencing token {fenced.Current}).");
    }

    internal static string Word(RunPhase phase) => phase == RunPhase.RolledBack ? "rolled_back" : phase.ToString().ToLowerInvariant();

    [LoggerMessage(Level = LogLevel.Information, Message = "Run {Run}: {Move} ({Reason}).")]
    private static partial void LogMove(ILogger logger, string run, string move, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "Run {Run}: step {Step} threw.")]
    private static partial void LogStepThrew(ILogger logger, Exception error, string run, string step);

    [LoggerMessage(Level = LogLevel.Error, Message = "Run {Run}: no report could be made.")]
    private static partial void LogReportFailed(ILogger logger, Exception error, string run);
}

/// <summary>Thrown by an action whose write to the store was refused for a higher fencing token: this server has lost the lead.</summary>
public sealed class StoreFencedException(string message) : Exception(message);
