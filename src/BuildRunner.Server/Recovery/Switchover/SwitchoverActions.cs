using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Recovery.Failover;
using BuildRunner.Server.Routing;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Switchover;

/// <summary>Looks at both databases, makes checkpoints on both so that the stop has little to do, and lets the copy's replay wait for nobody.</summary>
internal sealed class PrepareAction(Epochs epochs, INodeLinks links) : IAction
{
    /// <summary>Work on the primary that is older makes the move refuse: it would be cut, or keep everybody waiting.</summary>
    private static readonly TimeSpan WorkMax = TimeSpan.FromMilliseconds(300);
    private static readonly TimeSpan InspectMax = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan PrepareMax = TimeSpan.FromMinutes(5);

    public string Name => "switchover.prepare";

    public async Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel)
    {
        var database = context.Arguments["database"];
        if (await epochs.GetAsync(database, cancel) is not { } record || context.Argument("target") is not { } target)
            return new ActionCheck(); // the plan says so
        var primary = await links.GiveAsync(Orders.Agent(record.Primary), $"inspect/{Guid.NewGuid():N}", DatabaseOrders.Inspect, record.Epoch, context,
            new SwitchOrder(database, record.Epoch, context.Run), WireJson.Default.SwitchOrder, WireJson.Default.InspectResult, InspectMax, cancel);
        if (primary.Data is not { } found)
            return new ActionCheck { Problems = [$"{record.Primary} could not be looked at: {primary.Error?.TrimEnd('.')}."] };
        var cut = SelectAction.IsTrue(context, "cut_long_transactions");
        return new ActionCheck
        {
            Problems = [.. Problems(found, record.Primary, cut)],
            Note = string.Join("; ", Notes(found, record.Primary, target, cut)),
            Expected = TimeSpan.FromSeconds(1),
        };
    }

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var (database, target) = (context.Arguments["database"], context.Arguments["target"]);
        if (await epochs.GetAsync(database, cancel) is not { } record)
            return new ActionOutcome.Refused($"Database {database} has no epoch.");
        if (record.Primary == target)
            return ActionOutcome.Finished(("primary", record.Former?.Primary)); // taken up after the epoch was given
        context.Progress($"checkpoints in {record.Primary} and {target}");
        var cut = SelectAction.IsTrue(context, "cut_long_transactions");
        var answers = await Task.WhenAll(PrepareAsync(record.Primary, cut), PrepareAsync(target, false));
        foreach (var (code, answer) in answers)
        {
            if (answer.Data is null)
                return answer.Failure($"Preparing {code}");
        }
        var found = answers[0].Answer.Data!.Found;
        if (Problems(found, record.Primary, cut: false).FirstOrDefault() is { } problem)
            return new ActionOutcome.Refused(problem);
        return ActionOutcome.Finished(
            ("primary", record.Primary), ("checkpoint_ms", answers.Max(a => a.Answer.Data!.CheckpointMs).ToString("0", CultureInfo.InvariantCulture)),
            ("ended", answers[0].Answer.Data!.Ended.ToString(CultureInfo.InvariantCulture)),
            ("notes", string.Join("; ", Notes(found, record.Primary, target, cut)) is { Length: > 0 } notes ? notes : null));

        async Task<(string Code, OrderAnswer<PrepareResult> Answer)> PrepareAsync(string code, bool end) => (code, await links.GiveAsync(
            Orders.Agent(code), $"{context.Key}/{code}", DatabaseOrders.Prepare, record.Epoch, context,
            new SwitchOrder(database, record.Epoch, context.Run, end ? (int)WorkMax.TotalMilliseconds : null), WireJson.Default.SwitchOrder, WireJson.Default.PrepareResult, PrepareMax, cancel));
    }

    public async Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel)
    {
        var (database, target) = (context.Arguments["database"], context.Arguments["target"]);
        if (await epochs.GetAsync(database, cancel) is not { } record || record.Primary == target)
            return ActionOutcome.Finished();
        // A copy that cannot be told goes on with replay that waits for nobody until its next start: no reason to call a person.
        var answer = await UnsealAsync(links, target, record, context, cancel);
        return ActionOutcome.Finished(("not_reset", answer.Data is null ? $"{target}: {answer.Error}" : null));
    }

    internal static Task<OrderAnswer<SealResult>> UnsealAsync(INodeLinks links, string code, EpochRecord record, ActionContext context, CancellationToken cancel) => links.GiveAsync(
        Orders.Agent(code), $"{context.Key}/{code}/unseal", DatabaseOrders.Unseal, record.Epoch, context,
        new SwitchOrder(record.Database, record.Epoch, context.Run), WireJson.Default.SwitchOrder, WireJson.Default.SealResult, InspectMax, cancel);

    private static IEnumerable<string> Problems(InspectResult found, string primary, bool cut)
    {
        if (found.InRecovery)
            yield return $"{primary} is in recovery and no primary.";
        if (found.Subscriptions > 0)
            yield return $"{primary} has {found.Subscriptions} subscriptions: the new primary would receive the same changes again. Disable and drop them first.";
        if (!cut && found.Transactions.Count > 0 && found.Transactions[0] is var oldest
            && SwitchoverPlanner.JudgeWork(oldest.AgeMs, $"process {oldest.ProcessId}, {oldest.User}, {oldest.Application}: {oldest.Query}", WorkMax, primary) is { } problem)
        {
            yield return problem;
        }
    }

    private static IEnumerable<string> Notes(InspectResult found, string primary, string target, bool cut)
    {
        if (cut && found.Transactions.Count(t => t.AgeMs > WorkMax.TotalMilliseconds) is > 0 and var long_)
            yield return $"{long_} transactions older than {WorkMax.TotalMilliseconds:0} ms are ended";
        if (found.UnloggedCount > 0)
            yield return $"{found.UnloggedCount} unlogged tables are empty in {target} ({string.Join(", ", found.Unlogged)})";
        if (found.LogicalSlots.Count > 0)
            yield return $"logical slots stay behind in {primary} ({string.Join(", ", found.LogicalSlots)})";
        if (found.Prepared > 0)
            yield return $"{found.Prepared} prepared transactions move along, undecided";
    }
}

