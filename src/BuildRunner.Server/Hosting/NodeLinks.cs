using System.Collections.Concurrent;
using System.Text.Json;
using BuildRunner.Client.Hosting;

namespace BuildRunner.Server.Hosting;

/// <summary>The server's side of the lines to nodes; all in memory: what a restart loses, documents and orders under way, its rooms give anew.</summary>
internal sealed class NodeLinks(TimeProvider time) : INodeLinks
{
    public const int OrdersMax = 64;
    public const int NodesMax = 1024;
    public static readonly TimeSpan SeenMax = TimeSpan.FromSeconds(3);
    public static readonly TimeSpan WaitMax = TimeSpan.FromSeconds(25);

    private readonly ConcurrentDictionary<NodeName, NodeLine> _lines = new();

    public IReadOnlyList<NodeLink> Nodes => [.. _lines.Values.Select(line => line.Link).OfType<NodeLink>().OrderBy(link => link.Name.ToString(), StringComparer.Ordinal)];

    public void Publish(NodeName node, long version, JsonElement document) => LineOf(node).Publish(version, document.Clone());

    public async Task<OrderOutcome> SendAsync(NodeName node, Order order, TimeSpan timeout, CancellationToken cancel)
    {
        var line = LineOf(node);
        if (line.Join(order) is not { } underWay)
            return new OrderOutcome.Unreachable($"{node} has {OrdersMax} orders under way already.");
        try
        {
            return new OrderOutcome.Done(await underWay.Result.WaitAsync(timeout, time, cancel));
        }
        catch (TimeoutException)
        {
            return new OrderOutcome.Unreachable(line.Absence(underWay.Delivered, timeout));
        }
        finally
        {
            line.Leave(underWay);
        }
    }

    /// <summary>Notes that a node was heard; false when a newer process of the same name has taken its place.</summary>
    public bool Hear(NodeName node, string incarnation) => LineOf(node).Hear(incarnation);

    /// <summary>Answers when there is something for the node, and with nothing when the wait is over; null when a newer process has taken the node's place.</summary>
    public Task<NodePollAnswer?> PollAsync(NodeName node, NodePoll poll, CancellationToken cancel) => LineOf(node).PollAsync(poll, cancel);

    public void Finish(NodeName node, OrderResult result) => LineOf(node).Finish(result);

    private NodeLine LineOf(NodeName node) => _lines.TryGetValue(node, out var line) ? line
        : _lines.Count < NodesMax ? _lines.GetOrAdd(node, static (name, clock) => new NodeLine(name, clock), time)
        : throw new InvalidOperationException($"More than {NodesMax} nodes.");
}
