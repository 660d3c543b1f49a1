using System.Text.Json.Serialization;

namespace BuildRunner.Client.Events;

/// <summary>Reads what happened, and adds a note of one's own.</summary>
public sealed class EventsClient(ApiConnection api)
{
    /// <summary>The newest events, the oldest of them first.</summary>
    public Task<EventList> ListAsync(int limit, CancellationToken cancel) =>
        api.GetAsync($"/v1/events?limit={limit.ToString(CultureInfo.InvariantCulture)}", EventsJson.Default.EventList, cancel);

    public Task<EventRow> AddAsync(string summary, CancellationToken cancel) =>
        api.SendAsync(HttpMethod.Post, "/v1/events", new EventNote { Summary = summary }, EventsJson.Default.EventNote, EventsJson.Default.EventRow, cancel);
}

public sealed record EventList
{
    public int SchemaVersion { get; init; } = 1;
    public required IReadOnlyList<EventRow> Events { get; init; }
}

/// <summary>Something that happened; <see cref="Id"/> counts from 1 without gaps.</summary>
public sealed record EventRow
{
    public required long Id { get; init; }
    public required DateTimeOffset At { get; init; }

    /// <summary>A closed word such as `run.started`, `region.health`, `policy.applied`, `token.created`, `note`.</summary>
    public required string Kind { get; init; }

    /// <summary>Name of the token, or of the part of BuildRunner, that did it.</summary>
    public required string Actor { get; init; }
    public required string Summary { get; init; }
    public IReadOnlyDictionary<string, string>? Data { get; init; }
}

/// <summary>`POST /v1/events`: a person writes down what no machine saw.</summary>
public sealed record EventNote
{
    public required string Summary { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(EventList))]
[JsonSerializable(typeof(EventNote))]
public sealed partial class EventsJson : JsonSerializerContext;
