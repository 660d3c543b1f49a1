using System.Text.Json;
using System.Text.Json.Serialization;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>
/// What the house keeps about names in the store: `dns/names/NAME`, what the embedded server answers, and `dns/written/NAME`, what was last written
/// by whichever driver. Names are never removed, so that the sum of their versions, the zone's serial, only grows.
/// </summary>
internal sealed class DnsBook(IStore store)
{
    private const string Names = "dns/names/";
    private const string Written = "dns/written/";

    public async Task<(IReadOnlyList<DnsRecord> Records, uint Serial)> ZoneAsync(CancellationToken cancel)
    {
        var entries = await store.ListAsync(Names, cancel);
        return ([.. entries.Select(e => Read(e, DnsJson.Default.DnsNameEntry).Record)], (uint)(1 + entries.Sum(e => e.Version)));
    }

    /// <summary>False: it was so already.</summary>
    /// <exception cref="StoreFencedException">Another server leads.</exception>
    public Task<bool> PutAsync(DnsRecord record, Fence? fence, CancellationToken cancel) =>
        PutAsync(Names + record.Name, JsonSerializer.SerializeToUtf8Bytes(new DnsNameEntry { Record = record }, DnsJson.Default.DnsNameEntry), fence, cancel);

    public async Task<DnsWritten?> WrittenAsync(string name, CancellationToken cancel) =>
        await store.GetAsync(Written + name, cancel) is { } entry ? Read(entry, DnsJson.Default.DnsWritten) : null;

    public Task<bool> PutAsync(DnsWritten written, Fence? fence, CancellationToken cancel) =>
        PutAsync(Written + written.Name, JsonSerializer.SerializeToUtf8Bytes(written, DnsJson.Default.DnsWritten), fence, cancel);

    private async Task<bool> PutAsync(string key, byte[] bytes, Fence? fence, CancellationToken cancel)
    {
        if (await store.GetAsync(key, cancel) is { } entry && entry.Value.Span.SequenceEqual(bytes))
            return false;
        if (await store.PutAsync(key, bytes, null, fence, cancel) is StoreWrite.Fenced fenced)
            throw new StoreFencedException($"Another server leads now (fencing token {fenced.Current}).");
        return true;
    }

    private static T Read<T>(StoreEntry entry, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type) =>
        JsonSerializer.Deserialize(entry.Value.Span, type) ?? throw new JsonException($"{entry.Key} holds null.");
}

/// <summary>A name of the embedded server, as it is stored.</summary>
internal sealed record DnsNameEntry
{
    public int SchemaVersion { get; init; } = 1;
    public required DnsRecord Record { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(DnsNameEntry))]
[JsonSerializable(typeof(DnsWritten))]
[JsonSerializable(typeof(ExecRequest))]
[JsonSerializable(typeof(ExecAnswer))]
[JsonSerializable(typeof(CloudflareBatch))]
[JsonSerializable(typeof(CloudflareAnswer<List<CloudflareRecord>>))]
[JsonSerializable(typeof(CloudflareAnswer<List<CloudflareZone>>))]
[JsonSerializable(typeof(CloudflareAnswer<JsonElement>))]
internal sealed partial class DnsJson : JsonSerializerContext;
