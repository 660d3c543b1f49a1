using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Routing;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Failover;

/// <summary>Cuts every copy that can be reached off the old epoch, has each replay to its end, and judges what the target lacks.</summary>
internal sealed class SelectAction(Epochs epochs, INodeLinks links, NodeReach reach, INodeReports reports, IPolicySource policy) : IAction
{
    private static readonly TimeSpan OrderMax = TimeSpan.FromSeconds(10);

    /// <summary>Writes wait meanwhile: a copy that is not the target is named when it does not answer, and not waited for longer.</summary>
    private static readonly TimeSpan OtherMax = TimeSpan.FromSeconds(1.5);

    public const string Unknown = "unknown";

    public string Name => "failover.select";

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) =>
        Task.FromResult(new ActionCheck { Note = "by recovery.loss_max", Expected = TimeSpan.FromMilliseconds(200) });

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var (database, target) = (context.Arguments["database"], context.Arguments["target"]);
        if (await epochs.GetAsync(database, cancel) is not { } record)
            return new ActionOutcome.Refused($"Database {database} has no epoch.");
        if (record.State == EpochState.Moving && record.Primary == target)
            return ActionOutcome.Finished(("target", target)); // it was chosen when the epoch was given
        if (record.State == EpochState.Open || (record.State == EpochState.Closing && record.Run != context.Run))
            return new ActionOutcome.Refused($"Epoch {record.Epoch} of {database} is not closing by this run: no copy is cut off.");

        await reach.ListenAsync(cancel);
        var codes = record.Candidates.Where(code => code != record.Primary && (code == target || reach.Agent(code))).ToList();
        var all = await Task.WhenAll(codes.Select(async code => (Code: code, Answer: await links.GiveAsync(Orders.Agent(code), $"{context.Key}/{code}", DatabaseOrders.Cut, record.Epoch, context,
            new CutOrder(database, record.Epoch, context.Run), WireJson.Default.CutOrder, WireJson.Default.CutResult, code == target ? OrderMax : OtherMax, cancel))));
        var cuts = all;
        var mine = cuts.FirstOrDefault(c => c.Code == target).Answer;
        if (mine?.Data is not { } cut)
            return mine?.Failure($"Cutting {target} off epoch {record.Epoch}") ?? new ActionOutcome.Refused($"{target} is no candidate of {database}.");

        // Of the copies that commits waited for, so many that one of them holds every acknowledged commit: the one that holds most.
        var sync = record.Sync is { Claims: true } claimed ? claimed : null;
        var accepted = IsTrue(context, "accept_data_loss");
        if (sync is not null && !sync.Members.Contains(target) && !accepted)
            return new ActionOutcome.Refused(FailoverPlanner.NoMember(target, sync));
        if (sync?.Members.Contains(target) == true)
            cuts = [.. cuts.Where(c => sync.Members.Contains(c.Code))];

        // The highest position on the epoch's timeline is promoted: what another copy holds more is taken from there first.
        string? ahead = null;
        var best = cuts.Where(c => c.Answer.Data is { } other && other.Timeline == cut.Timeline && other.MarkerEpoch == cut.MarkerEpoch).MaxBy(c => c.Answer.Data!.Replayed);
        if (best.Answer.Data is { } most && most.Replayed > cut.Replayed)
        {
            var (caughtUp, problem) = await CatchUpAsync(context, record, target, best.Code, most, cancel);
            if (caughtUp is null && !accepted)
                return new ActionOutcome.Refused($"{best.Code} holds {most.Replayed - cut.Replayed} bytes more than {target}, which could not take them from there ({problem}). Name {best.Code} as the target, or give --accept-data-loss.");
            ahead = caughtUp is null ? $"{best.Code} holds {most.Replayed - cut.Replayed} bytes more" : null;
            cut = caughtUp ?? cut;
        }

        var held = cut.Replayed;
        var covered = sync is not null && ahead is null && sync.Members.Contains(target)
            && cuts.Count(c => c.Answer.Data is { } other && other.Timeline == cut.Timeline && other.MarkerEpoch == record.Epoch) >= sync.CutsNeeded;
        var loss = covered ? TimeSpan.Zero : KnownLoss(context, held);
        if (FailoverPlanner.JudgeLoss(loss, FailoverPlanner.LossMax(policy.Current.Recovery, IsTrue(context, "automatic")), accepted, target) is { } refusal)
            return new ActionOutcome.Refused(refusal);

        return ActionOutcome.Finished(
            ("target", target), ("held", held.ToString()), ("timeline", cut.Timeline.ToString(CultureInfo.InvariantCulture)),
            ("known_loss_ms", loss?.TotalMilliseconds.ToString("0", CultureInfo.InvariantCulture)),
            ("ahead", ahead), ("held_by", covered ? $"{sync!.Required} of {string.Join(", ", sync.Members)}" : null),
            ("unreachable", string.Join(", ", record.Candidates.Where(c => c != record.Primary && !all.Any(x => x.Code == c && x.Answer.Data is not null))) is { Length: > 0 } away ? away : null));
    }

    private async Task<(CutResult? Result, string? Problem)> CatchUpAsync(ActionContext context, EpochRecord record, string target, string from, CutResult most, CancellationToken cancel)
    {
        if (reports.LastAgent(from)?.Report is not { DatabasePort: > 0 } source)
            return (null, $"where {from}'s PostgreSQL is, is not known");
        context.Progress($"{target} takes from {from} what it holds more");
        var answer = await links.GiveAsync(Orders.Agent(target), $"{context.Key}/{target}/catch-up", DatabaseOrders.CatchUp, record.Epoch, context,
            new CatchUpOrder(record.Database, record.Epoch, context.Run, from, source.Host, source.DatabasePort, most.Replayed), WireJson.Default.CatchUpOrder, WireJson.Default.CutResult, OrderMax, cancel);
        return (answer.Data, answer.Error);
    }

    public async Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel)
    {
        var database = context.Arguments["database"];
        if (await epochs.GetAsync(database, cancel) is not { State: EpochState.Closing } record || record.Run != context.Run)
            return ActionOutcome.Finished();
        var codes = record.Candidates.Where(code => code != record.Primary && reach.Agent(code)).ToList();
        var answers = await Task.WhenAll(codes.Select(async code => (Code: code, Answer: await links.GiveAsync(Orders.Agent(code), $"{context.Key}/{code}", DatabaseOrders.Uncut, record.Epoch, context,
            new CutOrder(database, record.Epoch, context.Run), WireJson.Default.CutOrder, WireJson.Default.CutResult, OrderMax, cancel))));
        // A copy that stays behind is named and keeps nobody from giving the primary its right to write back, which matters more.
        var failed = answers.Where(a => a.Answer.Data is null).ToList();
        return failed.Count == 0
            ? ActionOutcome.Finished()
            : ActionOutcome.Finished(("not_following", string.Join("; ", failed.Select(f => $"{f.Code}: {f.Answer.Error}"))));
    }

    /// <summary>
    /// Nothing, when the copy holds all that the primary is known to have written; else the lag that was known when the run was admitted. To it comes
    /// the time in which a primary that was alive may have acknowledged writes of which nobody was told.
    /// </summary>
    private static TimeSpan? KnownLoss(ActionContext context, Lsn held)
    {
        if (context.Outputs.TryGetValue("fence.end", out var end) && Lsn.TryParse(end, out var last) && held >= last)
            return TimeSpan.Zero;
        if (!context.Outputs.TryGetValue("fence.unheard_ms", out var unheard) || unheard.Length == 0)
            return KnownLag(context, held);
        return double.TryParse(unheard, CultureInfo.InvariantCulture, out var ms) && KnownLag(context, held) is { } lag ? lag + TimeSpan.FromMilliseconds(ms) : null;
    }

    private static TimeSpan? KnownLag(ActionContext context, Lsn held)
    {
        if (context.Inputs.TryGetValue("primary_written", out var text) && Lsn.TryParse(text, out var written) && held >= written)
            return TimeSpan.Zero;
        return context.Inputs.TryGetValue("known_loss_ms", out var known) && double.TryParse(known, CultureInfo.InvariantCulture, out var ms)
            ? TimeSpan.FromMilliseconds(ms)
            : null;
    }

    internal static bool IsTrue(ActionContext context, string input) => context.Inputs.TryGetValue(input, out var value) && value == "true";
}

