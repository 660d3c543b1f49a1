using System.Text.Json.Serialization;
using BuildRunner.Core;

namespace BuildRunner.Client.Regions;

/// <summary>What is probed: a region's service, its gateway, or its database's port.</summary>
public sealed record ProbeTarget
{
    public required string Region { get; init; }

    /// <summary>Service name; `gateway` and `db` are the region's own.</summary>
    public required string Service { get; init; }
    public required ProbeKind Kind { get; init; }

    /// <summary>`http`: a URL; `tcp` and `postgres`: host:port; as the target's own region reaches it.</summary>
    public required string Address { get; init; }
    public int ExpectedStatus { get; init; } = 200;
    public TimeSpan Interval { get; init; } = TimeSpan.FromSeconds(2);
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Failures in a row before it counts as down, and successes in a row before it counts as up again.</summary>
    public int Fall { get; init; } = 3;
    public int Rise { get; init; } = 2;
}

[JsonConverter(typeof(SnakeCaseEnumConverter<ProbeKind>))]
public enum ProbeKind
{
    Http,
    Tcp,

    /// <summary>PostgreSQL: whether it answers a connection, without a role.</summary>
    Postgres,
}

/// <summary>What one observer has seen of one target.</summary>
public sealed record TargetReading
{
    public required string Region { get; init; }
    public required string Service { get; init; }

    /// <summary>By rise and fall counts; null: not yet known.</summary>
    public bool? Up { get; init; }
    public int FailuresInRow { get; init; }
    public int SuccessesInRow { get; init; }
    public DateTimeOffset? LastSuccess { get; init; }
    public DateTimeOffset? LastFailure { get; init; }
    public string? LastError { get; init; }

    /// <summary>Mean of the last minute's successful probes; null: none.</summary>
    public double? LatencyMs { get; init; }
    public int LatencySamples { get; init; }

    /// <summary>How many addresses stand behind this reading, and those of them that are down by their own counts.</summary>
    public int Targets { get; init; } = 1;
    public IReadOnlyList<string> Down { get; init; } = [];

    /// <summary>User requests that failed there in the last 10 s, and how many were sent (gateways only).</summary>
    public int PassiveFailures { get; init; }
    public int PassiveRequests { get; init; }
}
