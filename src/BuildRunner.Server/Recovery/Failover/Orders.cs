using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Failover;

/// <summary>How an order to a node ended, for a step.</summary>
internal sealed record OrderAnswer<T>(T? Data, string? Error, bool Refused, bool Unknown) where T : class
{
    /// <summary>The step's failure that this is.</summary>
    public ActionOutcome Failure(string what) => Refused
        ? new ActionOutcome.Refused($"{what} refused: {Error}")
        : new ActionOutcome.Failed($"{what} failed: {Error}", Unknown);
}

internal static class Orders
{
    /// <summary>An agent that was cut off has called again after this.</summary>
    public static readonly TimeSpan ReturnMax = TimeSpan.FromSeconds(30);

    /// <summary>Gives an order under an epoch and this server's fencing token; unlike the plain call it keeps apart what failed and what was not answered.</summary>
    public static async Task<OrderAnswer<TResult>> GiveAsync<TArguments, TResult>(
        this INodeLinks links, NodeName node, string id, string kind, long epoch, ActionContext context, TArguments arguments,
        JsonTypeInfo<TArguments> argumentsType, JsonTypeInfo<TResult> resultType, TimeSpan timeout, CancellationToken cancel)
        where TResult : class
    {
        var order = new Order { Id = id, Kind = kind, Epoch = epoch, FencingToken = context.Fence.Token, Arguments = JsonSerializer.SerializeToElement(arguments, argumentsType) };
        return await links.SendAsync(node, order, timeout, cancel) switch
        {
            OrderOutcome.Done { Result: { Done: true, Data: { } data } } => new(data.Deserialize(resultType), null, false, false),
            OrderOutcome.Done { Result: var result } => new(null, result.Error ?? "it answered no data", result.Refused, false),
            OrderOutcome.Unreachable away => new(null, away.Reason, false, true),
            _ => throw new InvalidOperationException("An order ended in no known way."),
        };
    }

    /// <summary>Waits until a copy has replayed a position of the epoch that ends.</summary>
    public static Task<OrderAnswer<ReachResult>> ReachAsync(this INodeLinks links, string target, string id, EpochRecord record, Lsn until, TimeSpan limit, ActionContext context, CancellationToken cancel) => links.GiveAsync(
        Agent(target), id, DatabaseOrders.Reach, record.Epoch, context, new ReachOrder(record.Database, record.Epoch, context.Run, until, (int)limit.TotalMilliseconds),
        WireJson.Default.ReachOrder, WireJson.Default.ReachResult, limit + TimeSpan.FromSeconds(2), cancel);

    public static NodeName Agent(string region) => new(NodeKind.Agent, region);

    public static NodeName Gateway(string region) => new(NodeKind.Gateway, region);
}