/// <summary>`moving(e+1, target)`, written before the promote order; never returns.</summary>
internal sealed class MoveAction(Epochs epochs, TimeProvider time) : IAction
{
    public string Name => "failover.move";

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) =>
        Task.FromResult(new ActionCheck { Note = "from here on there is no way back" });

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        if (await VerifyAsync(context, cancel) is ActionVerdict.So so)
            return new ActionOutcome.Done(so.Outputs);
        var proof = JsonSerializer.Deserialize(context.Outputs["fence.proof"], WireJson.Default.FenceProof);
        return await epochs.MoveAsync(context.Arguments["database"], r => EpochTransitions.Move(r, context.Arguments["target"], proof, context.Run, time.GetUtcNow()), context.Fence, cancel) switch
        {
            EpochWrite.Done done => Outputs(done.Record),
            EpochWrite.Refused refused => new ActionOutcome.Refused(refused.Reason),
            _ => throw new InvalidOperationException("An epoch's move ended in no known way."),
        };
    }

    public async Task<ActionVerdict> VerifyAsync(ActionContext context, CancellationToken cancel)
    {
        var record = await epochs.GetAsync(context.Arguments["database"], cancel);
        return record is { State: EpochState.Moving } && record.Run == context.Run && record.Primary == context.Arguments["target"]
            ? new ActionVerdict.So(((ActionOutcome.Done)Outputs(record)).Outputs)
            : new ActionVerdict.NotSo($"the record is {record?.State.ToString().ToLowerInvariant() ?? "missing"} at epoch {record?.Epoch}");
    }

    private static ActionOutcome Outputs(EpochRecord record) => ActionOutcome.Finished(("epoch", record.Epoch.ToString(CultureInfo.InvariantCulture)));
}

