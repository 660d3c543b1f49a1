namespace BuildRunner.Core.Databases;

/// <summary>What an agent read off its PostgreSQL. Null means unknown, never zero.</summary>
public sealed record DatabaseReading
{
    public required string Database { get; init; }
    public required DatabaseState State { get; init; }

    /// <summary>One clause for people: what it is doing or why it does not run.</summary>
    public string? Detail { get; init; }

    public bool AcceptsConnections { get; init; }
    public string? SystemIdentifier { get; init; }
    public string? ServerVersion { get; init; }
    public int? Timeline { get; init; }

    /// <summary>Epoch of the newest marker in `buildrunner.epoch`; names the timeline.</summary>
    public long? MarkerEpoch { get; init; }

    /// <summary>Run id of the newest marker.</summary>
    public string? MarkerRun { get; init; }

    /// <summary>Highest epoch that this host has been told; orders of a lower one are refused.</summary>
    public long? SeenEpoch { get; init; }

    /// <summary>Highest epoch that was fenced here; remembered on disk.</summary>
    public long? FencedEpoch { get; init; }

    /// <summary>Primary: the insert position.</summary>
    public Lsn? Written { get; init; }
    public Lsn? Flushed { get; init; }

    /// <summary>Standby: the last position received and flushed; may lag behind Replayed, so take the larger.</summary>
    public Lsn? Received { get; init; }
    public Lsn? Replayed { get; init; }

    /// <summary>Standby: how far it is behind its primary in time; zero when it holds everything the primary last told it.</summary>
    public double? LagSeconds { get; init; }

    /// <summary>Standby: bytes behind the newest position that the primary is known to have written.</summary>
    public long? LagBytes { get; init; }

    /// <summary>Standby: code of the region it follows, and whether the stream is up.</summary>
    public string? Following { get; init; }
    public bool Streaming { get; init; }

    /// <summary>Primary: the copies that stream from it.</summary>
    public IReadOnlyList<ReplicaReading> Replicas { get; init; } = [];

    public bool? DataChecksums { get; init; }
    public bool? WalLogHints { get; init; }

    /// <summary>Replication slots that are kept here, at most 50.</summary>
    public IReadOnlyList<string> Slots { get; init; } = [];

    /// <summary>`synchronous_standby_names` in force: whose confirmation a commit waits for.</summary>
    public string? SyncNames { get; init; }

    /// <summary>Primary: the setting that its agent has seen in force for every session; null: none yet since it was told.</summary>
    public SyncReading? Sync { get; init; }

    /// <summary>Primary under a lease: until when it may acknowledge, and by whose word; null: no lease is enforced here.</summary>
    public LeaseReading? Lease { get; init; }

    /// <summary>Whether the guard is PostgreSQL's parent; without it the region cannot give the proof `stopped`. Under a cluster manager: whether that answers.</summary>
    public bool Guarded { get; init; }

    /// <summary>The cluster manager that starts and stops PostgreSQL here; null: this agent's guard does.</summary>
    public string? Manager { get; init; }

    /// <summary>Settings and rights that a recovery needs; null: not read since this agent's start, or PostgreSQL does not run.</summary>
    public DatabaseSettings? Settings { get; init; }

    /// <summary>It receives nothing from this epoch, and which run wanted that; it follows again when the run takes it back, or at a higher epoch.</summary>
    public long? CutEpoch { get; init; }
    public string? CutRun { get; init; }

    /// <summary>It gives a primary of this epoch no promise any more, and which run wanted that.</summary>
    public long? RefusedEpoch { get; init; }
    public string? RefusedRun { get; init; }

    /// <summary>A drill keeps it broken: what is broken, and by which run; null: nothing is.</summary>
    public string? Fault { get; init; }

    /// <summary>What was lost with the epoch that ended here, once its WAL has been read.</summary>
    public SalvageReading? Salvage { get; init; }

    /// <summary>How often this host promoted and fenced since its data was made; counted where the effect happens.</summary>
    public EffectCounts Effects { get; init; } = new(0, 0);
}

/// <summary>A lease as its holder sees it.</summary>
/// <param name="Left">Until the deadline; negative: it is past.</param>
/// <param name="Enforced">The guard has the deadline, and nothing is acknowledged without it.</param>
/// <param name="ByFailsafe">The arbiter is silent, and the candidates' promises carry it.</param>
/// <param name="Detail">One clause for people.</param>
public sealed record LeaseReading(TimeSpan Left, bool Enforced, bool ByFailsafe, string Detail);

/// <summary>A standby as its primary sees it.</summary>
public sealed record ReplicaReading(string Region, string State, Lsn? Sent, Lsn? Replayed, double? ReplayLagSeconds, Lsn? Flushed = null);

/// <summary>How often a host took a decisive action.</summary>
public sealed record EffectCounts(int Promotions, int Fences);

/// <summary>
/// The WAL that a former primary wrote past the fork: it was copied to `salvage/` and counted before the region rejoined. Every rejoin of a
/// former primary gives one; nothing past the fork is said as zero bytes and commits, and null stays unknown.
/// </summary>
public sealed record SalvageReading
{
    public required long Epoch { get; init; }
    public Lsn? Fork { get; init; }
    public Lsn? End { get; init; }
    public long? Bytes => End is { } end && Fork is { } fork ? Math.Max(0, end - fork) : null;

    /// <summary>Commit records past the fork; includes commits that were never acknowledged.</summary>
    public long? Commits { get; init; }

    /// <summary>Why the WAL could not be read to its end, and so was not counted; null: it was.</summary>
    public string? Unreadable { get; init; }

    /// <summary>What the reader of the WAL said when it found nothing past the fork: how it knew that the WAL ends there.</summary>
    public string? Said { get; init; }

    /// <summary>Commit times of the last commit before the fork and of the last one lost; their difference is the loss in seconds.</summary>
    public DateTimeOffset? LastKept { get; init; }
    public DateTimeOffset? LastLost { get; init; }

    /// <summary>Transaction ids of the lost commits, at most 10,000.</summary>
    public IReadOnlyList<uint> Transactions { get; init; } = [];
    public required string Folder { get; init; }
}
