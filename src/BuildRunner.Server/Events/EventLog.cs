using System.Text.Json;
using System.Text.Json.Serialization;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Events;

internal sealed partial class EventLog(IStore store, TimeProvider time, ILogger<EventLog> logger) : IEventLog
{
    public const string Log = "events";
    public const int SummaryMax = 2000;
    private const int DataMax = 64;

    public async Task RecordAsync(string kind, string actor, string summary, IReadOnlyDictionary<string, string>? data, CancellationToken cancel)
    {
        try { await AppendAsync(kind, actor, summary, data, cancel); }
        catch (StoreException error) { LogNotRecorded(logger, error, kind, actor, summary); }
    }

    public async Task<EventEntry> AppendAsync(string kind, string actor, string summary, IReadOnlyDictionary<string, string>? data, CancellationToken cancel)
    {
        var stored = new StoredEvent
        {
            At = time.GetUtcNow(),
            Kind = kind,
            Actor = actor,
            Summary = Cut(summary),
            Data = data is null ? null : new Dictionary<string, string>(data.Take(DataMax).Select(pair => new KeyValuePair<string, string>(pair.Key, Cut(pair.Value)))),
        };
        var write = await store.AppendAsync(Log, JsonSerializer.SerializeToUtf8Bytes(stored, EventStoreJson.Default.StoredEvent), expected: null, fence: null, cancel);
        return write is StoreWrite.Done done
            ? EntryOf(done.Version, stored)
            : throw new InvalidOperationException("An append without condition was refused.");
    }

    public async Task<IReadOnlyList<EventEntry>> ListAsync(int limit, CancellationToken cancel) =>
        [.. (await store.ReadLastAsync(Log, limit, cancel)).Select(Read)];

    public async Task<IReadOnlyList<EventEntry>> ReadAsync(long after, int limit, CancellationToken cancel) =>
        [.. (await store.ReadAsync(Log, after, limit, cancel)).Select(Read)];

    private static EventEntry Read(LogRecord record) =>
        EntryOf(record.Position, JsonSerializer.Deserialize(record.Value.Span, EventStoreJson.Default.StoredEvent) ?? throw new JsonException($"Event {record.Position} is null."));

    private static EventEntry EntryOf(long id, StoredEvent stored) => new(id, stored.At, stored.Kind, stored.Actor, stored.Summary, stored.Data);

    private static string Cut(string text) => text.Length <= SummaryMax ? text : string.Concat(text.AsSpan(0, SummaryMax - 1), "…");

    [LoggerMessage(Level = LogLevel.Error, Message = "An event could not be recorded: {Kind} by {Actor}: {Summary}")]
    private static partial void LogNotRecorded(ILogger logger, Exception error, string kind, string actor, string summary);
}

internal sealed record StoredEvent
{
    public int SchemaVersion { get; init; } = 1;
    public required DateTimeOffset At { get; init; }
    public required string Kind { get; init; }
    public required string Actor { get; init; }
    public required string Summary { get; init; }
    public Dictionary<string, string>? Data { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(StoredEvent))]
internal sealed partial class EventStoreJson : JsonSerializerContext;
