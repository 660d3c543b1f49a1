using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Recovery.BreakGlass;
using BuildRunner.Server.Routing;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Failover;

/// <summary>`open(e)` → `closing(e)`: from here on this run alone moves the epoch.</summary>
internal sealed class CloseAction(Epochs epochs, RunRecords runs, TimeProvider time) : IAction
{
    public string Name => "failover.close";

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var database = context.Arguments["database"];
        var record = await epochs.GetAsync(database, cancel);
        if (record is null)
            return new ActionOutcome.Refused($"Database {database} has no epoch.");
        if (record.State == EpochState.Moving && record.Primary != context.Arguments["target"])
            return Outputs(record); // the target of an earlier run was lost: it is proven silent like any primary
        // A run that called a person may have left it closing; nobody else would ever give it back.
        var ended = record is { State: EpochState.Closing, Run: { } former } && former != context.Run && await runs.GetAsync(former, cancel) is { FinishedAt: not null } ? former : null;
        return await epochs.MoveAsync(database, r => r.State == EpochState.Moving ? EpochTransitions.Adopt(r, context.Run, time.GetUtcNow()) : EpochTransitions.Close(r, context.Run, time.GetUtcNow(), ended), context.Fence, cancel) switch
        {
            EpochWrite.Done done => Outputs(done.Record),
            EpochWrite.Refused refused => new ActionOutcome.Refused(refused.Reason),
            _ => throw new InvalidOperationException("An epoch's move ended in no known way."),
        };
    }

    public async Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel)
    {
        var database = context.Arguments["database"];
        if (await epochs.GetAsync(database, cancel) is not { State: EpochState.Closing } record || record.Run != context.Run)
            return ActionOutcome.Finished();
        return await epochs.MoveAsync(database, r => EpochTransitions.Reopen(r, context.Run, time.GetUtcNow()), context.Fence, cancel) is EpochWrite.Refused refused
            ? new ActionOutcome.Failed(refused.Reason)
            : ActionOutcome.Finished();
    }

    /// <summary>The epoch and the region that must be proven silent, or the ones that are taken up again.</summary>
    private static ActionOutcome Outputs(EpochRecord record) => ActionOutcome.Finished(
        ("epoch", record.Epoch.ToString(CultureInfo.InvariantCulture)), ("primary", record.Primary), ("state", record.State.ToString().ToLowerInvariant()));
}

/// <summary>
/// Obtains the proof that the old epoch acknowledges nothing more: its guard, else the power driver, else the copies that its commits wait for, else
/// the end of its lease, else a person's word. Without one the run is refused; an accepted loss never stands for it.
/// </summary>
internal sealed class FenceAction(Epochs epochs, INodeLinks links, INodeReports reports, NodeReach reach, IPowerDriver power, CutFence cuts, LeaseFence leases, IEventLog events, IEnumerable<StandInOptions> standIns, TimeProvider time) : IAction
{
    private static readonly TimeSpan OrderMax = TimeSpan.FromSeconds(10);

    /// <summary>With a power driver at hand a silent agent is not waited for long.</summary>
    private static readonly TimeSpan OrderMaxWithPower = TimeSpan.FromSeconds(1.5);
    private static readonly TimeSpan RestartMax = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan PowerMax = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan ReportMax = TimeSpan.FromSeconds(3);

    /// <summary>A copy that had just lost its stream connects again within five seconds by default.</summary>
    private static readonly TimeSpan ArriveMax = TimeSpan.FromSeconds(9);

