using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Recovery.Failover;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Adoption;

/// <summary>
/// A region's agent takes over the PostgreSQL that it was told of: one restart, under a guard. What would go wrong afterwards it answers itself, by starting
/// it as it was; once taken over it stays so.
/// </summary>
internal sealed class AdoptAction(Epochs epochs, INodeLinks links, NodeReach reach) : IAction
{
    private static readonly TimeSpan SurveyMax = TimeSpan.FromSeconds(20);

    /// <summary>Two checkpoints of a busy server, a stop, a start with recovery.</summary>
    private static readonly TimeSpan AdoptMax = TimeSpan.FromMinutes(14);

    public string Name => "database.adopt";

    public async Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel)
    {
        var (database, region) = (context.Arguments["database"], context.Arguments["region"]);
        if (await epochs.GetAsync(database, cancel) is not { } record)
            return new ActionCheck { Problems = [$"Database {database} has no epoch yet: its policy names no primary region with a database."] };
        if (!record.Candidates.Contains(region))
            return new ActionCheck { Problems = [$"{region} is no region of {database} (it has {string.Join(", ", record.Candidates)}): give it a database_host in the policy."] };
        if (record.State != EpochState.Open)
            return new ActionCheck { Problems = [$"Run {record.Run} is moving {database} now; adopt {region} when it has ended."] };
        if (!reach.Agent(region))
            return new ActionCheck { Problems = [reach.AgentAway(region)] };
        var answer = await links.GiveAsync(Orders.Agent(region), $"survey/{Guid.NewGuid():N}", AdoptOrders.Survey, record.Epoch, context,
            new AdoptOrder(database, record.Epoch, context.Run), WireJson.Default.AdoptOrder, WireJson.Default.AdoptSurvey, SurveyMax, cancel);
        if (answer.Data is not { } found)
            return new ActionCheck { Problems = [$"What runs in {region} could not be looked at: {answer.Error?.TrimEnd('.')}."] };
        return new ActionCheck
        {
            Problems = found.Adopted ? [$"The PostgreSQL of {region} in {found.Folder} has been adopted already and runs under its guard."] : found.Problems,
            Note = string.Join(" · ", found.Changes.Concat(found.Notes)),
            Expected = TimeSpan.FromSeconds(3),
        };
    }

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var (database, region) = (context.Arguments["database"], context.Arguments["region"]);
        if (await epochs.GetAsync(database, cancel) is not { State: EpochState.Open } record)
            return new ActionOutcome.Refused($"The epoch of {database} is not open.");
        context.Progress($"PostgreSQL in {region} writes a checkpoint, and is then restarted under its guard");
        var answer = await links.GiveAsync(Orders.Agent(region), context.Key, AdoptOrders.Adopt, record.Epoch, context,
            new AdoptOrder(database, record.Epoch, context.Run), WireJson.Default.AdoptOrder, WireJson.Default.AdoptResult, AdoptMax, cancel);
        return answer.Data is { } adopted
            ? ActionOutcome.Finished(("folder", adopted.Folder), ("away_ms", adopted.AwayMs?.ToString("0", CultureInfo.InvariantCulture)), ("effect", adopted.Effect ? "true" : "false"))
            : answer.Failure($"Adopting the PostgreSQL in {region}");
    }
}

/// <summary>The region says of itself what an adopted one must: under its guard, with the epoch's marker, and, as a copy, fed.</summary>
internal sealed class AdoptedAction(Epochs epochs, INodeReports reports, NodeReach reach) : IAction
{
    private static readonly TimeSpan SettleMax = TimeSpan.FromSeconds(60);

    public string Name => "database.adopted";

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var (database, region) = (context.Arguments["database"], context.Arguments["region"]);
        if (await epochs.GetAsync(database, cancel) is not { } record)
            return new ActionOutcome.Failed($"Database {database} has no epoch.");
        await reach.ListenAsync(cancel);
        await reports.WaitAsync(seen => IsWell(seen.Agent(region)?.Database, record, region), SettleMax, cancel);
        var reading = reports.Agent(region)?.Database;
        return IsWell(reading, record, region)
            ? ActionOutcome.Finished(("state", reading!.State.ToString().ToLowerInvariant()))
            : new ActionOutcome.Failed($"{region} was adopted and is not well after {SettleMax.TotalSeconds:0} s: {SettleFollowersAction.Said(reading)}. Look at `br dr status` and at the agent's log.");
    }

    private static bool IsWell(DatabaseReading? reading, EpochRecord record, string region) =>
        reading is { Guarded: true } && (region == record.Primary
            ? reading is { State: DatabaseState.Primary } && reading.MarkerEpoch == record.Epoch
            : SettleFollowersAction.Follows(reading, record));
}
