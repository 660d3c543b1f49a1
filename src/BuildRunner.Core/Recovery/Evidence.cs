namespace BuildRunner.Core.Recovery;

/// <summary>What an auditor gets: what was promised, what was tried, what happened, who agreed, and what is missing. Times are UTC; null is unknown.</summary>
public sealed record Evidence
{
    public int SchemaVersion { get; init; } = 1;

    /// <summary>The server that says so, and its version.</summary>
    public required string Server { get; init; }
    public required string Version { get; init; }
    public required DateTimeOffset From { get; init; }
    public required DateTimeOffset To { get; init; }
    public required DateTimeOffset MadeAt { get; init; }
    public required string MadeBy { get; init; }

    /// <summary>In the order of time: what was in force when, since whose change.</summary>
    public required IReadOnlyList<EvidenceObjectives> Objectives { get; init; }
    public required IReadOnlyList<DrillRecord> Drills { get; init; }

    /// <summary>Every run that moved, or tried to move, a primary: failovers, switchovers, failbacks; those of drills too.</summary>
    public required IReadOnlyList<EvidenceMove> Moves { get; init; }
    public required IReadOnlyList<EvidenceBackup> Backups { get; init; }
    public required IReadOnlyList<EvidenceBackup> RestoreTests { get; init; }
    public required IReadOnlyList<EvidenceApproval> Approvals { get; init; }

    /// <summary>Each thing that this period does not prove, one sentence each; never left out.</summary>
    public required IReadOnlyList<string> Gaps { get; init; }
}

/// <param name="From">In force from this on.</param>
/// <param name="To">Until this; null: it still is.</param>
/// <param name="By">Who applied the policy.</param>
/// <param name="Policy">Hash of its text.</param>
/// <param name="RtoMinutes">Recovery time objective; null: it was not recorded then.</param>
/// <param name="RpoMinutes">Recovery point objective.</param>
public sealed record EvidenceObjectives(DateTimeOffset From, DateTimeOffset? To, string By, string Policy, double? RtoMinutes, double? RpoMinutes);

/// <summary>A run that moved a primary.</summary>
public sealed record EvidenceMove
{
    public required string Run { get; init; }
    public required string Runbook { get; init; }
    public required DateTimeOffset StartedAt { get; init; }
    public DateTimeOffset? FinishedAt { get; init; }

    /// <summary>`succeeded`, `failed`, `rolled_back`, …</summary>
    public required string State { get; init; }
    public required string Actor { get; init; }
    public required string Reason { get; init; }
    public string? From { get; init; }
    public string? To { get; init; }
    public string? Proof { get; init; }

    /// <summary>The drill that it belongs to; null: it was for real.</summary>
    public string? Drill { get; init; }
    public double? RtoMinutes { get; init; }
    public double? OutageMs { get; init; }
    public long? LostCommits { get; init; }
    public double? LostSeconds { get; init; }
}

/// <summary>A backup, or a try to restore one; there are none until backups are part of the house.</summary>
public sealed record EvidenceBackup(string Id, DateTimeOffset At, string Kind, string Outcome);

/// <param name="Run">The run that waited.</param>
/// <param name="Step">The step.</param>
/// <param name="At">When it was said.</param>
/// <param name="Actor">Who.</param>
/// <param name="Said">`approved`, `rejected` or `confirmed` (done by hand).</param>
/// <param name="Note">In their words.</param>
public sealed record EvidenceApproval(string Run, string Step, DateTimeOffset At, string Actor, string Said, string? Note);

/// <summary>How often a kind of drill was due in the period, by the calendar in force at its end.</summary>
public sealed record EvidenceDue(string Kind, int Times, string? NotYet);
