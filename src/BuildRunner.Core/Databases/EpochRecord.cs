using System.Text.Json.Serialization;

namespace BuildRunner.Core.Databases;

/// <summary>
/// Who may acknowledge a write to a database, moved only by compare-and-set:
/// open(e) → closing(e) → moving(e+1, target) → open(e+1). `Closing` may return to `Open`; `Moving` never returns.
/// </summary>
public sealed record EpochRecord
{
    public int SchemaVersion { get; init; } = 1;
    public required string Database { get; init; }
    public required long Epoch { get; init; }

    /// <summary>Name of this sequence of epochs, made with the first one; epochs of different sequences cannot be compared. Null: made before there were names.</summary>
    public string? Lineage { get; init; }
    public required EpochState State { get; init; }

    /// <summary>Code of the region that may write at this epoch; while moving, the target.</summary>
    public required string Primary { get; init; }

    /// <summary>Codes of the regions that hold a copy and may be promoted.</summary>
    public required IReadOnlyList<string> Candidates { get; init; }

    /// <summary>Epoch before this one and who held it; null at the first epoch.</summary>
    public EpochFormer? Former { get; init; }

    /// <summary>Which copies hold every acknowledged commit of this epoch; null: replication is asynchronous, and nothing is claimed.</summary>
    public SyncRecord? Sync { get; init; }

    /// <summary>The run that is moving the epoch, or last moved it.</summary>
    public string? Run { get; init; }

    /// <summary>When this state was written, by the server's wall clock; for people only, never compared.</summary>
    public required DateTimeOffset At { get; init; }
}

/// <summary>The epoch that was replaced, its primary, the proof that it acknowledges nothing more, and where the new timeline forked from it.</summary>
public sealed record EpochFormer(long Epoch, string Primary, FenceProof? Proof, Lsn? Fork, int? Timeline);

[JsonConverter(typeof(SnakeCaseEnumConverter<EpochState>))]
public enum EpochState
{
    Open,
    Closing,
    Moving,
}

/// <summary>Evidence that an epoch acknowledges nothing more.</summary>
public sealed record FenceProof
{
    public required FenceProofKind Kind { get; init; }
    public required long Epoch { get; init; }
    public required string Region { get; init; }

    /// <summary>One sentence: who gave it and what was seen.</summary>
    public required string Evidence { get; init; }

    public required DateTimeOffset At { get; init; }
}

[JsonConverter(typeof(SnakeCaseEnumConverter<FenceProofKind>))]
public enum FenceProofKind
{
    /// <summary>The guard ended every process of the server and wrote the fence to disk.</summary>
    Stopped,

    /// <summary>Its cluster manager took the right to write away: every member of the region's cluster was seen to be a copy.</summary>
    Demoted,

    /// <summary>Synchronous mode: enough recorded members refuse the epoch.</summary>
    Cut,

    /// <summary>The enforced lease ran out.</summary>
    Expired,

    /// <summary>A power driver, or in `br dev` the supervisor, says that no process of the region is left.</summary>
    PoweredOff,

    /// <summary>A person says so; may be wrong.</summary>
    Stated,
}
