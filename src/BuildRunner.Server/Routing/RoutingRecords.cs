using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using BuildRunner.Client;
using BuildRunner.Client.Routing;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Routing;

/// <summary>What the store keeps of routing: the last published document, the holds, and the keys of `br-affinity`.</summary>
internal sealed class RoutingRecords(IStore store)
{
    public const string TableKey = "routing/table";
    public const string HoldPrefix = "holds/";
    public const string AffinityKey = "secrets/affinity";

    public async Task<(PublishedTable? Published, long Version)> PublishedAsync(CancellationToken cancel) =>
        await store.GetAsync(TableKey, cancel) is { } entry ? (JsonSerializer.Deserialize(entry.Value.Span, RoutingRecordsJson.Default.PublishedTable), entry.Version) : (null, 0);

    public Task<StoreWrite> WriteAsync(PublishedTable published, long expected, Fence fence, CancellationToken cancel) =>
        store.PutAsync(TableKey, JsonSerializer.SerializeToUtf8Bytes(published, RoutingRecordsJson.Default.PublishedTable), expected, fence, cancel);

    public async Task<IReadOnlyDictionary<string, HoldRecord>> HoldsAsync(CancellationToken cancel) =>
        (await store.ListAsync(HoldPrefix, cancel))
            .Select(e => JsonSerializer.Deserialize(e.Value.Span, RoutingRecordsJson.Default.HoldRecord))
            .OfType<HoldRecord>()
            .ToDictionary(h => h.Database, StringComparer.Ordinal);

    public async Task<(HoldRecord? Hold, long Version)> HoldAsync(string database, CancellationToken cancel) =>
        await store.GetAsync(HoldPrefix + database, cancel) is { } entry ? (JsonSerializer.Deserialize(entry.Value.Span, RoutingRecordsJson.Default.HoldRecord), entry.Version) : (null, 0);

    public Task<StoreWrite> WriteAsync(HoldRecord hold, long expected, Fence? fence, CancellationToken cancel) =>
        store.PutAsync(HoldPrefix + hold.Database, JsonSerializer.SerializeToUtf8Bytes(hold, RoutingRecordsJson.Default.HoldRecord), expected, fence, cancel);

    public Task<StoreWrite> DeleteHoldAsync(string database, long expected, Fence? fence, CancellationToken cancel) =>
        store.DeleteAsync(HoldPrefix + database, expected, fence, cancel);

    /// <summary>The database's epoch record as the room Databases keeps it.</summary>
    public async Task<IReadOnlyDictionary<string, EpochRecord>> EpochsAsync(CancellationToken cancel) =>
        (await store.ListAsync("databases/", cancel))
            .Where(e => e.Key.EndsWith("/epoch", StringComparison.Ordinal))
            .Select(e => JsonSerializer.Deserialize(e.Value.Span, WireJson.Default.EpochRecord))
            .OfType<EpochRecord>()
            .ToDictionary(r => r.Database, StringComparer.Ordinal);

    /// <summary>The keys in force, newest first: made at the first start, and a new one a day; the ones before stay for as long as a cookie may live.</summary>
    public async Task<IReadOnlyList<string>> AffinityKeysAsync(DateTimeOffset now, Fence fence, CancellationToken cancel)
    {
        var entry = await store.GetAsync(AffinityKey, cancel);
        var ring = entry is null ? new KeyRing() : JsonSerializer.Deserialize(entry.Value.Span, RoutingRecordsJson.Default.KeyRing) ?? new KeyRing();
        var turned = ring.Turn(now, static () => Convert.ToBase64String(RandomNumberGenerator.GetBytes(32)));
        if (ReferenceEquals(turned, ring))
            return [.. ring.Keys.Select(k => k.Key)];
        // Whoever was faster has made the keys: the next pass reads them.
        return await store.PutAsync(AffinityKey, JsonSerializer.SerializeToUtf8Bytes(turned, RoutingRecordsJson.Default.KeyRing), entry?.Version ?? 0, fence, cancel) is StoreWrite.Done
            ? [.. turned.Keys.Select(k => k.Key)]
            : [.. ring.Keys.Select(k => k.Key)];
    }
}

/// <summary>The last published document, without the keys, and a fingerprint of them: so that a restart of the server makes no new table.</summary>
internal sealed record PublishedTable(GatewayDocument Document, string KeysHash)
{
    public int SchemaVersion { get; init; } = 1;
    public string? SummonHash { get; init; }
}

internal sealed record HoldRecord(string Database, string HoldId, DateTimeOffset At)
{
    public int SchemaVersion { get; init; } = 1;
}

/// <summary>Keys of `br-affinity`, newest first.</summary>
internal sealed record KeyRing
{
    private const int KeysMax = 3;
    private static readonly TimeSpan TurnEvery = TimeSpan.FromHours(24);

    public int SchemaVersion { get; init; } = 1;
    public IReadOnlyList<RingKey> Keys { get; init; } = [];

    /// <summary>The gateways have keys that this server does not know, and keep them: it makes none.</summary>
    public bool Elsewhere { get; init; }

    /// <summary>Itself while its newest key is young enough.</summary>
    public KeyRing Turn(DateTimeOffset now, Func<string> make) =>
        Elsewhere || (Keys.Count > 0 && now - Keys[0].Made < TurnEvery) ? this : this with { Keys = [new RingKey(make(), now), .. Keys.Take(KeysMax - 1)] };

    public override string ToString() => $"KeyRing of {Keys.Count}";
}

internal sealed record RingKey(string Key, DateTimeOffset Made)
{
    public override string ToString() => $"RingKey of {Made:O}";
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(PublishedTable))]
[JsonSerializable(typeof(HoldRecord))]
[JsonSerializable(typeof(KeyRing))]
internal sealed partial class RoutingRecordsJson : JsonSerializerContext;
