using System.Text.Json.Serialization;

namespace BuildRunner.Core.Alerting;

/// <summary>A line of an incident's timeline.</summary>
public sealed record TimelineEntry
{
    public const int TextMax = 2000;

    public int SchemaVersion { get; init; } = 1;

    /// <summary>When it happened, by the server's wall clock.</summary>
    public required DateTimeOffset At { get; init; }
    public required TimelineKind Kind { get; init; }
    public required string Actor { get; init; }
    public required string Text { get; init; }

    /// <summary>Where the line was copied from (`run/ID#7`, `event/42`), so that one copied twice shows once; null: it was written here.</summary>
    public string? Source { get; init; }

    /// <summary>A timeline as it is read: each line once, in the order of time.</summary>
    public static IReadOnlyList<TimelineEntry> InOrder(IEnumerable<TimelineEntry> lines)
    {
        var copied = new HashSet<string>(StringComparer.Ordinal);
        return [.. lines.Where(line => line.Source is null || copied.Add(line.Source)).OrderBy(line => line.At)];
    }
}

/// <summary>What a line of a timeline tells of.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<TimelineKind>))]
public enum TimelineKind
{
    /// <summary>The incident's own state.</summary>
    State,
    Alert,
    Run,
    Step,

    /// <summary>A person's words.</summary>
    Note,
    Notification,
    Action,

    /// <summary>Something else that happened meanwhile: a verdict on a region, a policy, a freeze.</summary>
    Event,
}
