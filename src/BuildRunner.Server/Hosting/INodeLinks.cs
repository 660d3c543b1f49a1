using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using BuildRunner.Client.Hosting;

namespace BuildRunner.Server.Hosting;

/// <summary>
/// The server's side of its lines to gateways and agents, which call in and wait (see <see cref="NodePoll"/>). Bounds: 64 orders under way a node.
/// </summary>
public interface INodeLinks
{
    /// <summary>Sets a node's document; the node gets it at its next poll, which is answered at once. Versions only grow.</summary>
    void Publish(NodeName node, long version, JsonElement document);

    /// <summary>
    /// Gives an order and waits for its result. The id is the idempotency key: the same id again joins the order under way, or has the node
    /// answer what it remembers. A node that is away is <see cref="OrderOutcome.Unreachable"/> when the time is up.
    /// </summary>
    Task<OrderOutcome> SendAsync(NodeName node, Order order, TimeSpan timeout, CancellationToken cancel);

    /// <summary>Nodes that polled or reported within the last 3 s.</summary>
    IReadOnlyList<NodeLink> Nodes { get; }
}

public sealed record NodeLink(NodeName Name, string Incarnation, DateTimeOffset LastSeen, bool Connected, long DocumentVersion)
{
    /// <summary>Its connection broke while it waited, and it has not called again: its process is gone, or its network. A silent line is not broken.</summary>
    public bool Broken { get; init; }
}

/// <summary>How an order ended, as far as the server knows.</summary>
public abstract record OrderOutcome
{
    private OrderOutcome() { }

    public sealed record Done(OrderResult Result) : OrderOutcome;

    /// <summary>No answer in time: the order may or may not have been carried out.</summary>
    public sealed record Unreachable(string Reason) : OrderOutcome;
}

public static class NodeLinkExtensions
{
    /// <summary>True for a line known to have broken: nothing is worth waiting for there. False for one that is merely silent.</summary>
    public static bool IsBroken(this INodeLinks links, NodeName node) => links.Nodes.Any(link => link.Name == node && link.Broken);

    /// <summary>Gives a typed order and reads its typed result; null data when it was refused, failed or not answered, with the reason.</summary>
    public static async Task<(TResult? Data, string? Error, bool Refused)> SendAsync<TArguments, TResult>(
        this INodeLinks links, NodeName node, string id, string kind, long epoch, long fencingToken, TArguments arguments,
        JsonTypeInfo<TArguments> argumentsType, JsonTypeInfo<TResult> resultType, TimeSpan timeout, CancellationToken cancel)
        where TResult : class
    {
        var order = new Order { Id = id, Kind = kind, Epoch = epoch, FencingToken = fencingToken, Arguments = JsonSerializer.SerializeToElement(arguments, argumentsType) };
        return await links.SendAsync(node, order, timeout, cancel) switch
        {
            OrderOutcome.Done { Result: { Done: true, Data: { } data } } => (data.Deserialize(resultType), null, false),
            OrderOutcome.Done { Result: var result } => (null, result.Error ?? "no data", result.Refused),
            OrderOutcome.Unreachable away => (null, away.Reason, false),
            _ => throw new InvalidOperationException("An order ended in no known way."),
        };
    }
}
