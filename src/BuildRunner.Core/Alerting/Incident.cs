using System.Text.Json.Serialization;

namespace BuildRunner.Core.Alerting;

/// <summary>Trouble that somebody must look after, from its opening to its resolution; kept under `incidents/{id}`, its timeline in the log of that name.</summary>
public sealed record Incident
{
    public int SchemaVersion { get; init; } = 1;
    public required string Id { get; init; }
    public required string Title { get; init; }

    /// <summary>The worst that it was.</summary>
    public required AlertSeverity Severity { get; init; }
    public IncidentState State { get; init; } = IncidentState.Open;
    public required DateTimeOffset OpenedAt { get; init; }
    public DateTimeOffset? AcknowledgedAt { get; init; }
    public string? AcknowledgedBy { get; init; }

    /// <summary>When users were no longer hurt.</summary>
    public DateTimeOffset? MitigatedAt { get; init; }
    public DateTimeOffset? ResolvedAt { get; init; }
    public string? ResolvedBy { get; init; }

    /// <summary>Key of the alert that opened it; null: a run did.</summary>
    public string? Alert { get; init; }

    /// <summary>The run that opened it; null: an alert did.</summary>
    public string? Run { get; init; }
    public string Details { get; init; } = "";

    /// <summary>A command to paste; null: none is known that helps.</summary>
    public string? Command { get; init; }
    public IReadOnlyList<string> Regions { get; init; } = [];
    public IReadOnlyList<string> Services { get; init; } = [];

    /// <summary>Runs whose lines belong on its timeline, the oldest first.</summary>
    public IReadOnlyList<IncidentRun> Runs { get; init; } = [];

    /// <summary>What shall be done so that it does not happen again.</summary>
    public IReadOnlyList<IncidentAction> Actions { get; init; } = [];

    [JsonIgnore]
    public bool Ended => State == IncidentState.Resolved;
}

/// <summary>Where an incident stands. People's scripts rely on these words.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<IncidentState>))]
public enum IncidentState
{
    Open,

    /// <summary>A person looks after it.</summary>
    Acknowledged,

    /// <summary>Users are no longer hurt; what remains is work in peace.</summary>
    Mitigated,
    Resolved,
}

/// <summary>A run on an incident's timeline: how far its journal has been copied there.</summary>
public sealed record IncidentRun(string Id, long Position, bool Finished);

/// <summary>A piece of work that came out of an incident. Open and past its due date, it is overdue.</summary>
public sealed record IncidentAction
{
    public required int Number { get; init; }
    public required string Text { get; init; }
    public required string Owner { get; init; }
    public required DateOnly Due { get; init; }
    public required DateTimeOffset AddedAt { get; init; }
    public required string AddedBy { get; init; }
    public DateTimeOffset? DoneAt { get; init; }
    public string? DoneBy { get; init; }

    public bool Overdue(DateOnly today) => DoneAt is null && Due < today;
}
