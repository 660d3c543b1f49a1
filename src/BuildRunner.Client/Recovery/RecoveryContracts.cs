using System.Text.Json.Serialization;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;

namespace BuildRunner.Client.Recovery;

/// <summary>What a failover came to (FAILOVER.md 9); kept in its run's last line. Null is unknown.</summary>
public sealed record FailoverReport
{
    public int SchemaVersion { get; init; } = 1;

    /// <summary>True: traffic has resumed and a write and a read were seen through every live gateway.</summary>
    public required bool Success { get; init; }
    public required string Database { get; init; }
    public string? From { get; init; }
    public string? To { get; init; }
    public long? FormerEpoch { get; init; }
    public long? Epoch { get; init; }
    public FenceProof? Proof { get; init; }

    /// <summary>Where the new timeline begins, and where the old one ended as far as its guard could tell.</summary>
    public string? Fork { get; init; }
    public string? FormerEnd { get; init; }

    /// <summary>A planned move: everything that was ever acknowledged lies before this position, and the target had replayed it.</summary>
    public string? SealedAt { get; init; }
    public int? Timeline { get; init; }

    /// <summary>Last acknowledged write before to first after, each gateway on its own clock; the largest.</summary>
    public double? OutageMs { get; init; }
    public IReadOnlyDictionary<string, double> OutagePerGateway { get; init; } = new Dictionary<string, double>();

    /// <summary>From the command, and from the first failed check when one was known, until traffic resumed.</summary>
    public double? RtoMs { get; init; }
    public double? RtoFromDetectionMs { get; init; }
    public required double RtoObjectiveMs { get; init; }
    public required bool RtoAchieved { get; init; }
    public double? DurationMinutes { get; init; }

    /// <summary>Synchronous replication: how many of which copies held every acknowledged commit, so that none was lost; null: that was not certain.</summary>
    public string? HeldBy { get; init; }

    /// <summary>Lag of the target as it was known when the run began.</summary>
    public double? KnownLossMs { get; init; }
    public RunLost? Lost { get; init; }

    /// <summary>What a person should know: a gateway that did not confirm, a copy that had more, a step that did not end well.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];
}

/// <summary>`GET /v1/dr/status`.</summary>
public sealed record RecoveryStatus
{
    public int SchemaVersion { get; init; } = 1;

    /// <summary>DR_ENABLED, AUTO_FAILOVER_ENABLED, and `act` or `observe`.</summary>
    public required bool Enabled { get; init; }
    public required bool AutoFailover { get; init; }
    public required string Mode { get; init; }
    public string? Freeze { get; init; }

    /// <summary>Why this server only reads: hosts have obeyed another one; null: it acts.</summary>
    public string? Overtaken { get; init; }
    public required double RpoSeconds { get; init; }
    public required double RtoSeconds { get; init; }
    public required IReadOnlyList<DatabaseStatus> Databases { get; init; }

    /// <summary>The names in one sentence.</summary>
    public string? Dns { get; init; }

    /// <summary>The users' name and `primary.NAME`; empty without a DNS driver.</summary>
    public IReadOnlyList<DnsRecordStatus> DnsRecords { get; init; } = [];
}

/// <summary>A name: what it should answer, what was written, and what each server answers.</summary>
public sealed record DnsRecordStatus
{
    public required string Name { get; init; }

    /// <summary>Addresses, or one host name.</summary>
    public required IReadOnlyList<string> Wanted { get; init; }
    public required double TtlSeconds { get; init; }

    /// <summary>Null: nothing was written yet.</summary>
    public IReadOnlyList<string>? Written { get; init; }
    public DateTimeOffset? WrittenAt { get; init; }
    public string? Driver { get; init; }

    /// <summary>Whether every authoritative server answers what is wanted, and since when they do.</summary>
    public required bool Settled { get; init; }
    public DateTimeOffset? SettledAt { get; init; }

    /// <summary>Why it is taken to be so, a clause.</summary>
    public string? Reason { get; init; }
    public DateTimeOffset? TroubledSince { get; init; }

    /// <summary>What the last write ran into, and what to do.</summary>
    public string? Problem { get; init; }
    public string? Fix { get; init; }

    /// <summary>When the authoritative servers were last asked.</summary>
    public DateTimeOffset? ReadAt { get; init; }
    public required IReadOnlyList<DnsAnswerStatus> Servers { get; init; }

    /// <summary>Resolvers that the policy names; until the time to live is over they may answer what was before.</summary>
    public IReadOnlyList<DnsAnswerStatus> Resolvers { get; init; } = [];
}

