using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Recovery.Failover;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Drills;

/// <summary>`drill.begin`: notes how the house stands; everything must be the same when the drill is over.</summary>
internal sealed class DrillBeginAction(DrillStateReader states, Epochs epochs) : IAction
{
    public string Name => "drill.begin";

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var database = context.Arguments["database"];
        if (await epochs.GetAsync(database, cancel) is not { State: EpochState.Open } record || await states.ReadAsync(database, cancel) is not { } state)
            return new ActionOutcome.Refused($"{database} is not open: a drill begins when all is well.");
        return ActionOutcome.Finished(
            ("primary", record.Primary), ("epoch", record.Epoch.ToString(CultureInfo.InvariantCulture)), ("automatic", context.Inputs.GetValueOrDefault("automatic", "false")),
            ("state", JsonSerializer.Serialize(state, DrillsJson.Default.DrillState)));
    }
}

/// <summary>`fault.inject`: breaks a region's database through its agent. Arguments: `region`, `fault` (`kill`, `stop`). Its undo mends it.</summary>
internal sealed class FaultInjectAction(INodeLinks links, INodeReports reports) : IAction
{
    /// <summary>The agent mends it by itself after this, whatever becomes of the server.</summary>
    private const int SecondsMax = 900;
    private static readonly TimeSpan OrderMax = TimeSpan.FromSeconds(8);

    public string Name => "fault.inject";

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) => Task.FromResult(
        Kind(context) is null ? new ActionCheck { Problems = [$"`fault: {context.Argument("fault")}` is neither kill nor stop."] } : new ActionCheck { Note = "for real", Expected = TimeSpan.FromMilliseconds(200) });

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        if (Kind(context) is not { } kind)
            return new ActionOutcome.Refused($"`fault: {context.Argument("fault")}` is neither kill nor stop.");
        var region = context.Arguments["region"];
        var answer = await links.GiveAsync(Orders.Agent(region), context.Key, FaultOrders.Inject, 0, context,
            new FaultOrder(kind, context.Run, SecondsMax), WireJson.Default.FaultOrder, WireJson.Default.FaultResult, OrderMax, cancel);
        return answer.Data is { } done ? ActionOutcome.Finished(("evidence", done.Evidence)) : answer.Failure($"Breaking {region}");
    }

    public Task<ActionVerdict> VerifyAsync(ActionContext context, CancellationToken cancel) => Task.FromResult<ActionVerdict>(
        reports.Agent(context.Arguments["region"])?.Database?.Fault is { } fault && fault.EndsWith(context.Run, StringComparison.Ordinal)
            ? new ActionVerdict.So(new Dictionary<string, string> { ["evidence"] = fault })
            : new ActionVerdict.NotSo("nothing is broken there by this run"));

    public Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel) => LiftAsync(links, context, cancel);

    internal static async Task<ActionOutcome> LiftAsync(INodeLinks links, ActionContext context, CancellationToken cancel)
    {
        var region = context.Arguments["region"];
        var answer = await links.GiveAsync(Orders.Agent(region), $"{context.Key}/lift", FaultOrders.Lift, 0, context,
            new FaultOrder(FaultKind.Kill, context.Run, SecondsMax), WireJson.Default.FaultOrder, WireJson.Default.FaultResult, OrderMax, cancel);
        return answer.Data is { } done ? ActionOutcome.Finished(("evidence", done.Evidence)) : answer.Failure($"Mending {region}");
    }

    private static FaultKind? Kind(ActionContext context) => context.Argument("fault") switch { "kill" => FaultKind.Kill, "stop" => FaultKind.Stop, _ => null };
}

/// <summary>`fault.lift`: mends what this run broke in a region.</summary>
internal sealed class FaultLiftAction(INodeLinks links) : IAction
{
    public string Name => "fault.lift";

    public Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel) => FaultInjectAction.LiftAsync(links, context, cancel);
}

