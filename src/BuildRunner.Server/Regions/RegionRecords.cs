using System.Text.Json;
using System.Text.Json.Serialization;
using BuildRunner.Core.Regions;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Regions;

/// <summary>What the store keeps of regions: `regions/CODE/control` (what people asked) and `regions/CODE/health` (the state last told, and since when).</summary>
internal sealed class RegionRecords(IStore store)
{
    private const string Prefix = "regions/";

    public static string ControlKey(string region) => $"{Prefix}{region}/control";

    public async Task<(IReadOnlyDictionary<string, RegionControl> Controls, IReadOnlyDictionary<string, HealthRecord> Health)> ReadAsync(CancellationToken cancel)
    {
        var controls = new Dictionary<string, RegionControl>(StringComparer.Ordinal);
        var health = new Dictionary<string, HealthRecord>(StringComparer.Ordinal);
        foreach (var entry in await store.ListAsync(Prefix, cancel))
        {
            if (entry.Key[Prefix.Length..].Split('/') is not [var region, var kind])
                continue;
            if (kind == "control" && JsonSerializer.Deserialize(entry.Value.Span, RegionRecordsJson.Default.RegionControl) is { } control)
                controls[region] = control;
            else if (kind == "health" && JsonSerializer.Deserialize(entry.Value.Span, RegionRecordsJson.Default.HealthRecord) is { } record)
                health[region] = record;
        }
        return (controls, health);
    }

    public async Task<(RegionControl Control, long Version)> ControlAsync(string region, CancellationToken cancel) =>
        await store.GetAsync(ControlKey(region), cancel) is { } entry
            ? (JsonSerializer.Deserialize(entry.Value.Span, RegionRecordsJson.Default.RegionControl) ?? new RegionControl(), entry.Version)
            : (new RegionControl(), 0);

    public Task<StoreWrite> WriteAsync(string region, RegionControl control, long expected, Fence? fence, CancellationToken cancel) =>
        store.PutAsync(ControlKey(region), JsonSerializer.SerializeToUtf8Bytes(control, RegionRecordsJson.Default.RegionControl), expected, fence, cancel);

    public Task<StoreWrite> WriteAsync(string region, HealthRecord health, Fence? fence, CancellationToken cancel) =>
        store.PutAsync($"{Prefix}{region}/health", JsonSerializer.SerializeToUtf8Bytes(health, RegionRecordsJson.Default.HealthRecord), null, fence, cancel);
}

/// <summary>The state last told of a region, so that `since` outlives the server.</summary>
internal sealed record HealthRecord(HealthState Health, DateTimeOffset Since)
{
    public int SchemaVersion { get; init; } = 1;
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(RegionControl))]
[JsonSerializable(typeof(HealthRecord))]
internal sealed partial class RegionRecordsJson : JsonSerializerContext;
