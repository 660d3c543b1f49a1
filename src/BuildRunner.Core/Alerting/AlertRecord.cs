using System.Text.Json.Serialization;

namespace BuildRunner.Core.Alerting;

/// <summary>What is remembered of an alert, under `alerts/{key}`.</summary>
public sealed record AlertRecord
{
    public int SchemaVersion { get; init; } = 1;
    public required string Key { get; init; }
    public required AlertState State { get; init; }
    public required AlertSeverity Severity { get; init; }
    public required string Title { get; init; }
    public required string Details { get; init; }
    public string? Command { get; init; }
    public IReadOnlyList<string> Regions { get; init; } = [];
    public IReadOnlyList<string> Services { get; init; } = [];

    /// <summary>The incident that it belongs to; a raise after that one was resolved opens another.</summary>
    public required string Incident { get; init; }

    /// <summary>When it was first raised for this incident.</summary>
    public required DateTimeOffset RaisedAt { get; init; }

    /// <summary>When its state or text last changed.</summary>
    public required DateTimeOffset ChangedAt { get; init; }

    /// <summary>Since when the trouble is away; null while it is there.</summary>
    public DateTimeOffset? QuietSince { get; init; }

    /// <summary>When it came back after having been away, the newest last; old ones are forgotten.</summary>
    public IReadOnlyList<DateTimeOffset> Returns { get; init; } = [];
}

/// <summary>Where an alert stands.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<AlertState>))]
public enum AlertState
{
    Firing,

    /// <summary>The trouble is away, but not yet for long enough to be believed.</summary>
    Clearing,
    Cleared,
}
