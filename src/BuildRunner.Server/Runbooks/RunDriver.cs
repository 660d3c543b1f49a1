using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Events;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Runbooks;

/// <summary>Carries one run from where its journal stands to its end: decide, write, act, write.</summary>
internal sealed partial class RunDriver(
    RunJournal journal, RunbookSource source, ActionRegistry actions, IChildRuns children, RunNotes notes, IEventLog events,
    Fence fence, TimeProvider time, ILogger logger) : IDisposable
{
    /// <summary>A wait for people is looked at again at least so often: the wall clock may have been set.</summary>
    private static readonly TimeSpan AwaitMax = TimeSpan.FromMinutes(1);

    private readonly CancellationTokenSource _aborted = new();
    private TaskCompletionSource _woken = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private RunState State => journal.State ?? throw new InvalidOperationException($"Run {journal.Run} has no journal.");

    private DateTimeOffset Now => time.GetUtcNow();

    /// <summary>Ends when the run has ended; stops at once when cancelled or when another server has the run.</summary>
    public async Task DriveAsync(CancellationToken cancel)
    {
        if (State.AbortedBy is not null)
            await _aborted.CancelAsync();
        while (true)
        {
            cancel.ThrowIfCancellationRequested();
            var move = NextMove.Decide(State, Now);
            LogMove(logger, journal.Run, move.GetType().Name, move.Reason);
            switch (move)
            {
                case NextMove.Together together:
                    await TogetherAsync(together.Moves, cancel);
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
                default:
                    await StepAsync(move, cancel);
                    break;
            }
        }
    }

    /// <summary>Null when the run will be taken back; else why it will not.</summary>
    public async Task<string?> AbortAsync(string actor, string? reason, CancellationToken cancel)
    {
        string? problem = null;
        await journal.AppendAsync(state =>
        {
            problem = state.Finished ? $"Run {journal.Run} has ended ({state.Phase})."
                : state.ReturnBarredBy is { } bar ? $"Run {journal.Run} is past '{bar.Step.Id}' and can only go forward."
                : null;
            return problem is null && state.AbortedBy is null ? new RunEvent.AbortRequested { At = Now, Actor = actor, Reason = reason } : null;
        }, fence, cancel);
        if (problem is not null)
            return problem;
        await _aborted.CancelAsync();
        Wake();
        return null;
    }

    /// <summary>Takes a person's answer; what it came to.</summary>
    public async Task<RunReply> ReplyAsync(Func<RunState, RunReply> answer, CancellationToken cancel)
    {
        RunReply? reply = null;
        if (await journal.AppendAsync(state => (reply = answer(state)).Line, fence, cancel))
            Wake();
        return reply!;
    }

    public void Dispose()
    {
        _aborted.Dispose();
        journal.Dispose();
    }

    /// <summary>The steps of a group, side by side, each until it is settled. What stops one for good (the lead is lost) stops all.</summary>
    private async Task TogetherAsync(IReadOnlyList<NextMove> moves, CancellationToken cancel)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        await Task.WhenAll(moves.Select(async first =>
        {
            try
            {
                for (NextMove? move = first; move is not null; move = NextMove.OfLane(State, first.About!.Id, Now))
                {
                    stop.Token.ThrowIfCancellationRequested();
                    await StepAsync(move, stop.Token);
                }
            }
            catch
            {
                await stop.CancelAsync();
                throw;
            }
        }));
    }

    private async Task StepAsync(NextMove move, CancellationToken cancel)
    {
        switch (move)
        {
            case NextMove.Start start:
                // The end of a step and the beginning of the next share a line's cost: writes of users may be waiting.
                for (var begun = await BeginAsync(start, cancel); begun is not null;)
                    begun = await ActAsync(begun, cancel);
                break;
            case NextMove.VerifyFirst look:
                await VerifyAsync(look, cancel);
                break;
            case NextMove.Skip skip:
                await AppendAsync(new RunEvent.StepSkipped { At = Now, Step = skip.Step.Id, Why = skip.Reason }, cancel);
                break;
            case NextMove.Ask ask:
                await AskAsync(ask, cancel);
                break;
            case NextMove.Expire expire:
                // An answer that came in this moment counts.
                await journal.AppendAsync(state => NextMove.OfLane(state, expire.Step.Id, Now) is not NextMove.Expire ? null
                    : expire.ByHand ? new RunEvent.ConfirmationExpired { At = Now, Step = expire.Step.Id } : new RunEvent.ApprovalExpired { At = Now, Step = expire.Step.Id }, fence, cancel);
                Wake();
                break;
            case NextMove.Await wait:
                await AwaitAsync(wait, cancel);
                break;
            default:
                throw new InvalidOperationException($"{move.GetType().Name} is no move of a step.");
        }
    }

    private async Task AskAsync(NextMove.Ask ask, CancellationToken cancel)
    {
        await AppendAsync(ask.ByHand ? new RunEvent.ConfirmationRequested { At = Now, Step = ask.Step.Id, Expires = ask.Expires } : new RunEvent.ApprovalRequested { At = Now, Step = ask.Step.Id, Expires = ask.Expires }, cancel);
        var how = ask.ByHand ? $"`br runbook confirm {journal.Run} --step {ask.Step.Id} --note …`" : $"`br runbook approve {journal.Run} --step {ask.Step.Id}`";
        await events.RecordAsync("run.waiting", State.Actor, $"Run {journal.Run} waits at '{ask.Step.Title}' until {ask.Expires:yyyy-MM-dd HH:mm} UTC: {how}.", new Dictionary<string, string> { ["run"] = journal.Run, ["step"] = ask.Step.Id }, cancel);
    }

    private async Task AwaitAsync(NextMove.Await wait, CancellationToken cancel)
    {
        var woken = Volatile.Read(ref _woken); // before looking again: an answer that comes now ends the wait
        if (NextMove.OfLane(State, wait.Step.Id, Now) is not NextMove.Await)
            return;
        var left = wait.Expires - Now;
        left = left < TimeSpan.Zero ? TimeSpan.Zero : left > AwaitMax ? AwaitMax : left;
        await woken.Task.WaitAsync(left, time, cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        cancel.ThrowIfCancellationRequested();
    }

    private async Task FinishAsync(RunPhase phase, string reason, string? person, CancellationToken cancel)
    {
        RunReport? report = null;
        // A report that cannot be made never keeps a run from ending.
        try { report = await source.ReportAsync(State, phase, cancel); }
        catch (Exception error) when (!cancel.IsCancellationRequested) { LogReportFailed(logger, error, journal.Run); }
        await journal.AppendAsync(_ => [new RunEvent.RunFinished { At = Now, State = phase, Reason = reason, Person = person, Report = report?.Data }], fence, report, cancel);
        Wake();
        await events.RecordAsync("run.finished", State.Actor, $"Run {journal.Run} {Word(phase)}: {reason}.{(person is null ? "" : $" {person}")}",
            new Dictionary<string, string> { ["run"] = journal.Run, ["state"] = Word(phase), ["journal_lines"] = journal.Position.ToString(CultureInfo.InvariantCulture) }, cancel);
    }

    private string Stuck(NextMove.CallPerson call)
    {
        var advice = call.Step.IfStuck is { } text ? StepArguments.Fill(text, State.Inputs, State.Outputs) : $"Look at `br runbook status {journal.Run}`.";
        return $"A person is needed at '{call.Step.Title}'. {advice}";
    }

    private void Wake() => Interlocked.Exchange(ref _woken, new(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();

    private async Task AppendAsync(RunEvent happened, CancellationToken cancel)
    {
        await journal.AppendAsync(happened, fence, cancel);
        Wake();
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
