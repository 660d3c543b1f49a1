using BuildRunner.Core.Databases;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Routing;

/// <summary>Everything a routing table is made of: what the policy says, what is believed, and what people and runs have asked.</summary>
public sealed record RoutingInputs
{
    public bool MultiRegion { get; init; } = true;
    public required string DefaultRegion { get; init; }

    /// <summary>Empty: every region.</summary>
    public IReadOnlyList<string> AllowedRegions { get; init; } = [];
    public TimeSpan Affinity { get; init; } = TimeSpan.FromMinutes(30);
    public IReadOnlyList<string> TrustedProxies { get; init; } = [];
    public TimeSpan ReadLagMax { get; init; } = TimeSpan.FromSeconds(5);
    public HoldRules Hold { get; init; } = new();
    public required IReadOnlyList<RegionInput> Regions { get; init; }
    public required IReadOnlyList<ServiceInput> Services { get; init; }
    public required IReadOnlyList<DatabaseInput> Databases { get; init; }

    /// <summary>Measured now; the builder damps them against the table before.</summary>
    public IReadOnlyList<LatencyRow> Latencies { get; init; } = [];

    /// <summary>False in the first seconds of a server: what nobody has reported yet stays as the table before has it.</summary>
    public bool Settled { get; init; } = true;
}

public sealed record RegionInput
{
    public required string Code { get; init; }
    public required string Name { get; init; }
    public required RegionRole Role { get; init; }
    public required GeoPoint Location { get; init; }
    public required string Endpoint { get; init; }
    public bool HasDatabase { get; init; }

    /// <summary>The policy's `serve_reads`: whether a standby's copy takes reads.</summary>
    public bool ServeReads { get; init; } = true;
    public HealthState Health { get; init; }

    /// <summary>The verdict on the region's database.</summary>
    public HealthState DatabaseHealth { get; init; }
    public RegionControl Control { get; init; } = new();

    /// <summary>The agent's newest reading when it is fresh; null: not known now.</summary>
    public DatabaseReading? Reading { get; init; }

    /// <summary>Whether the region's agent has ever reported to this server process.</summary>
    public bool Heard { get; init; }
}

public sealed record ServiceInput
{
    public required string Name { get; init; }
    public string? Database { get; init; }
    public required IReadOnlyList<RouteRow> Routes { get; init; }
    public IReadOnlyList<TrackWeight> Tracks { get; init; } = [new("stable", 100)];
    public string? VerifyPath { get; init; }
    public string? WarmPath { get; init; }

    /// <summary>As agents reported them last, or as the policy lists them.</summary>
    public required IReadOnlyList<InstanceInput> Instances { get; init; }
}

/// <summary>An instance, what its agent says of it (null: the agent is silent, or there is none) and what observers say of the service there.</summary>
public sealed record InstanceInput(string Region, string Id, string Address, string Version, string Track, HealthState? Reported, HealthState ServiceHealth);

/// <summary>A database's epoch record, and the hold that a run has put on its writes.</summary>
public sealed record DatabaseInput(string Name, EpochRecord? Record, string? HoldId);