/// <summary>Writes wait at every live gateway, and those under way end; else it is taken back: nobody is cut off in mid-write.</summary>
internal sealed class HoldWritesAction(ITrafficControl traffic, NodeReach reach) : HoldActionBase("switchover.hold", TimeSpan.FromMilliseconds(50), traffic, reach)
{
    protected override async Task<ActionOutcome> HeldAsync(ActionContext context, string database, long version, CancellationToken cancel)
    {
        var held = await Traffic.WaitHeldAsync(database, context.Run, version, InFlight.Ignored, ConfirmMax, cancel);
        var said = held.Confirmed ? await Traffic.WaitHeldAsync(database, context.Run, version, InFlight.All, InFlightMax, cancel) : held;
        // A read that takes longer is cut, and said; a write never is.
        var written = held.Confirmed && !said.Confirmed ? await Traffic.WaitHeldAsync(database, context.Run, version, InFlight.Writes, TimeSpan.Zero, cancel) : said;
        context.Progress(said.Sentence);
        return written.Confirmed
            ? ActionOutcome.Finished(("gateways", said.Sentence), ("cut", said.Confirmed ? null : said.Sentence))
            : new ActionOutcome.Refused($"Writes are still under way, or a gateway did not confirm that it holds them: {said.Sentence}. Nothing has moved; try again.");
    }
}

/// <summary>From here on the old primary answers no commit; what it has answered lies before one position.</summary>
internal sealed class SealAction(Epochs epochs, INodeLinks links) : IAction
{
    private static readonly TimeSpan OrderMax = TimeSpan.FromSeconds(4);

