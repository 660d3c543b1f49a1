using System.Text.Json.Serialization;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Routing;

/// <summary>
/// Everything a gateway needs to send a request to the right place; immutable, ordered by <see cref="Version"/>,
/// kept on disk by gateways so that they serve without the server.
/// </summary>
public sealed record RoutingTable
{
    public int SchemaVersion { get; init; } = 1;
    public required long Version { get; init; }
    public required DateTimeOffset At { get; init; }

    /// <summary>False: every request goes to <see cref="DefaultRegion"/> (MULTIREGION_ENABLED=false).</summary>
    public bool MultiRegion { get; init; } = true;
    public required string DefaultRegion { get; init; }
    public required IReadOnlyList<string> AllowedRegions { get; init; }
    public TimeSpan Affinity { get; init; } = TimeSpan.FromMinutes(30);
    public required IReadOnlyList<RegionRow> Regions { get; init; }
    public required IReadOnlyList<ServiceRow> Services { get; init; }
    public required IReadOnlyList<DatabaseRow> Databases { get; init; }

    /// <summary>Measured latencies between gateways and regions, in milliseconds; a missing pair is unknown.</summary>
    public IReadOnlyList<LatencyRow> Latencies { get; init; } = [];

    /// <summary>Networks whose X-Forwarded-* are believed, as CIDR; empty: none.</summary>
    public IReadOnlyList<string> TrustedProxies { get; init; } = [];

    /// <summary>Reads go to a replica only while it is at most this far behind.</summary>
    public TimeSpan ReadLagMax { get; init; } = TimeSpan.FromSeconds(5);
    public HoldRules Hold { get; init; } = new();
}

/// <summary>A region as routing sees it.</summary>
public sealed record RegionRow
{
    public required string Code { get; init; }
    public required string Name { get; init; }
    public required RegionRole Role { get; init; }
    public required GeoPoint Location { get; init; }

    /// <summary>Base address of the region's gateway.</summary>
    public required string Endpoint { get; init; }
    public required HealthState Health { get; init; }
    public bool Draining { get; init; }

    /// <summary>Share of what would come here that may come, 0..100; the rest goes to the next nearest.</summary>
    public int Weight { get; init; } = 100;
    public bool HasDatabase { get; init; }

    /// <summary>Whether the region's copy takes reads now (role, `serve_reads`, state) and how far it is behind; null: unknown, not eligible.</summary>
    public bool ServesReads { get; init; }
    public double? LagSeconds { get; init; }
}

/// <summary>A service, its routes in order of precedence, and where its instances are.</summary>
public sealed record ServiceRow
{
    public required string Name { get; init; }

    /// <summary>Name of the database it writes to; null: none, any region may take its writes.</summary>
    public string? Database { get; init; }
    public required IReadOnlyList<RouteRow> Routes { get; init; }
    public required IReadOnlyList<InstanceRow> Instances { get; init; }

    /// <summary>Share of requests per track; sums to 100.</summary>
    public IReadOnlyList<TrackWeight> Tracks { get; init; } = [new("stable", 100)];
    public string? VerifyPath { get; init; }
    public string? WarmPath { get; init; }
}

public sealed record TrackWeight(string Track, int Weight);

/// <summary>A path pattern of a service: `/api/orders/*`, `/assets/**`, `/account`.</summary>
public sealed record RouteRow
{
    public required string Pattern { get; init; }

    /// <summary>True: GET and HEAD are reads that a replica may answer. `All`: every method is a read (a search by POST).</summary>
    public ReadKind Reads { get; init; } = ReadKind.SafeMethods;
    public bool PreferReplica { get; init; }

    /// <summary>Data residency: served in these regions or refused; empty: anywhere allowed.</summary>
    public IReadOnlyList<string> StayIn { get; init; } = [];

    /// <summary>Class of SPEC's cache configuration: static, api, user, public; null: not cached.</summary>
    public string? Cache { get; init; }
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(30);
}

[JsonConverter(typeof(SnakeCaseEnumConverter<ReadKind>))]
public enum ReadKind
{
    SafeMethods,
    All,
    None,
}

/// <summary>A running instance of a service.</summary>
public sealed record InstanceRow
{
    public required string Region { get; init; }
    public required string Id { get; init; }

    /// <summary>Base address, as the instance's own region reaches it.</summary>
    public required string Address { get; init; }
    public required string Version { get; init; }
    public string Track { get; init; } = "stable";
    public HealthState Health { get; init; } = HealthState.Unknown;
}

/// <summary>Who may write to a database; quotes its epoch.</summary>
public sealed record DatabaseRow
{
    public required string Name { get; init; }
    public required long Epoch { get; init; }
    public required EpochState State { get; init; }
    public required string Primary { get; init; }

    /// <summary>Set while writes wait at the gateways; each gateway ends it by its own clock, <see cref="HoldRules.Duration"/> after it first saw this id.</summary>
    public string? HoldId { get; init; }

    /// <summary>False: the primary is known to be unable to take writes and no run holds: 503 at once.</summary>
    public bool Writable { get; init; } = true;
}

/// <summary>How long and how many writes wait (DESIGN: held writes).</summary>
public sealed record HoldRules
{
    public TimeSpan Duration { get; init; } = TimeSpan.FromSeconds(10);
    public int RequestsMax { get; init; } = 1000;
    public long BodyBytesMax { get; init; } = 64L * 1024 * 1024;
}

public sealed record LatencyRow(string From, string To, double Milliseconds);
