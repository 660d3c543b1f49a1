using System.Text.Json;
using System.Text.Json.Serialization;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>The embedded responder's records, in the store under `dns/NAME/TYPE`.</summary>
internal sealed class DnsRecords(IStore store)
{
    public const string Prefix = "dns/";

    public async Task<IReadOnlyList<(DnsRecordSet Set, long Version)>> ListAsync(CancellationToken cancel) =>
        [.. (await store.ListAsync(Prefix, cancel)).Select(e => (JsonSerializer.Deserialize(e.Value.Span, DnsJson.Default.DnsRecordSet) ?? throw new JsonException($"{e.Key} holds null."), e.Version))];

    public async Task PutAsync(DnsRecordSet set, Fence? fence, CancellationToken cancel)
    {
        var bytes = JsonSerializer.SerializeToUtf8Bytes(set, DnsJson.Default.DnsRecordSet);
        var key = $"{Prefix}{set.Name}/{set.Type}";
        if (await store.GetAsync(key, cancel) is { } entry && entry.Value.Span.SequenceEqual(bytes))
            return;
        Written(await store.PutAsync(key, bytes, null, fence, cancel));
    }

    public async Task DeleteAsync(string name, string type, Fence? fence, CancellationToken cancel) =>
        Written(await store.DeleteAsync($"{Prefix}{name}/{type}", null, fence, cancel));

    private static void Written(StoreWrite write)
    {
        if (write is StoreWrite.Fenced fenced)
            throw new Runbooks.StoreFencedException($"Another server leads now (fencing token {fenced.Current}).");
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(DnsRecordSet))]
internal sealed partial class DnsJson : JsonSerializerContext;