/// <summary>
/// The target becomes the primary and writes its epoch's marker. One that was the primary before, was stopped and given the next epoch itself, is no
/// standby: it is started again.
/// </summary>
internal sealed class PromoteAction(Epochs epochs, INodeLinks links) : IAction
{
    private static readonly TimeSpan OrderMax = TimeSpan.FromSeconds(10);

    public string Name => "failover.promote";

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) =>
        Task.FromResult(new ActionCheck { Expected = TimeSpan.FromMilliseconds(300) });

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var epoch = long.Parse(context.Outputs["move.epoch"], CultureInfo.InvariantCulture);
        var record = await epochs.GetAsync(context.Arguments["database"], cancel);
        // Read again: since `move` somebody else may have given the epoch on, and two would promote.
        if (record is null || record.Epoch != epoch || record.Primary != context.Arguments["target"] || (record.State != EpochState.Open && record.Run != context.Run))
            return new ActionOutcome.Refused($"Epoch {epoch} of {context.Arguments["database"]} is not this run's any more: the record says epoch {record?.Epoch}, {record?.State.ToString().ToLowerInvariant()}, {record?.Primary}. Nobody was promoted.");
        var itself = record.Former?.Primary == context.Arguments["target"];
        var answer = await links.GiveAsync(Orders.Agent(context.Arguments["target"]), context.Key, itself ? DatabaseOrders.Restart : DatabaseOrders.Promote, epoch, context,
            new PromoteOrder(context.Arguments["database"], epoch, context.Run, Proof(context)), WireJson.Default.PromoteOrder, WireJson.Default.PromoteResult, OrderMax, cancel);
        return answer.Data is { } done
            ? ActionOutcome.Finished(
                ("timeline", done.Timeline.ToString(CultureInfo.InvariantCulture)), ("fork", done.Fork.ToString()), ("effect", done.Effect ? "true" : "false"),
                ("ms", done.Milliseconds.ToString("0.#", CultureInfo.InvariantCulture)))
            : answer.Failure($"Promoting {context.Arguments["target"]}");
    }

    private static FenceProofKind? Proof(ActionContext context) =>
        context.Outputs.TryGetValue("fence.proof", out var text) ? JsonSerializer.Deserialize(text, WireJson.Default.FenceProof)?.Kind : null;
}

/// <summary>
/// `open(e+1)`, and the table that quotes it. Writes still wait; with `release: true` the same table lets them go, so that they wait for nothing
/// that a planned move has already seen to work.
/// </summary>
internal sealed class OpenAction(Epochs epochs, ITrafficControl traffic, TimeProvider time) : IAction
{
    public string Name => "failover.open";

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        Lsn? fork = context.Outputs.TryGetValue("promote.fork", out var at) && Lsn.TryParse(at, out var lsn) ? lsn : null;
        int? timeline = context.Outputs.TryGetValue("promote.timeline", out var line) ? int.Parse(line, CultureInfo.InvariantCulture) : null;
        switch (await epochs.MoveAsync(context.Arguments["database"], r => EpochTransitions.Open(r, context.Run, fork, timeline, time.GetUtcNow()), context.Fence, cancel))
        {
            case EpochWrite.Done done:
                var version = context.Argument("release") == "true" ? await ReleaseAsync(context, cancel) : await traffic.PublishAsync(cancel);
                return ActionOutcome.Finished(("epoch", done.Record.Epoch.ToString(CultureInfo.InvariantCulture)), ("table", version.ToString(CultureInfo.InvariantCulture)));
            case EpochWrite.Refused refused:
                return new ActionOutcome.Refused(refused.Reason);
            default:
                throw new InvalidOperationException("An epoch's move ended in no known way.");
        }
    }

    /// <summary>A hold that is another run's by now is left alone: the step that resumes says so.</summary>
    private async Task<long> ReleaseAsync(ActionContext context, CancellationToken cancel) =>
        await traffic.ReleaseAsync(context.Arguments["database"], context.Run, context.Fence, cancel) switch
        {
            TrafficOutcome.Done done => done.TableVersion,
            TrafficOutcome.Fenced fenced => throw new StoreFencedException($"Another server leads now (fencing token {fenced.Current})."),
            _ => await traffic.PublishAsync(cancel),
        };
}
