using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Runbooks;

/// <summary>Runs that are steps of other runs: begun once, waited for, and stopped with their parent.</summary>
internal sealed partial class RunnerLoop
{
    private static readonly TimeSpan ChildBeat = TimeSpan.FromMilliseconds(500);

    async Task<ActionOutcome> IChildRuns.RunAsync(ChildRun child, string actor, string reason, Fence fence, CancellationToken stop, CancellationToken cancel)
    {
        if (await EnsureAsync(child, actor, reason, fence, stop, cancel) is { } problem)
            return problem;
        var signal = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var watch = store.Watch(RunRecords.KeyOf(child.Id), _ => Volatile.Read(ref signal).TrySetResult());
        using var stopping = stop.Register(() => Volatile.Read(ref signal).TrySetResult());
        while (true)
        {
            var waiting = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            Volatile.Write(ref signal, waiting);
            cancel.ThrowIfCancellationRequested();
            if (await records.GetAsync(child.Id, cancel) is { FinishedAt: not null } ended)
                return OutcomeOf(ended);
            // Asked again at each beat: it may not be driven here yet. One past its point of no return goes on to its end.
            if (stop.IsCancellationRequested)
                await AbortAsync(child.Id, actor, $"its parent {child.Parent} stopped it", cancel);
            await waiting.Task.WaitAsync(ChildBeat, _time, cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    async Task<ActionVerdict> IChildRuns.LookAsync(string id, CancellationToken cancel) =>
        await records.GetAsync(id, cancel) is { State: RunPhase.Succeeded } ended && OutcomeOf(ended) is ActionOutcome.Done done
            ? new ActionVerdict.So(done.Outputs)
            : new ActionVerdict.Unknown("its end is waited for");

    /// <summary>Null: the run is there. Else why it cannot begin.</summary>
    private async Task<ActionOutcome?> EnsureAsync(ChildRun child, string actor, string reason, Fence fence, CancellationToken stop, CancellationToken cancel)
    {
        if (await TakeUpAsync(child, fence, cancel))
            return null;
        if (stop.IsCancellationRequested)
            return new ActionOutcome.Failed("stopped before it began");
        if (catalog.Find(child.Runbook) is not { } entry)
            return new ActionOutcome.Refused($"There is no runbook '{child.Runbook}'; there are {string.Join(", ", catalog.Names)}.");
        var (inputs, wrong) = RunbookCheck.Inputs(entry.Runbook, child.Inputs.Where(i => i.Value.Length > 0).ToDictionary());
        wrong = [.. wrong, .. catalog.Problems(entry.Runbook)];
        if (wrong.Count > 0)
            return new ActionOutcome.Refused(string.Join(" ", wrong));
        var admission = await entry.Source.AdmitAsync(inputs, cancel);
        if (admission.Problems.Count > 0)
            return new ActionOutcome.Refused(string.Join(" ", admission.Problems));

        var above = await AboveAsync(child.Parent, cancel);
        await _starts.WaitAsync(cancel);
        try
        {
            var over = entry.Source.Over(entry.Runbook, admission.Inputs);
            var runs = await records.ListAsync(cancel);
            if (runs.FirstOrDefault(r => r.Over == over && r.State.IsUnderWay() && r.Id != child.Id && !above.Contains(r.Id)) is { } other)
                return new ActionOutcome.Failed($"Run {other.Id} is under way over {other.Over} since {other.StartedAt:HH:mm:ss} UTC.");
            await BeginAsync(entry, new RunEvent.RunStarted
            {
                At = _time.GetUtcNow(),
                Run = child.Id,
                Runbook = entry.Runbook,
                Hash = RunbookCheck.Hash(entry.Runbook),
                Inputs = admission.Inputs,
                Actor = actor,
                Reason = reason,
                Policy = policy.Hash,
                Parent = child.Parent,
                ParentStep = child.Step,
            }, over, fence, cancel);
            return null;
        }
        finally { _starts.Release(); }
    }

    /// <summary>True: the run began before, and is driven here or has ended.</summary>
    private async Task<bool> TakeUpAsync(ChildRun child, Fence fence, CancellationToken cancel)
    {
        await _starts.WaitAsync(cancel);
        try
        {
            if (await records.GetAsync(child.Id, cancel) is not { } record)
                return false;
            if (record.FinishedAt is not null || (_driven.TryGetValue(child.Id, out var driven) && !driven.Task.IsCompleted))
                return true;
            await ResumeAsync(record, fence, cancel); // or forgets a record whose first line was never written
            return await records.GetAsync(child.Id, cancel) is not null;
        }
        finally { _starts.Release(); }
    }

    /// <summary>The runs that this one is a part of: what they hold it may use.</summary>
    private async Task<HashSet<string>> AboveAsync(string parent, CancellationToken cancel)
    {
        var above = new HashSet<string>(StringComparer.Ordinal);
        for (string? id = parent; id is not null && above.Count <= RunbookCheck.DepthMax && above.Add(id);)
            id = (await records.GetAsync(id, cancel))?.Parent;
        return above;
    }

    private static ActionOutcome OutcomeOf(RunRecord ended) => ended.State switch
    {
        RunPhase.Succeeded => new ActionOutcome.Done(ended.Steps.SelectMany(s => s.Outputs.Select(o => (Name: $"{s.Id}.{o.Key}", o.Value))).Append((Name: "run", Value: ended.Id)).ToDictionary(o => o.Name, o => o.Value)),
        RunPhase.Refused => new ActionOutcome.Refused($"Run {ended.Id} was refused: {ended.Outcome}"),
        // It may have left something done; everything else was taken back.
        RunPhase.Failed => new ActionOutcome.Failed($"Run {ended.Id} failed: {ended.Outcome}", Unknown: true),
        _ => new ActionOutcome.Failed($"Run {ended.Id} ended {RunDriver.Word(ended.State)}: {ended.Outcome}"),
    };
}
