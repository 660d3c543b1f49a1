using System.Text.Json;
using System.Text.Json.Serialization;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Events;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Routing;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Routing;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Routing;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Recovery.BreakGlass;

/// <summary>
/// The store of a server that acts for another, as a journal: what it began with, what it did, and whether it has ended. It is an ordinary store in a
/// file, so that the engine and every room work on it as on any.
/// </summary>
internal static class StandInJournal
{
    public const string StartKey = "break-glass/start";
    public const string ClosedKey = "break-glass/closed";

    /// <summary>A server has adopted it: it is history, and nobody goes on with it.</summary>
    public const string HandedOverKey = "break-glass/handed-over";
    private const int LinesMax = 1000;
    private const int EventsMax = 200;

    public static async Task<StandInStart?> StartAsync(IStore store, CancellationToken cancel) =>
        await store.GetAsync(StartKey, cancel) is { } entry ? JsonSerializer.Deserialize(entry.Value.Span, StandInJson.Default.StandInStart) : null;

    /// <summary>Writes what is known into an empty store; the start last, so that half a beginning is begun anew.</summary>
    public static async Task SeedAsync(IStore store, StandInStart start, EpochRecord record, RoutingTable? table, CancellationToken cancel)
    {
        async Task PutAsync(string key, byte[] value) => await store.PutAsync(key, value, null, null, cancel);

        await PutAsync(Epochs.KeyOf(record.Database), JsonSerializer.SerializeToUtf8Bytes(record, WireJson.Default.EpochRecord));
        await PutAsync($"databases/{record.Database}/initialised", "true"u8.ToArray());
        if (table is not null)
            await PutAsync(RoutingRecords.TableKey, JsonSerializer.SerializeToUtf8Bytes(new PublishedTable(new GatewayDocument { Table = table }, ""), RoutingRecordsJson.Default.PublishedTable));
        await PutAsync(RoutingRecords.AffinityKey, JsonSerializer.SerializeToUtf8Bytes(new KeyRing { Elsewhere = true }, RoutingRecordsJson.Default.KeyRing));
        // Only what a person asks for is done without the server.
        var freeze = new Freeze("a failover without the server", start.By, start.At, start.At.AddYears(10));
        await PutAsync(PolicyKeys.Freeze, JsonSerializer.SerializeToUtf8Bytes(new FreezeRecord(1, freeze), PolicyStoreJson.Default.FreezeRecord));
        await PutAsync(StartKey, JsonSerializer.SerializeToUtf8Bytes(start, StandInJson.Default.StandInStart));
    }

    /// <summary>From now on this server orders and grants nothing any more.</summary>
    public static Task CloseAsync(IStore store, DateTimeOffset now, CancellationToken cancel) =>
        store.PutAsync(ClosedKey, JsonSerializer.SerializeToUtf8Bytes(now, StandInJson.Default.DateTimeOffset), null, null, cancel);

    /// <summary>It goes on after all.</summary>
    public static Task OpenAsync(IStore store, CancellationToken cancel) => store.DeleteAsync(ClosedKey, null, null, cancel);

    /// <summary>
    /// A fencing token above every one that was used here. The store's lock shows that its server has ended, so the lease that it may have left behind is taken in
    /// its own name (<paramref name="folder"/>), and given back.
    /// </summary>
    public static async Task<long> TokenAsync(IStore store, string folder, CancellationToken cancel)
    {
        var (own, token) = (ServerIdentity.Load(folder).Id, 0L);
        for (var time = 0; time < 2; time++)
        {
            var grant = await store.AcquireAsync(LeaderLease.Name, own, TimeSpan.FromSeconds(1), cancel) ?? throw new StoreException($"The lead in {folder} is another server's; it is no journal of a failover without the server.");
            await store.ReleaseAsync(grant, cancel);
            token = grant.Token;
        }
        return token;
    }

    public static Task HandOverAsync(IStore store, DateTimeOffset now, CancellationToken cancel) =>
        store.PutAsync(HandedOverKey, JsonSerializer.SerializeToUtf8Bytes(now, StandInJson.Default.DateTimeOffset), null, null, cancel);

