using BuildRunner.Server.Routing;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Failover;

/// <summary>Writes wait at every live gateway; what is still under way is judged by who moves the database.</summary>
internal abstract class HoldActionBase(string name, TimeSpan expected, ITrafficControl traffic, NodeReach reach) : IAction
{
    protected static readonly TimeSpan ConfirmMax = TimeSpan.FromSeconds(1);

    /// <summary>How long requests that went out before the hold are waited for.</summary>
    public static readonly TimeSpan InFlightMax = TimeSpan.FromMilliseconds(300);

    public string Name => name;

    protected ITrafficControl Traffic => traffic;

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) =>
        Task.FromResult(new ActionCheck { Note = "writes wait, at most 10 s", Expected = expected });

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var database = context.Arguments["database"];
        await reach.ListenAsync(cancel);
        return await traffic.HoldAsync(database, context.Run, context.Fence, cancel) switch
        {
            TrafficOutcome.Done done => await HeldAsync(context, database, done.TableVersion, cancel),
            TrafficOutcome.Taken taken => new ActionOutcome.Refused($"The writes to {database} are held by run {taken.HoldId} already. Look at `br runbook status {taken.HoldId}`."),
            TrafficOutcome.Fenced fenced => throw new StoreFencedException($"Another server leads now (fencing token {fenced.Current})."),
            _ => throw new InvalidOperationException("A hold ended in no known way."),
        };
    }

    public async Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel) =>
        await traffic.ReleaseAsync(context.Arguments["database"], context.Run, context.Fence, cancel) is TrafficOutcome.Fenced fenced
            ? throw new StoreFencedException($"Another server leads now (fencing token {fenced.Current}).")
            : ActionOutcome.Finished();

    /// <summary>The hold is published as table <paramref name="version"/>: what the gateways make of it.</summary>
    protected abstract Task<ActionOutcome> HeldAsync(ActionContext context, string database, long version, CancellationToken cancel);
}

/// <summary>Safety never rests on a table (FAILOVER.md 5), so a gateway that does not confirm is named and not waited for.</summary>
internal sealed class HoldAction(ITrafficControl traffic, NodeReach reach) : HoldActionBase("failover.hold", TimeSpan.FromMilliseconds(200), traffic, reach)
{
    private readonly NodeReach _reach = reach;

    protected override async Task<ActionOutcome> HeldAsync(ActionContext context, string database, long version, CancellationToken cancel)
    {
        if (context.Outputs.TryGetValue("close.primary", out var primary) && _reach.Agent(primary))
            await Traffic.WaitHeldAsync(database, context.Run, version, InFlight.Writes, InFlightMax, cancel);
        var said = await Traffic.WaitHeldAsync(database, context.Run, version, InFlight.Ignored, ConfirmMax, cancel);
        context.Progress(said.Sentence);
        return ActionOutcome.Finished(("gateways", said.Sentence), ("confirmed", said.Confirmed ? "true" : "false"));
    }
}
