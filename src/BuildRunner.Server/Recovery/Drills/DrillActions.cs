using System.Text.Json;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Recovery.Failover;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Drills;

/// <summary>`drill.begin`: notes how the house stands; everything must be the same when the drill is over. Undone last: it ends when that is so again.</summary>
internal sealed class DrillBeginAction(DrillStateReader states, Epochs epochs, TimeProvider time) : IAction
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

    public Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel) =>
        context.Outputs.TryGetValue($"{context.Step.Id}.state", out var before) ? DrillCompareAction.WaitAsync(states, time, before, context, cancel) : Task.FromResult(ActionOutcome.Finished());
}

/// <summary>
/// `drill.recovered`: waits until another region takes writes by a failover that has ended well. Past `outage_max` seconds it refuses to go on, and the
/// drill is taken back: users come before practice.
/// </summary>
internal sealed class DrillRecoveredAction(Epochs epochs, RunRecords runs, TimeProvider time) : IAction
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(200);

    public string Name => "drill.recovered";

    internal static TimeSpan OutageMax(ActionContext context) => TimeSpan.FromSeconds(double.TryParse(context.Argument("outage_max"), CultureInfo.InvariantCulture, out var seconds) ? seconds : 60);

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var (database, former, epoch) = (context.Arguments["database"], context.Arguments["former"], long.Parse(context.Arguments["epoch"], CultureInfo.InvariantCulture));
        var most = OutageMax(context);
        while (true)
        {
            var record = await epochs.GetAsync(database, cancel);
            var failover = (await runs.ListAsync(cancel)).FirstOrDefault(r => DrillSource.IsRecovery(r, context.Run, context.RunStartedAt, database));
            if (record is { State: EpochState.Open } && record.Epoch > epoch && record.Primary != former && failover is { FinishedAt: { } ended, State: Core.Runbooks.RunPhase.Succeeded })
                return ActionOutcome.Finished(("primary", record.Primary), ("failover", failover.Id), ("ms", (ended - context.RunStartedAt).TotalMilliseconds.ToString("0", CultureInfo.InvariantCulture)));
            // One that is under way already is not left half done.
            if (time.GetUtcNow() - context.RunStartedAt > most && record is { State: EpochState.Open } && failover is null or { FinishedAt: not null })
                return new ActionOutcome.Refused($"No other region takes writes after {most.TotalSeconds:0} s{(failover is null ? ", and no failover has begun" : $" ({failover.Id}: {failover.Outcome ?? "under way"})")}.");
            context.Progress(failover is null ? "waiting for a failover to begin" : $"{failover.Id} is under way");
            await Task.Delay(Look, time, cancel);
        }
    }
}

/// <summary>
/// `drill.rejoined`: waits until a region follows the primary again and could become it (the move home that comes next would be refused else, and a refusal is not
/// repeated) and, where its WAL can be read, what was lost has been counted.
/// </summary>
internal sealed class DrillRejoinedAction(Epochs epochs, INodeReports reports, RunRecords runs, FailoverReader reader, TimeProvider time) : IAction
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
            var stands = SwitchoverPlanner.Plan(await reader.ReadAsync(database, cancel), new SwitchoverWish { Target = region }).Problems;
            if (record is not null && SettleFollowersAction.Follows(reading, record) && reading!.LagSeconds is not null && stands.Count == 0)
            {
                rejoined ??= time.GetTimestamp();
                var failover = (await runs.ListAsync(cancel)).FirstOrDefault(r => DrillSource.IsRecovery(r, context.Run, context.RunStartedAt, database));
                if (failover?.Lost?.Commits is not null || time.GetElapsedTime(rejoined.Value) > CountMax)
                    return ActionOutcome.Finished(("lost_commits", failover?.Lost?.Commits?.ToString(CultureInfo.InvariantCulture)));
            }
            context.Progress(record is not null && SettleFollowersAction.Follows(reading, record) && stands.Count > 0 ? stands[0] : $"{region} is {SettleFollowersAction.Said(reading)}");
            await Task.Delay(Look, time, cancel);
        }
    }
}

/// <summary>
/// `drill.endured`: waits until the faults are over, with the primary where it was. A failover refutes the scenario; users who cannot write for longer than
/// `outage_max` seconds end it. Output `ms`: the longest time in which the primary's region was seen down.
/// </summary>
internal sealed class DrillEnduredAction(Epochs epochs, IRegionHealth health, TimeProvider time) : IAction
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(200);

    public string Name => "drill.endured";

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var (database, former, epoch) = (context.Arguments["database"], context.Arguments["former"], long.Parse(context.Arguments["epoch"], CultureInfo.InvariantCulture));
        if (DrillFault.Read(context.Arguments["faults"], out var faults) is { } wrong)
            return new ActionOutcome.Refused(wrong);
        var most = DrillRecoveredAction.OutageMax(context);
        var over = context.RunStartedAt + faults.Max(f => f.After + f.Duration);
        var (worst, down) = (TimeSpan.Zero, (long?)null);
        while (true)
        {
            var record = await epochs.GetAsync(database, cancel);
            if (record is not { State: EpochState.Open } || record.Epoch != epoch)
                return new ActionOutcome.Failed($"The house moved the primary ({(record is null ? "no epoch" : $"{record.Primary}, epoch {record.Epoch}")}), and it should have stayed in {former}. Where it has gone to, `br dr failback --target {former}` brings it back.");
            if (health.Current.FirstOrDefault(v => v.Code == former) is { Health: HealthState.Unhealthy })
            {
                down ??= time.GetTimestamp();
                var long_ = time.GetElapsedTime(down.Value);
                worst = long_ > worst ? long_ : worst;
                if (long_ > most)
                    return new ActionOutcome.Refused($"{former}, which takes writes, has been down for {most.TotalSeconds:0} s.");
            }
            else
            {
                down = null;
            }
            var left = over - time.GetUtcNow();
            if (left <= TimeSpan.Zero)
                return ActionOutcome.Finished(("primary", former), ("ms", worst.TotalMilliseconds.ToString("0", CultureInfo.InvariantCulture)));
            context.Progress($"{left.TotalSeconds:0} s of faults are left");
            await Task.Delay(Look, time, cancel);
        }
    }
}

/// <summary>`drill.compare`: waits until everything is as it was before, field by field; else it names what is not.</summary>
internal sealed class DrillCompareAction(DrillStateReader states, TimeProvider time) : IAction
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(500);

    /// <summary>Left of the step's time to say what is not as it was.</summary>
    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(15);

    public string Name => "drill.compare";

    public Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel) => WaitAsync(states, time, context.Arguments["before"], context, cancel);

    internal static async Task<ActionOutcome> WaitAsync(DrillStateReader states, TimeProvider time, string noted, ActionContext context, CancellationToken cancel)
    {
        var before = JsonSerializer.Deserialize(noted, DrillsJson.Default.DrillState) ?? throw new JsonException("the state before the drill is null");
        var database = context.Arguments["database"];
        var began = time.GetTimestamp();
        while (true)
        {
            IReadOnlyList<string> differences = await states.ReadAsync(database, cancel) is { } now ? DrillState.Differences(before, now) : ["the database has no epoch"];
            if (differences.Count == 0)
                return ActionOutcome.Finished(("differences", "none"));
            if (time.GetElapsedTime(began) > context.Step.Timeout - Rest)
                return new ActionOutcome.Failed($"Not as it was: {string.Join("; ", differences)}.");
            context.Progress(differences[0]);
            await Task.Delay(Look, time, cancel);
        }
    }
}