    public string Name => "switchover.seal";

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        if (await epochs.GetAsync(context.Arguments["database"], cancel) is not { State: EpochState.Closing } record || record.Run != context.Run)
            return new ActionOutcome.Refused("The epoch is not closing by this run.");
        var answer = await links.GiveAsync(Orders.Agent(record.Primary), context.Key, DatabaseOrders.Seal, record.Epoch, context,
            new SwitchOrder(record.Database, record.Epoch, context.Run), WireJson.Default.SwitchOrder, WireJson.Default.SealResult, OrderMax, cancel);
        return answer.Data is { } sealed_
            ? ActionOutcome.Finished(("at", sealed_.At.ToString()), ("timeline", sealed_.Timeline.ToString(CultureInfo.InvariantCulture)), ("effect", sealed_.Effect ? "true" : "false"))
            : answer.Failure($"Sealing {record.Primary}");
    }

    /// <summary>Not where the fence has stopped it since: what starts it again starts it unsealed.</summary>
    public async Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel)
    {
        if (await epochs.GetAsync(context.Arguments["database"], cancel) is not { State: EpochState.Closing } record || record.Run != context.Run)
            return ActionOutcome.Finished();
        var answer = await PrepareAction.UnsealAsync(links, record.Primary, record, context, cancel);
        return answer.Data is not null
            ? ActionOutcome.Finished()
            : new ActionOutcome.Failed($"{record.Primary} is sealed and could not be told to go on: {answer.Error}. Its commits wait; restart its agent, or fail over to another region.");
    }
}

/// <summary>The copy has replayed the sealed position: nothing acknowledged can be lost any more.</summary>
internal sealed class CatchUpAction(Epochs epochs, INodeLinks links) : IAction
{
    private static readonly TimeSpan ReachMax = TimeSpan.FromSeconds(4);

    public string Name => "switchover.catch-up";

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var (database, target) = (context.Arguments["database"], context.Arguments["target"]);
        if (await epochs.GetAsync(database, cancel) is not { } record)
            return new ActionOutcome.Refused($"Database {database} has no epoch.");
        var answer = await links.ReachAsync(target, context.Key, record, Lsn.Parse(context.Outputs["seal.at"]), ReachMax, context, cancel);
        return answer.Data is { } reached
            ? ActionOutcome.Finished(("held", reached.Replayed.ToString()), ("ms", reached.Milliseconds.ToString("0.#", CultureInfo.InvariantCulture)))
            : answer.Failure($"Catching up in {target}");
    }
}

/// <summary>Every copy that can be reached, the old primary among them, follows the new one; what was set for the move is taken off.</summary>
internal sealed class SettleMoveAction(Epochs epochs, INodeLinks links, INodeReports reports, NodeReach reach) : IAction
{
    private static readonly TimeSpan SettleMax = TimeSpan.FromSeconds(45);

    public string Name => "switchover.settle";

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        if (await epochs.GetAsync(context.Arguments["database"], cancel) is not { } record)
            return new ActionOutcome.Failed("The database has no epoch.");
        await reach.ListenAsync(cancel);
        var reset = await PrepareAction.UnsealAsync(links, context.Arguments["target"], record, context, cancel);
        var expected = record.Candidates.Where(code => code != record.Primary && reach.Agent(code)).ToList();
        await reports.WaitAsync(seen => expected.All(code => SettleFollowersAction.Follows(seen.Agent(code)?.Database, record)), SettleMax, cancel);
        var pending = expected.Where(code => !SettleFollowersAction.Follows(reports.Agent(code)?.Database, record)).ToList();
        return pending.Count > 0 ? new ActionOutcome.Failed($"Not following {record.Primary} yet: {string.Join("; ", pending.Select(code => $"{code} ({SettleFollowersAction.Said(reports.LastAgent(code)?.Report.Database)})"))}.")
            : reset.Data is null ? new ActionOutcome.Failed($"The settings of the move could not be taken off in {context.Arguments["target"]} ({reset.Error}); its next start does it.")
            : ActionOutcome.Finished(("following", string.Join(", ", expected)));
    }
}