/// <summary>
/// `drill.recovered`: waits until another region takes writes by a failover that has ended well. Past `outage_max` seconds it refuses to go on, and the
/// drill is taken back: users come before practice.
/// </summary>
internal sealed class DrillRecoveredAction(Epochs epochs, RunRecords runs, TimeProvider time) : IAction
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(200);

    public string Name => "drill.recovered";

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var (database, former, epoch) = (context.Arguments["database"], context.Arguments["former"], long.Parse(context.Arguments["epoch"], CultureInfo.InvariantCulture));
        var most = TimeSpan.FromSeconds(double.TryParse(context.Argument("outage_max"), CultureInfo.InvariantCulture, out var seconds) ? seconds : 60);
        var began = time.GetTimestamp();
        while (true)
        {
            var record = await epochs.GetAsync(database, cancel);
            var failover = (await runs.ListAsync(cancel)).FirstOrDefault(r => DrillSource.IsRecovery(r, context.Run, context.RunStartedAt, database));
            if (record is { State: EpochState.Open } && record.Epoch > epoch && record.Primary != former && failover is { FinishedAt: { } ended, State: Core.Runbooks.RunPhase.Succeeded })
                return ActionOutcome.Finished(("primary", record.Primary), ("failover", failover.Id), ("ms", (ended - context.RunStartedAt).TotalMilliseconds.ToString("0", CultureInfo.InvariantCulture)));
            if (time.GetElapsedTime(began) > most)
                return new ActionOutcome.Refused($"No other region takes writes after {most.TotalSeconds:0} s{(failover is null ? ", and no failover has begun" : $" ({failover.Id}: {failover.Outcome ?? "under way"})")}.");
            context.Progress(failover is null ? "waiting for a failover to begin" : $"{failover.Id} is under way");
            await Task.Delay(Look, time, cancel);
        }
    }
}

/// <summary>`drill.rejoined`: waits until a region follows the primary again and, where its WAL can be read, what was lost has been counted.</summary>
internal sealed class DrillRejoinedAction(Epochs epochs, INodeReports reports, RunRecords runs, TimeProvider time) : IAction
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(200);

    /// <summary>The loss is added to the failover's run by a loop a moment after the rejoin.</summary>
    private static readonly TimeSpan CountMax = TimeSpan.FromSeconds(10);

    public string Name => "drill.rejoined";

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var (database, region) = (context.Arguments["database"], context.Arguments["region"]);
        long? rejoined = null;
        while (true)
        {
            var record = await epochs.GetAsync(database, cancel);
            var reading = reports.Agent(region)?.Database;
            if (record is not null && SettleFollowersAction.Follows(reading, record) && reading!.LagSeconds is not null)
            {
                rejoined ??= time.GetTimestamp();
                var failover = (await runs.ListAsync(cancel)).FirstOrDefault(r => DrillSource.IsRecovery(r, context.Run, context.RunStartedAt, database));
                if (failover?.Lost?.Commits is not null || time.GetElapsedTime(rejoined.Value) > CountMax)
                    return ActionOutcome.Finished(("lost_commits", failover?.Lost?.Commits?.ToString(CultureInfo.InvariantCulture)));
            }
            context.Progress($"{region} is {SettleFollowersAction.Said(reading)}");
            await Task.Delay(Look, time, cancel);
        }
    }
}

/// <summary>`drill.compare`: waits until everything is as it was before, field by field; else it names what is not.</summary>
internal sealed class DrillCompareAction(DrillStateReader states, TimeProvider time) : IAction
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan CompareMax = TimeSpan.FromSeconds(75);

    public string Name => "drill.compare";

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var before = JsonSerializer.Deserialize(context.Arguments["before"], DrillsJson.Default.DrillState) ?? throw new JsonException("the state before the drill is null");
        var began = time.GetTimestamp();
        while (true)
        {
            IReadOnlyList<string> differences = await states.ReadAsync(context.Arguments["database"], cancel) is { } now ? DrillState.Differences(before, now) : ["the database has no epoch"];
            if (differences.Count == 0)
                return ActionOutcome.Finished(("differences", "none"));
            if (time.GetElapsedTime(began) > CompareMax)
                return new ActionOutcome.Failed($"Not as it was: {string.Join("; ", differences)}.");
            context.Progress(differences[0]);
            await Task.Delay(Look, time, cancel);
        }
    }
}
