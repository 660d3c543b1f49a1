using System.Text.Json;
using System.Text.Json.Serialization;
using BuildRunner.Core.Alerting;
using BuildRunner.Server.Events;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Alerting;

/// <summary>Incidents, their timelines and the alerts behind them, as the store keeps them; every change is a line and an event.</summary>
internal sealed class IncidentBook(IStore store, IEventLog events, TimeProvider time)
{
    public const string Prefix = "incidents/";
    public const string AlertPrefix = "alerts/";
    public const int LinesMax = 5000;
    private const int TriesMax = 10;

    /// <summary>Newest first.</summary>
    public async Task<IReadOnlyList<Incident>> ListAsync(CancellationToken cancel) =>
        [.. (await store.ListAsync(Prefix, cancel)).Select(ReadIncident).OrderByDescending(i => i.OpenedAt).ThenByDescending(i => i.Id, StringComparer.Ordinal)];

    public async Task<Incident?> GetAsync(string id, CancellationToken cancel) => await store.GetAsync(Prefix + id, cancel) is { } entry ? ReadIncident(entry) : null;

    /// <summary>Each line once, the oldest first.</summary>
    public async Task<IReadOnlyList<TimelineEntry>> TimelineAsync(string id, CancellationToken cancel) =>
        TimelineEntry.InOrder((await store.ReadLastAsync(Prefix + id, LinesMax, cancel)).Select(record =>
            JsonSerializer.Deserialize(record.Value.Span, IncidentJson.Default.TimelineEntry) ?? throw new JsonException($"A line of {id} is null.")));

    /// <summary>Writes an incident down; nothing when it is there already, so that an opening that was cut short can be repeated.</summary>
    public async Task OpenAsync(Incident incident, string actor, Fence? fence, CancellationToken cancel)
    {
        var written = Check(await store.PutAsync(Prefix + incident.Id, Bytes(incident), 0, fence, cancel));
        var text = $"{incident.Title}. {incident.Details}".TrimEnd();
        await AddLineAsync(incident.Id, new TimelineEntry { At = incident.OpenedAt, Kind = TimelineKind.State, Actor = actor, Text = $"Opened, {AlertDecision.Word(incident.Severity)}: {text}", Source = "opened" }, fence, cancel);
        if (written)
            await TellAsync("opened", incident.Id, actor, $"Incident {incident.Id} ({AlertDecision.Word(incident.Severity)}): {incident.Title}", cancel);
    }

    /// <summary>Decides on the incident as it is now and writes what comes of it; null when there is no such incident.</summary>
    public async Task<IncidentMove?> MoveAsync(string id, Func<Incident, IncidentMove> decide, TimelineKind kind, string what, string actor, string? words, Fence? fence, CancellationToken cancel)
    {
        for (var tries = 0; tries < TriesMax; tries++)
        {
            if (await store.GetAsync(Prefix + id, cancel) is not { } entry)
                return null;
            var move = decide(ReadIncident(entry));
            if (move is not IncidentMove.Changed changed)
                return move;
            if (!Check(await store.PutAsync(Prefix + id, Bytes(changed.Incident), entry.Version, fence, cancel)))
                continue;
            var said = string.IsNullOrWhiteSpace(words) ? changed.Said : $"{changed.Said} {words.Trim()}";
            await AddLineAsync(id, new TimelineEntry { At = time.GetUtcNow(), Kind = kind, Actor = actor, Text = said }, fence, cancel);
            await TellAsync(what, id, actor, $"{id}: {said}", cancel);
            return move;
        }
        throw new StoreException($"{id} was changed by somebody else {TriesMax} times in a row; try again.");
    }

    /// <summary>How far a run's journal stands on the timeline; no line, no event.</summary>
    public async Task FollowedAsync(string id, string run, long position, bool finished, Fence? fence, CancellationToken cancel)
    {
        for (var tries = 0; tries < TriesMax; tries++)
        {
            if (await store.GetAsync(Prefix + id, cancel) is not { } entry)
                return;
            if (Check(await store.PutAsync(Prefix + id, Bytes(IncidentMove.Followed(ReadIncident(entry), run, position, finished)), entry.Version, fence, cancel)))
                return;
        }
    }

    /// <summary>A full timeline takes no more: 5,000 lines are more than anybody reads.</summary>
    public async Task AddLineAsync(string id, TimelineEntry line, Fence? fence, CancellationToken cancel)
    {
        var last = await store.ReadLastAsync(Prefix + id, 1, cancel);
        if (last is [{ Position: >= LinesMax }])
            return;
        Check(await store.AppendAsync(Prefix + id, JsonSerializer.SerializeToUtf8Bytes(line with { Text = Texts.Cut(line.Text, TimelineEntry.TextMax) }, IncidentJson.Default.TimelineEntry), null, fence, cancel));
    }

    public Task TellAsync(string what, string id, string actor, string summary, CancellationToken cancel) =>
        events.RecordAsync($"incident.{what}", actor, summary, new Dictionary<string, string> { ["incident"] = id }, cancel);

    public async Task<AlertRecord?> AlertAsync(string key, CancellationToken cancel) => await store.GetAsync(AlertPrefix + key, cancel) is { } entry ? ReadAlert(entry) : null;

    /// <summary>Firing first, then the newest.</summary>
    public async Task<IReadOnlyList<AlertRecord>> AlertsAsync(CancellationToken cancel, string kind = "") =>
        [.. (await store.ListAsync(AlertPrefix + kind, cancel)).Select(ReadAlert).OrderBy(a => a.State).ThenByDescending(a => a.ChangedAt).ThenBy(a => a.Key, StringComparer.Ordinal)];

    public async Task PutAsync(AlertRecord alert, Fence? fence, CancellationToken cancel) =>
        Check(await store.PutAsync(AlertPrefix + alert.Key, JsonSerializer.SerializeToUtf8Bytes(alert, IncidentJson.Default.AlertRecord), null, fence, cancel));

    public async Task PruneAsync(Fence? fence, CancellationToken cancel)
    {
        foreach (var id in IncidentRetention.Excess(await ListAsync(cancel)))
            await store.DeleteAsync(Prefix + id, null, fence, cancel);
        foreach (var key in IncidentRetention.Excess(await AlertsAsync(cancel)))
            await store.DeleteAsync(AlertPrefix + key, null, fence, cancel);
    }

    /// <summary>True when written, false on a conflict.</summary>
    private static bool Check(StoreWrite write) => write switch
    {
        StoreWrite.Fenced fenced => throw new Runbooks.StoreFencedException($"Another server leads now (fencing token {fenced.Current})."),
        StoreWrite.Done => true,
        _ => false,
    };

    private static byte[] Bytes(Incident incident) => JsonSerializer.SerializeToUtf8Bytes(incident, IncidentJson.Default.Incident);

    private static Incident ReadIncident(StoreEntry entry) =>
        JsonSerializer.Deserialize(entry.Value.Span, IncidentJson.Default.Incident) ?? throw new JsonException($"{entry.Key} holds null.");

    private static AlertRecord ReadAlert(StoreEntry entry) =>
        JsonSerializer.Deserialize(entry.Value.Span, IncidentJson.Default.AlertRecord) ?? throw new JsonException($"{entry.Key} holds null.");
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(Incident))]
[JsonSerializable(typeof(TimelineEntry))]
[JsonSerializable(typeof(AlertRecord))]
[JsonSerializable(typeof(TimelineCursor))]
internal sealed partial class IncidentJson : JsonSerializerContext;