    public static async Task<bool> IsHandedOverAsync(IStore store, CancellationToken cancel) => await store.GetAsync(HandedOverKey, cancel) is not null;

    /// <summary>A run that was cut off and may go on; null: none was, or a server has adopted it.</summary>
    public static async Task<RunRecord?> CutOffAsync(IStore store, CancellationToken cancel) =>
        await IsHandedOverAsync(store, cancel) ? null : (await new RunRecords(store).ListAsync(cancel)).FirstOrDefault(r => r.FinishedAt is null);

    /// <summary>It has done what it was begun for.</summary>
    public static async Task<bool> HasEndedAsync(IStore store, CancellationToken cancel) => await store.GetAsync(ClosedKey, cancel) is not null;

    /// <summary>
    /// All that a server adopts. The store's lock is the caller's, so that nobody else writes here now; a token above every one that was used makes
    /// sure that nobody who once did is obeyed later.
    /// </summary>
    public static async Task<AdoptionBundle> ReadAsync(IStore store, string folder, CancellationToken cancel)
    {
        var start = await StartAsync(store, cancel) ?? throw new StoreException("This is no journal of a failover without the server.");
        var token = await TokenAsync(store, folder, cancel);
        var runs = new List<AdoptedRun>();
        foreach (var run in await new RunRecords(store).ListAsync(cancel))
        {
            var lines = await store.ReadAsync(RunJournal.LogOf(run.Id), 0, LinesMax, cancel);
            runs.Add(new AdoptedRun(run, [.. lines.Select(l => Convert.ToBase64String(l.Value.Span))]));
        }
        var records = new List<EpochRecord>();
        foreach (var entry in await store.ListAsync("databases/", cancel))
        {
            if (entry.Key.EndsWith("/epoch", StringComparison.Ordinal) && JsonSerializer.Deserialize(entry.Value.Span, WireJson.Default.EpochRecord) is { } record)
                records.Add(record);
        }
        var events = await store.ReadLastAsync(EventLog.Log, EventsMax, cancel);
        return new AdoptionBundle
        {
            Id = start.Id,
            Host = start.Host,
            By = start.By,
            At = start.At,
            Closed = await store.GetAsync(ClosedKey, cancel) is not null,
            Token = token,
            Records = records,
            Runs = runs,
            Holds = (await store.ListAsync(RoutingRecords.HoldPrefix, cancel)).ToDictionary(h => h.Key, h => Convert.ToBase64String(h.Value.Span)),
            Events = [.. events.Select(e => JsonSerializer.Deserialize(e.Value.Span, EventStoreJson.Default.StoredEvent)).OfType<StoredEvent>().Where(IsOfTheRun)
                .Select(e => new AdoptedEvent(e.At, e.Kind, e.Actor, e.Summary))],
        };
    }

    private static bool IsOfTheRun(StoredEvent happened) =>
        happened.Kind.StartsWith("run.", StringComparison.Ordinal) || happened.Kind.StartsWith("epoch.", StringComparison.Ordinal) || happened.Kind.StartsWith("fence.", StringComparison.Ordinal);
}

/// <summary>How a server that acts for another began.</summary>
/// <param name="Id">Of this journal; nodes' tokens are made from it.</param>
/// <param name="Host">Machine on which it runs.</param>
/// <param name="By">Who gave the command.</param>
/// <param name="At">When, by that machine's clock.</param>
/// <param name="Database">What is moved.</param>
/// <param name="SeenToken">Highest fencing token that any host obeyed.</param>
/// <param name="Agents">Whom it calls together.</param>
/// <param name="Gateways">Base addresses by region.</param>
/// <param name="Confirmed">What the person was shown, line by line, before typing the confirmation.</param>
internal sealed record StandInStart(
    string Id, string Host, string By, DateTimeOffset At, string Database, long SeenToken, IReadOnlyList<PeerAddress> Agents, IReadOnlyDictionary<string, string> Gateways, IReadOnlyList<string> Confirmed)
{
    public int SchemaVersion { get; init; } = 1;
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(StandInStart))]
[JsonSerializable(typeof(DateTimeOffset))]
internal sealed partial class StandInJson : JsonSerializerContext;
