using System.Text.Json;
using System.Text.Json.Serialization;
using BuildRunner.Core;

namespace BuildRunner.Client.Hosting;

/// <summary>What kind of process a node is.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<NodeKind>))]
public enum NodeKind
{
    Gateway,
    Agent,
}

/// <summary>A gateway or an agent, by the region it stands in; written `agent/us-east-1`.</summary>
public readonly record struct NodeName(NodeKind Kind, string Region)
{
    public override string ToString() => $"{(Kind == NodeKind.Agent ? "agent" : "gateway")}/{Region}";
}

/// <summary>
/// `POST /v1/nodes/{kind}/{region}/poll`: a node asks for its document and its orders and waits for news. Nodes call the server,
/// never the other way round: no node listens for it, and the server holds no node's secret.
/// </summary>
public sealed record NodePoll
{
    public int SchemaVersion { get; init; } = 1;

    /// <summary>Made anew at each start of the node; a poll of an older incarnation is refused.</summary>
    public required string Incarnation { get; init; }

    /// <summary>Version of the document that the node has in force; the answer comes at once when there is a newer one.</summary>
    public long DocumentVersion { get; init; }

    /// <summary>How long the server may hold the answer back; at most 25 s.</summary>
    public int WaitMs { get; init; } = 5000;

    /// <summary>Ids of orders under way here: not sent again.</summary>
    public IReadOnlyList<string> Working { get; init; } = [];
}

public sealed record NodePollAnswer
{
    public int SchemaVersion { get; init; } = 1;

    /// <summary>The node's document when it is newer than what the node has: a gateway's <see cref="Routing.GatewayDocument"/>, an agent's <see cref="Databases.Assignment"/>.</summary>
    public long DocumentVersion { get; init; }
    public JsonElement? Document { get; init; }
    public IReadOnlyList<Order> Orders { get; init; } = [];
}

/// <summary>Something a node is to do now, once: the id is the idempotency key, under which the node remembers the result on disk.</summary>
public sealed record Order
{
    public int SchemaVersion { get; init; } = 1;
    public required string Id { get; init; }

    /// <summary>What to do, such as `database.fence`; the argument's type goes by it.</summary>
    public required string Kind { get; init; }

    /// <summary>Epoch under which the order stands, and the server's fencing token: a node that has seen a higher one of either refuses.</summary>
    public long Epoch { get; init; }
    public long FencingToken { get; init; }
    public required JsonElement Arguments { get; init; }
}

/// <summary>`POST /v1/nodes/{kind}/{region}/results`: how an order ended.</summary>
public sealed record OrderResult
{
    public int SchemaVersion { get; init; } = 1;
    public required string Id { get; init; }
    public required bool Done { get; init; }

    /// <summary>When not done: what is wrong, with what, and what to do.</summary>
    public string? Error { get; init; }

    /// <summary>True when the node refuses on principle (older epoch or token) and no repeat will help.</summary>
    public bool Refused { get; init; }
    public JsonElement? Data { get; init; }
}
