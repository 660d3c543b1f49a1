using BuildRunner.Core.Regions;

namespace BuildRunner.Client.Regions;

/// <summary>`GET /v1/regions`, `/v1/regions/health`.</summary>
public sealed record RegionsAnswer
{
    public int SchemaVersion { get; init; } = 1;
    public required DateTimeOffset At { get; init; }

    /// <summary>From where latencies were measured: `server`, or a region's code.</summary>
    public required string From { get; init; }

    /// <summary>The whole in one sentence.</summary>
    public required string Verdict { get; init; }

    /// <summary>True when every region of the policy is healthy, shown or not.</summary>
    public required bool AllHealthy { get; init; }
    public required IReadOnlyList<RegionItem> Regions { get; init; }
}

/// <summary>`GET /v1/regions/{code}`.</summary>
public sealed record RegionAnswer
{
    public int SchemaVersion { get; init; } = 1;
    public required DateTimeOffset At { get; init; }
    public required string From { get; init; }
    public required RegionItem Region { get; init; }
}

/// <summary>A region as people and scripts see it.</summary>
public sealed record RegionItem
{
    public required string Code { get; init; }
    public required string Name { get; init; }

    /// <summary>The role in force: after a failover the epoch record says who is primary.</summary>
    public required RegionRole Role { get; init; }

    /// <summary>The role that the policy gives it.</summary>
    public required RegionRole PolicyRole { get; init; }
    public required string Endpoint { get; init; }

    /// <summary>True only when healthy.</summary>
    public required bool Active { get; init; }

    /// <summary>Mean of the last minute's successful probes of its gateway from the asking side; null: unknown.</summary>
    public double? LatencyMs { get; init; }
    public required HealthState Health { get; init; }
    public required DateTimeOffset Since { get; init; }
    public string Reason { get; init; } = "";
    public int CheckFailures { get; init; }
    public bool Draining { get; init; }
    public int Weight { get; init; } = 100;
    public required RegionCoordinates Coordinates { get; init; }

    /// <summary>Null: the region has no database.</summary>
    public RegionReplication? Replication { get; init; }
    public IReadOnlyList<RegionService> Services { get; init; } = [];
    public IReadOnlyList<string> Evidence { get; init; } = [];
}

public sealed record RegionCoordinates(double Latitude, double Longitude);

/// <summary>State of the region's copy; everything but the state is null when unknown.</summary>
public sealed record RegionReplication
{
    public required string State { get; init; }
    public long? Epoch { get; init; }
    public string? Following { get; init; }
    public int? Timeline { get; init; }
    public string? Lsn { get; init; }
    public long? LagBytes { get; init; }
    public double? LagSeconds { get; init; }
}

public sealed record RegionService
{
    public required string Service { get; init; }
    public required HealthState Health { get; init; }
    public string Reason { get; init; } = "";
    public int CheckFailures { get; init; }

    /// <summary>Observers that see it up, that see it down, and that are not sure.</summary>
    public int ObserversUp { get; init; }
    public int ObserversDown { get; init; }
    public int ObserversUnsure { get; init; }
    public int? Instances { get; init; }
}
