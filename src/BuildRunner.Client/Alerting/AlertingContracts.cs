using System.Text.Json.Serialization;
using BuildRunner.Core.Alerting;

namespace BuildRunner.Client.Alerting;

/// <summary>`GET /v1/incidents`, newest first.</summary>
public sealed record IncidentList
{
    public int SchemaVersion { get; init; } = 1;
    public required IReadOnlyList<Incident> Incidents { get; init; }
}

/// <summary>`GET /v1/incidents/{id}`, and the answer to every change of one.</summary>
public sealed record IncidentDetail
{
    public int SchemaVersion { get; init; } = 1;
    public required Incident Incident { get; init; }

    /// <summary>Each line once, the oldest first.</summary>
    public IReadOnlyList<TimelineEntry> Timeline { get; init; } = [];

    /// <summary>Who was told, and who could not be.</summary>
    public IReadOnlyList<DeliveryItem> Deliveries { get; init; } = [];
}

/// <summary>A notification through one channel.</summary>
public sealed record DeliveryItem
{
    public required string Channel { get; init; }

    /// <summary>`opened`, `worsened`, `returned`, `resolved`, `note`.</summary>
    public required string What { get; init; }
    public required DeliveryState State { get; init; }
    public required int Attempts { get; init; }
    public required DateTimeOffset At { get; init; }
    public DateTimeOffset? EndedAt { get; init; }
    public string? Error { get; init; }
}

/// <summary>`GET /v1/alerts`: what fires, and whether the channels work.</summary>
public sealed record AlertList
{
    public int SchemaVersion { get; init; } = 1;
    public required IReadOnlyList<AlertRecord> Alerts { get; init; }
    public required IReadOnlyList<ChannelItem> Channels { get; init; }
}

/// <summary>A channel and how its newest deliveries went.</summary>
public sealed record ChannelItem
{
    public required string Name { get; init; }
    public required string Type { get; init; }

    /// <summary>Why nothing can go through it, such as a type without a driver; null: nothing stands against it.</summary>
    public string? Problem { get; init; }
    public int Pending { get; init; }
    public int Failed { get; init; }
    public DateTimeOffset? LastSentAt { get; init; }
    public string? LastError { get; init; }
}

/// <summary>`POST /v1/incidents/{id}/ack`, `…/mitigate`, `…/notes`: the text is required for a note only.</summary>
public sealed record IncidentNote
{
    public int SchemaVersion { get; init; } = 1;
    public string? Text { get; init; }
}

/// <summary>`POST /v1/incidents/{id}/resolve`.</summary>
public sealed record IncidentResolution
{
    public int SchemaVersion { get; init; } = 1;
    public string? Text { get; init; }

    /// <summary>Over although its alert still fires; what fires on opens a new incident.</summary>
    public bool Force { get; init; }
}

/// <summary>`POST /v1/incidents/{id}/actions`.</summary>
public sealed record IncidentActionOrder
{
    public int SchemaVersion { get; init; } = 1;
    public required string Text { get; init; }
    public required string Owner { get; init; }
    public required DateOnly Due { get; init; }
}

/// <summary>`GET /v1/incidents/{id}/postmortem`.</summary>
public sealed record PostMortemDocument
{
    public int SchemaVersion { get; init; } = 1;
    public required string Incident { get; init; }
    public required string Markdown { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(IncidentList))]
[JsonSerializable(typeof(IncidentDetail))]
[JsonSerializable(typeof(AlertList))]
[JsonSerializable(typeof(IncidentNote))]
[JsonSerializable(typeof(IncidentResolution))]
[JsonSerializable(typeof(IncidentActionOrder))]
[JsonSerializable(typeof(PostMortemDocument))]
[JsonSerializable(typeof(Delivery))]
public sealed partial class AlertingJson : JsonSerializerContext;