    public string Name => "failover.fence";

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) =>
        Task.FromResult(new ActionCheck { Note = "without a proof the run is refused", Expected = TimeSpan.FromMilliseconds(300) });

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var database = context.Arguments["database"];
        if (await epochs.GetAsync(database, cancel) is not { } record)
            return new ActionOutcome.Refused($"Database {database} has no epoch.");
        if (record.State == EpochState.Moving && record.Primary == context.Arguments["target"])
            return Proven(record.Former?.Proof, null, effect: false); // its predecessor was proven silent when the epoch was given
        // A run that is taken up after somebody else has moved the epoch stops nobody: it would stop the primary that he made.
        if (record.State == EpochState.Open || (record.State == EpochState.Closing && record.Run != context.Run))
            return new ActionOutcome.Refused($"Epoch {record.Epoch} of {database} is {record.State.ToString().ToLowerInvariant()}{(record.Run is { } other ? $" by {other}" : "")} and not closing by this run: {record.Primary} is left alone.");

        // A living region is only turned off when its agent did not answer: one that has had no time to call in yet gets it.
        await reach.ListenAsync(cancel);
        var tried = new List<string>();
        if (await StopAsync(record, context, tried, cancel) is { } stopped)
            return stopped;
        if (context.Argument("proof") == "stopped")
            return new ActionOutcome.Failed($"{record.Primary} was not stopped: {string.Join("; ", tried)}. A planned move turns nobody off.", Unknown: true);
        if (await PowerOffAsync(record, context, tried, cancel) is { } off)
            return off;
        // Who stands in for the server knows neither what copies hold nor to whom leases were granted: only what is seen to stop, or is vouched for, counts.
        var standsIn = standIns.Any();
        if (!standsIn && await cuts.CutAsync(record, context, tried, cancel) is { } cut)
            return Proven(Proof(FenceProofKind.Cut, record, cut), null, effect: true, Unheard(record));
        // Alive and unheard, it may have acknowledged up to the end of its lease.
        if (!standsIn && await leases.ExpireAsync(record, context, tried, cancel) is { } expired)
            return Proven(Proof(FenceProofKind.Expired, record, expired.Evidence), null, effect: true, Unheard(record, expired.Since));
        if (context.Inputs.TryGetValue("assume_fenced", out var why) && why.Length > 0)
        {
            await events.RecordAsync("fence.stated", context.Actor, $"{context.Actor} vouches that {record.Primary} acknowledges nothing more: {why}",
                new Dictionary<string, string> { ["run"] = context.Run, ["epoch"] = record.Epoch.ToString(CultureInfo.InvariantCulture) }, cancel);
            return Proven(Proof(FenceProofKind.Stated, record, $"{context.Actor} says: {why}"), null, effect: true, Unheard(record));
        }
        return new ActionOutcome.Refused(
            $"Nothing proves that {record.Primary} acknowledges no more writes: {string.Join("; ", tried)}. Two primaries would lose data silently. "
            + "If you know that it is off, say so: --assume-fenced \"how you know\". --accept-data-loss does not stand for it.");
    }

    /// <summary>
    /// A primary that was stopped and that nobody replaced starts again as the next epoch, itself. One that was turned off keeps its epoch:
    /// nothing on its disk forbids it, and nobody else has it.
    /// </summary>
    public async Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel)
    {
        var database = context.Arguments["database"];
        if (await epochs.GetAsync(database, cancel) is not { } record || record.Run != context.Run || record.State == EpochState.Open)
            return ActionOutcome.Finished();
        if (record.State == EpochState.Closing)
        {
            await cuts.RestoreAsync(record, context, cancel);
            await leases.RestoreAsync(record, context, cancel);
            var proof = context.Outputs.TryGetValue("fence.proof", out var text) ? JsonSerializer.Deserialize(text, WireJson.Default.FenceProof) : await StoppedByReportAsync(record, cancel);
            // It may have been stopped all the same, by its own agent or by an order whose answer was lost: reopened, it would stay down.
            if (proof is not { Kind: FenceProofKind.Stopped or FenceProofKind.Demoted })
                proof = await StoppedByReportAsync(record, cancel);
            if (proof is not { Kind: FenceProofKind.Stopped or FenceProofKind.Demoted })
                return ActionOutcome.Finished();
            if (await epochs.MoveAsync(database, r => EpochTransitions.Move(r, r.State == EpochState.Moving ? r.Primary : record.Primary, proof, context.Run, time.GetUtcNow()), context.Fence, cancel) is not EpochWrite.Done moved)
                return new ActionOutcome.Failed($"{record.Primary} was stopped and could not be given the next epoch of {database}.");
            record = moved.Record;
        }
        if (record.Former?.Primary != record.Primary)
            return new ActionOutcome.Failed($"Epoch {record.Epoch} of {database} is moving to {record.Primary}, and moving never returns.");

        var restarted = await links.GiveAsync(Orders.Agent(record.Primary), context.Key, DatabaseOrders.Restart, record.Epoch, context,
            new PromoteOrder(database, record.Epoch, context.Run), WireJson.Default.PromoteOrder, WireJson.Default.PromoteResult, RestartMax, cancel);
        if (restarted.Data is not { } result)
            return new ActionOutcome.Failed($"{record.Primary} was stopped for this run and does not start again: {restarted.Error}. It holds epoch {record.Epoch}; start it, or fail over to another region.");
        return await epochs.MoveAsync(database, r => EpochTransitions.Open(r, context.Run, result.Fork, result.Timeline, time.GetUtcNow()), context.Fence, cancel) is EpochWrite.Refused refused
            ? new ActionOutcome.Failed(refused.Reason)
            : ActionOutcome.Finished(("epoch", record.Epoch.ToString(CultureInfo.InvariantCulture)));
    }

    private async Task<ActionOutcome?> StopAsync(EpochRecord record, ActionContext context, List<string> tried, CancellationToken cancel)
    {
        if (!reach.Agent(record.Primary))
        {
            tried.Add(reach.AgentAway(record.Primary));
            return null;
        }
        context.Progress($"ordering the guard of {record.Primary} to stop PostgreSQL");
        var answer = await links.GiveAsync(Orders.Agent(record.Primary), context.Key, DatabaseOrders.Fence, record.Epoch, context,
            new FenceOrder(record.Database, record.Epoch, context.Run, EndKnown: context.Outputs.ContainsKey("catch-up.held")), WireJson.Default.FenceOrder, WireJson.Default.FenceResult,
            await PatienceAsync(record, context, cancel), cancel);
        if (answer.Data is { } fenced)
            return await ArrivedAsync(fenced, record, context, cancel) ?? Proven(fenced.Proof, fenced.End, fenced.Effect);
        tried.Add($"its agent did not stop it ({answer.Error})");
        return null;
    }

    /// <summary>
    /// In a planned move, a primary whose commits nobody could hold back (another manager owns that setting) went on until it was demoted: the target must
    /// hold the last of it, or the epoch is not given to it. Null: it does, or need not.
    /// </summary>
    private async Task<ActionOutcome?> ArrivedAsync(FenceResult fenced, EpochRecord record, ActionContext context, CancellationToken cancel)
    {
        if (context.Argument("proof") != "stopped" || fenced is not { Proof.Kind: FenceProofKind.Demoted, End: { } end })
            return null;
        var target = context.Arguments["target"];
        var reached = await links.ReachAsync(target, $"{context.Key}/arrived", record, end, ArriveMax, context, cancel);
        return reached.Data is null ? new ActionOutcome.Failed($"{record.Primary} was demoted at {end}, and {target} does not hold all of that ({reached.Error?.TrimEnd('.')}): it is not given the epoch.") : null;
    }

    /// <summary>A demotion by a cluster's own manager takes seconds, and a planned move turns nobody off.</summary>
    private async Task<TimeSpan> PatienceAsync(EpochRecord record, ActionContext context, CancellationToken cancel) =>
        context.Argument("proof") != "stopped" && reports.LastAgent(record.Primary)?.Report.Database?.Manager is null
            && (power.Ready || record.Sync is { Claims: true } || await leases.IsEnforcedAsync(record, cancel)) ? OrderMaxWithPower : OrderMax;

    private async Task<ActionOutcome?> PowerOffAsync(EpochRecord record, ActionContext context, List<string> tried, CancellationToken cancel)
    {
        if (!power.Ready)
        {
            tried.Add("no power driver is set up (recovery.power_driver)");
            return null;
        }
        context.Progress($"{record.Primary} does not answer: turning it off");
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        stop.CancelAfter(PowerMax);
        try
        {
            var off = await power.OffAsync(record.Primary, stop.Token);
            if (off.Off && off.Region == record.Primary)
                return Proven(Proof(FenceProofKind.PoweredOff, record, off.Evidence), null, off.Effect, off.Killed == 0 ? null : Unheard(record));
            tried.Add($"the power driver could not turn it off ({off.Evidence})");
        }
        catch (Exception error) when (error is HttpRequestException or InvalidOperationException or IOException or JsonException or System.ComponentModel.Win32Exception)
        {
            tried.Add($"the power driver failed ({error.Message})");
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            tried.Add($"the power driver did not answer within {PowerMax.TotalSeconds:0} s");
        }
        return null;
    }

    /// <summary>
    /// The order's answer was lost, and it may have been carried out: what the agent reports from now on tells. An older report may have been
    /// written before the fence, and reopening the epoch of a primary that is stopped would leave it stopped.
    /// </summary>
    private async Task<FenceProof?> StoppedByReportAsync(EpochRecord record, CancellationToken cancel)
    {
        await reach.ListenAsync(cancel);
        if (!reach.Agent(record.Primary))
            return null;
        var from = time.GetTimestamp();
        await reports.WaitAsync(seen => seen.LastAgent(record.Primary) is { } last && last.Age < time.GetElapsedTime(from), ReportMax, cancel);
        return reports.Agent(record.Primary)?.Database is { FencedEpoch: { } epoch } && epoch >= record.Epoch
            ? Proof(reports.Agent(record.Primary)?.Database?.Manager is null ? FenceProofKind.Stopped : FenceProofKind.Demoted, record, $"the agent of {record.Primary} reports epoch {epoch} as fenced on its disk")
            : null;
    }

    private FenceProof Proof(FenceProofKind kind, EpochRecord record, string evidence) =>
        new() { Kind = kind, Epoch = record.Epoch, Region = record.Primary, Evidence = evidence, At = time.GetUtcNow() };

    /// <summary>
    /// How long the primary may have gone on acknowledging unheard: it was alive, or may have been, until this proof, and nobody was told what it
    /// wrote since its last report. "unknown" when this server process never had one.
    /// </summary>
    /// <param name="record">The epoch that ended.</param>
    /// <param name="silentSince">How long it has acknowledged nothing already, by the proof itself.</param>
    private string Unheard(EpochRecord record, TimeSpan silentSince = default) =>
        reports.LastAgent(record.Primary)?.Age is { } age
            ? Math.Max(0, (age - silentSince).TotalMilliseconds).ToString("0", CultureInfo.InvariantCulture)
            : SelectAction.Unknown;

    private static ActionOutcome Proven(FenceProof? proof, Lsn? end, bool effect, string? unheard = null) => proof is null
        ? new ActionOutcome.Refused("The epoch record holds no proof.")
        : ActionOutcome.Finished(
            ("proof", JsonSerializer.Serialize(proof, WireJson.Default.FenceProof)), ("kind", JsonNamingPolicyOf(proof.Kind)),
            ("end", end?.ToString()), ("effect", effect ? "true" : "false"), ("unheard_ms", unheard));

    private static string JsonNamingPolicyOf(FenceProofKind kind) => JsonNamingPolicy.SnakeCaseLower.ConvertName(kind.ToString());
}
