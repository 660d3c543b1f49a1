using BuildRunner.Client.Regions;
using BuildRunner.Core.Routing;

namespace BuildRunner.Client.Routing;

/// <summary>A gateway's document. <see cref="AffinityKeys"/> and <see cref="SummonKey"/> are secret: kept apart from the table, in files of mode 0600.</summary>
public sealed record GatewayDocument
{
    public int SchemaVersion { get; init; } = 1;
    public required RoutingTable Table { get; init; }
    public IReadOnlyList<ProbeTarget> Probes { get; init; } = [];

    /// <summary>HMAC keys of `br-affinity`, base64, newest first: the first signs, all verify. None: the gateway keeps those it has.</summary>
    public IReadOnlyList<string> AffinityKeys { get; init; } = [];

    /// <summary>Base64 of the key by which it knows a summons to another server; null: it keeps the one it has.</summary>
    public string? SummonKey { get; init; }

    public override string ToString() => $"GatewayDocument {{ Table = {Table.Version} }}";
}

/// <summary>Kinds of orders that a gateway carries out.</summary>
public static class GatewayOrders
{
    /// <summary><see cref="ProbeOrder"/> → <see cref="ProbeResult"/>: send a request of our own through this gateway's forwarder, past any hold, counted as test traffic.</summary>
    public const string Probe = "traffic.probe";
}

public sealed record ProbeOrder
{
    public required string Service { get; init; }
    public required string Method { get; init; }
    public required string Path { get; init; }
    public string? Body { get; init; }
    public int Times { get; init; } = 1;

    /// <summary>Send it to this region's instances; null: as a user's request would go.</summary>
    public string? Region { get; init; }
    public int TimeoutMs { get; init; } = 2000;
}

public sealed record ProbeResult(int Succeeded, int Failed, int? LastStatus, string? ServedBy, string? Error, string? Body, double? MeanMs);

/// <summary>`POST /v1/gateways/{region}/report`, twice a second, and at once when a hold or an epoch changes.</summary>
public sealed record GatewayReport
{
    public int SchemaVersion { get; init; } = 1;
    public required string Incarnation { get; init; }
    public required DateTimeOffset At { get; init; }
    public required long TableVersion { get; init; }

    /// <summary>Base address of this gateway as its own region reaches it.</summary>
    public required string Endpoint { get; init; }
    public IReadOnlyList<TargetReading> Targets { get; init; } = [];
    public IReadOnlyList<HoldReading> Holds { get; init; } = [];
    public IReadOnlyList<WriteReading> Writes { get; init; } = [];
    public TrafficReading Traffic { get; init; } = new();
}

/// <summary>A hold at a gateway: writes that wait, writes sent before it that are still out, and reads that are out to the primary's region.</summary>
public sealed record HoldReading(string Database, string HoldId, int Waiting, int InFlight, bool Expired, int Reads = 0);

/// <summary>Acknowledged writes of one epoch at one gateway, by its own monotonic clock.</summary>
public sealed record WriteReading
{
    public required string Database { get; init; }
    public required long Epoch { get; init; }
    public required DateTimeOffset First { get; init; }
    public required DateTimeOffset Last { get; init; }
    public required long Count { get; init; }

    /// <summary>
    /// From the arrival of the first write that was held, refused or failed after the last acknowledged one of the epoch before, to the first
    /// acknowledged one of this epoch, in milliseconds; null: no write before. Time in which nobody wrote is no outage.
    /// </summary>
    public double? OutageMs { get; init; }
}

/// <summary>User requests answered by the gateway since its start.</summary>
public sealed record TrafficReading
{
    public long Requests { get; init; }
    public long Failed { get; init; }
    public long Retried { get; init; }
    public long HeldWrites { get; init; }
    public long Unknown { get; init; }

    /// <summary>Requests of the last 10 s per second, by the region that served them.</summary>
    public IReadOnlyDictionary<string, double> RatePerRegion { get; init; } = new Dictionary<string, double>();
}
