using BuildRunner.Client.Databases;

namespace BuildRunner.Server.Recovery.BreakGlass;

/// <summary>What a server needs to act for one that is gone: whom it calls together, and by which key they know it.</summary>
internal sealed record StandInOptions
{
    /// <summary>Made with the journal; the same when it is taken up again.</summary>
    public required string Id { get; init; }

    /// <summary>Address of this server as every node reaches it.</summary>
    public required Uri Server { get; init; }

    /// <summary>The replication role's password, which the nodes' keys are made from.</summary>
    public required string Secret { get; init; }
    public required IReadOnlyList<PeerAddress> Agents { get; init; }

    /// <summary>Base addresses of gateways by region.</summary>
    public required IReadOnlyDictionary<string, string> Gateways { get; init; }

    /// <summary>Highest fencing token that any host obeyed.</summary>
    public required long SeenToken { get; init; }

    public override string ToString() => $"StandInOptions {{ Id = {Id}, Server = {Server} }}";
}
