using System.Collections.Concurrent;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Runbooks;

/// <summary>The fence of the leading server; null while this one does not lead.</summary>
internal delegate Fence? Lead();

internal static class Leads
{
    /// <summary>Key of the <see cref="Lead"/> of whoever moves databases, traffic or names: null also while the server only reads.</summary>
    public const string Acting = "acting";
}

/// <summary>
/// Drives every run that has not ended, on the leading server only: those that begin here, and those that a crash or a change of
/// the lead left behind.
/// </summary>
internal sealed partial class RunnerLoop(
    IStore store, RunbookCatalog catalog, ActionRegistry actions, RunRecords records, RunNotes notes, IEventLog events, IPolicySource policy,
    [FromKeyedServices(Leads.Acting)] Lead lead, CrashPoint crash, TimeProvider time, ILogger<RunnerLoop> logger)
    : ReconcileLoop(Interval, time, logger), IChildRuns
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private readonly TimeProvider _time = time;
    private readonly ConcurrentDictionary<string, Driven> _driven = new(StringComparer.Ordinal);
    private readonly SemaphoreSlim _starts = new(1);
    private readonly CancellationTokenSource _stopping = new();

    /// <summary>How many runs go on here now.</summary>
    public int Driving => _driven.Count;

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        foreach (var (run, driven) in _driven)
        {
            if (driven.Task.IsCompleted && _driven.TryRemove(run, out _))
                driven.Driver.Dispose();
        }
        if (lead() is not { } fence)
            return;
        await _starts.WaitAsync(cancel);
        try
        {
            foreach (var record in await records.ListAsync(cancel))
            {
                if (record.State.IsUnderWay() && !_driven.ContainsKey(record.Id))
                    await ResumeAsync(record, fence, cancel);
            }
        }
        finally { _starts.Release(); }
    }

    /// <summary>Begins an admitted run; the run that stands in its way when there is one.</summary>
    public async Task<(RunRecord? Run, RunRecord? Other)> BeginAsync(RunbookEntry entry, IReadOnlyDictionary<string, string> inputs, string actor, string reason, Fence fence, CancellationToken cancel)
    {
        await _starts.WaitAsync(cancel);
        try
        {
            var over = entry.Source.Over(entry.Runbook, inputs);
            if ((await records.ListAsync(cancel)).FirstOrDefault(r => r.Over == over && r.State.IsUnderWay()) is { } other)
                return (null, other);

            var now = _time.GetUtcNow();
            var run = string.Create(CultureInfo.InvariantCulture, $"{entry.Runbook.Name}-{now:yyyyMMdd-HHmmss}-{Guid.NewGuid().ToString("N")[..4]}");
            return (await BeginAsync(entry, new RunEvent.RunStarted
            {
                At = now,
                Run = run,
                Runbook = entry.Runbook,
                Hash = RunbookCheck.Hash(entry.Runbook),
                Inputs = inputs,
                Actor = actor,
                Reason = reason,
                Policy = policy.Hash,
            }, over, fence, cancel), null);
        }
        finally { _starts.Release(); }
    }

    /// <summary>Null when the run will be taken back; else why not.</summary>
    public async Task<string?> AbortAsync(string run, string actor, string? reason, CancellationToken cancel) =>
        _driven.TryGetValue(run, out var driven) && !driven.Task.IsCompleted
            ? await driven.Driver.AbortAsync(actor, reason, cancel)
            : $"Run {run} is not under way on this server.";

    /// <summary>Takes a person's answer to a waiting run.</summary>
    public async Task<RunReply> ReplyAsync(string run, Func<RunState, RunReply> answer, CancellationToken cancel) =>
        _driven.TryGetValue(run, out var driven) && !driven.Task.IsCompleted
            ? await driven.Driver.ReplyAsync(answer, cancel)
            : new RunReply(null, $"Run {run} is not under way on this server.");

    /// <summary>Waits until a run driven here has stopped, for whatever reason.</summary>
    public Task WhenStoppedAsync(string run) => _driven.TryGetValue(run, out var driven) ? driven.Task : Task.CompletedTask;

    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await _stopping.CancelAsync();
        await base.StopAsync(cancellationToken);
        await Task.WhenAll(_driven.Values.Select(d => d.Task)).WaitAsync(cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    public override void Dispose()
    {
        foreach (var driven in _driven.Values)
            driven.Driver.Dispose();
        _starts.Dispose();
        _stopping.Dispose();
        base.Dispose();
    }

    /// <summary>Writes the first line and drives the run; asked under the lock of starts.</summary>
    private async Task<RunRecord> BeginAsync(RunbookEntry entry, RunEvent.RunStarted started, string over, Fence fence, CancellationToken cancel)
    {
        var journal = await RunJournal.OpenAsync(store, crash, started.Run, over, CancellationToken.None);
        await journal.AppendAsync(started, fence, CancellationToken.None);
        var record = RunRecords.Of(journal.State!, journal.Position, over, null);
        Drive(journal, entry.Source, fence);
        await events.RecordAsync("run.started", started.Actor, $"Run {started.Run} began: {started.Reason}", new Dictionary<string, string> { ["run"] = started.Run }, CancellationToken.None);
        return record;
    }

    private async Task ResumeAsync(RunRecord record, Fence fence, CancellationToken cancel)
    {
        var journal = await RunJournal.OpenAsync(store, crash, record.Id, record.Over, cancel);
        if (journal.State is not { } state)
        {
            await records.DeleteAsync(record.Id, fence, cancel); // of a version that wrote the record first, and ended before the journal: it never began
            journal.Dispose();
            return;
        }
        if (state.Finished)
        {
            await records.PutAsync(RunRecords.Of(state, journal.Position, record.Over, RunReports.FromJournal(state)), fence, cancel); // written by a version that kept them apart
            journal.Dispose();
            return;
        }
        await journal.AppendAsync(new RunEvent.Resumed { At = _time.GetUtcNow(), Server = Environment.MachineName }, fence, cancel);
        LogResumed(logger, record.Id, state.Steps.Count(s => s.Status == StepStatus.Done), state.Steps.Count);
        Drive(journal, catalog.SourceOf(record.Runbook), fence);
        await events.RecordAsync("run.resumed", "server", $"Run {record.Id} was taken up again.", new Dictionary<string, string> { ["run"] = record.Id }, cancel);
    }

    private void Drive(RunJournal journal, RunbookSource source, Fence fence)
    {
        var driver = new RunDriver(journal, source, actions, this, notes, events, fence, _time, logger);
        _driven[journal.Run] = new(driver, Task.Run(() => DriveAsync(driver, journal.Run), CancellationToken.None));
    }

    private async Task DriveAsync(RunDriver driver, string run)
    {
        try { await driver.DriveAsync(_stopping.Token); }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested) { } // the next server verifies first
        catch (JournalLostException lost) { LogLost(logger, run, lost.Message); }
        catch (Exception error) { LogStopped(logger, error, run); } // the next pass takes it up again
        Wake();
    }

    private sealed record Driven(RunDriver Driver, Task Task);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Run {Run} was not finished when this server took the lead: it goes on; {Done} of {Steps} steps are done.")]
    private static partial void LogResumed(ILogger logger, string run, int done, int steps);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Run {Run} stopped here: {Reason}")]
    private static partial void LogLost(ILogger logger, string run, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "Run {Run} stopped; the next pass takes it up again.")]
    private static partial void LogStopped(ILogger logger, Exception error, string run);
}