/// <summary>A name server's answer.</summary>
public sealed record DnsAnswerStatus
{
    public required string Server { get; init; }

    /// <summary>Null: no answer, and `error` says why.</summary>
    public IReadOnlyList<string>? Answers { get; init; }
    public string? Error { get; init; }
    public required bool Right { get; init; }

    /// <summary>Since when it answers so, as far as was seen.</summary>
    public required DateTimeOffset Since { get; init; }
}

public sealed record DatabaseStatus
{
    public required string Name { get; init; }
    public string? Primary { get; init; }
    public long? Epoch { get; init; }
    public EpochState? State { get; init; }

    /// <summary>The run that is moving the epoch now.</summary>
    public string? Run { get; init; }

    /// <summary>What a failover to the best copy would lose now; null: unknown.</summary>
    public double? RpoNowSeconds { get; init; }
    public long? RpoNowBytes { get; init; }
    public required IReadOnlyList<CopyStatus> Regions { get; init; }

    /// <summary>How the primary's right to acknowledge ends by itself; null: it does not (`recovery.fencing: confirm`).</summary>
    public LeaseStatus? Lease { get; init; }
    public LastFailover? LastFailover { get; init; }

    /// <summary>For whom commits wait; null: there is no epoch yet.</summary>
    public ReplicationStatus? Replication { get; init; }
}

/// <summary>What a database's commits wait for, and what is certain of those that were acknowledged.</summary>
public sealed record ReplicationStatus
{
    /// <summary>`recovery.replication`: `asynchronous`, `synchronous` or `quorum`.</summary>
    public required string Mode { get; init; }

    /// <summary>Null: asynchronous, or the epoch has just begun and no copy has joined it.</summary>
    public SyncState? State { get; init; }

    /// <summary>Each acknowledged commit is held, flushed, by <see cref="Required"/> of these; 0: nothing is certain.</summary>
    public IReadOnlyList<string> Members { get; init; } = [];
    public int Required { get; init; }

    /// <summary>Since when that is so, by the server's wall clock.</summary>
    public DateTimeOffset? Since { get; init; }

    /// <summary>Value of `synchronous_standby_names` that the primary shows; null: unknown.</summary>
    public string? Setting { get; init; }
}

public sealed record CopyStatus
{
    public required string Code { get; init; }
    public required DatabaseState State { get; init; }
    public string? Detail { get; init; }
    public double? LagSeconds { get; init; }
    public long? LagBytes { get; init; }
    public bool Streaming { get; init; }
    public string? Following { get; init; }
    public int? Timeline { get; init; }
    public long? Epoch { get; init; }
    public string? Lsn { get; init; }

    /// <summary>Age of its agent's newest report; null: none.</summary>
    public double? ReportAgeSeconds { get; init; }
    public EffectCounts? Effects { get; init; }
}

public sealed record LeaseStatus
{
    /// <summary>The arbiter knows that nothing is acknowledged past its end: it may be waited for (proof `expired`).</summary>
    public required bool Enforced { get; init; }
    public required double TtlSeconds { get; init; }

    /// <summary>Until the primary's deadline, as its agent last reported; negative: past it; null: unknown.</summary>
    public double? LeftSeconds { get; init; }

    /// <summary>The primary goes on by the candidates' promises, because it does not hear the server.</summary>
    public bool ByFailsafe { get; init; }
    public string? Detail { get; init; }
}

public sealed record LastFailover
{
    public required string Run { get; init; }
    public required string State { get; init; }
    public required DateTimeOffset At { get; init; }
    public string? To { get; init; }
    public double? OutageMs { get; init; }
    public RunLost? Lost { get; init; }
}

/// <summary>What `br dr failover` ends with: SPEC's result beside the run.</summary>
public sealed record FailoverResult
{
    public int SchemaVersion { get; init; } = 1;
    public required bool Success { get; init; }
    public required double DurationMinutes { get; init; }
    public required bool RtoAchieved { get; init; }
    public RunRecord? Run { get; init; }
    public RunPlan? Plan { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(FailoverReport))]
[JsonSerializable(typeof(RecoveryStatus))]
[JsonSerializable(typeof(FailoverResult))]
public sealed partial class RecoveryJson : JsonSerializerContext;

/// <summary>Recovery over the public API; the runs themselves go through <see cref="RunbooksClient"/>.</summary>
public sealed class RecoveryClient(ApiConnection api)
{
    public Task<RecoveryStatus> StatusAsync(CancellationToken cancel) => api.GetAsync("/v1/dr/status", RecoveryJson.Default.RecoveryStatus, cancel);
}
