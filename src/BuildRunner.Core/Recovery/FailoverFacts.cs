using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Recovery;

/// <summary>What a person asks of a failover.</summary>
public sealed record FailoverWish
{
    /// <summary>Code of the region that is to become the primary; null: the best one.</summary>
    public string? Target { get; init; }
    public bool AcceptDataLoss { get; init; }

    /// <summary>Why a person vouches that the primary acknowledges nothing more; null: nobody does.</summary>
    public string? AssumeFenced { get; init; }

    /// <summary>No person asked: less may be lost, and no word stands for a proof.</summary>
    public bool Automatic { get; init; }
}

/// <summary>Everything that is known when a failover is planned. Ages are of the server's monotonic clock.</summary>
public sealed record FailoverFacts
{
    public required string Database { get; init; }
    public required RecoveryRules Rules { get; init; }
    public required EpochRecord? Record { get; init; }
    public required IReadOnlyList<FailoverRegion> Regions { get; init; }

    /// <summary>A driver that can cut the power is set up and can be reached from here.</summary>
    public bool PowerReady { get; init; }

    /// <summary>The primary's right to acknowledge ends by itself: its lease is enforced on its host, and this server is the arbiter.</summary>
    public bool LeaseEnforced { get; init; }

    public FailoverRegion? Region(string code) => Regions.FirstOrDefault(r => r.Code == code);
}

/// <summary>A region as failover sees it.</summary>
public sealed record FailoverRegion
{
    public required string Code { get; init; }
    public required RegionRole Role { get; init; }
    public required bool HasDatabase { get; init; }
    public HealthState Health { get; init; } = HealthState.Unknown;
    public string HealthReason { get; init; } = "";

    /// <summary>Whether its agent has reported within the last 3 s, and how old its newest report is; null: never heard of.</summary>
    public bool AgentReachable { get; init; }
    public TimeSpan? ReportAge { get; init; }
    public bool GatewayLive { get; init; }

    /// <summary>Newest reading of its database, whatever its age.</summary>
    public DatabaseReading? Reading { get; init; }

    /// <summary>
    /// Known lag: from the last moment at which it was known to hold everything to the primary's last report; null: unknown.
    /// It does not grow after the primary's death.
    /// </summary>
    public TimeSpan? KnownLag { get; init; }

    /// <summary>Bytes between the primary's last reported position and what this copy holds; null: unknown.</summary>
    public long? KnownLagBytes { get; init; }
}

/// <summary>What a failover would do and what stands against it.</summary>
public sealed record FailoverPlan
{
    public string? Target { get; init; }
    public string? Primary { get; init; }
    public long? Epoch { get; init; }

    /// <summary>How the old primary is to be proven silent; null: by nothing.</summary>
    public FenceProofKind? Proof { get; init; }
    public TimeSpan? KnownLoss { get; init; }
    public long? KnownLossBytes { get; init; }

    /// <summary>Each failed precondition, one sentence with what to do; empty: ready.</summary>
    public required IReadOnlyList<string> Problems { get; init; }
    public required IReadOnlyList<string> Notes { get; init; }

    /// <summary>The record stands at `moving` to this very target: the promotion is taken up where it was left.</summary>
    public bool Resumes { get; init; }
}
