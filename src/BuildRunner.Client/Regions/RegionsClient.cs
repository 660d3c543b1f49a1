using System.Text.Json.Serialization;

namespace BuildRunner.Client.Regions;

/// <summary>Regions, their health, and the status of the whole.</summary>
public sealed class RegionsClient(ApiConnection api)
{
    public Task<RegionsAnswer> ListAsync(string? from, CancellationToken cancel) =>
        api.GetAsync($"/v1/regions{Query(("from", from))}", RegionsJson.Default.RegionsAnswer, cancel);

    /// <summary>Only the regions that are not healthy, unless <paramref name="all"/>.</summary>
    public Task<RegionsAnswer> HealthAsync(bool all, string? from, CancellationToken cancel) =>
        api.GetAsync($"/v1/regions/health{Query(("all", all ? "true" : "false"), ("from", from))}", RegionsJson.Default.RegionsAnswer, cancel);

    public Task<RegionAnswer> ShowAsync(string code, string? from, CancellationToken cancel) =>
        api.GetAsync($"/v1/regions/{Uri.EscapeDataString(code)}{Query(("from", from))}", RegionsJson.Default.RegionAnswer, cancel);

    public Task<StatusAnswer> StatusAsync(CancellationToken cancel) => api.GetAsync("/v1/status", RegionsJson.Default.StatusAnswer, cancel);

    /// <summary>The status now, and again whenever it has changed, at most four times a second.</summary>
    public IAsyncEnumerable<StatusAnswer> WatchAsync(CancellationToken cancel) => api.StreamAsync("/v1/status/watch", RegionsJson.Default.StatusAnswer, cancel);

    private static string Query(params (string Name, string? Value)[] parts)
    {
        var text = string.Join('&', parts.Where(p => p.Value is not null).Select(p => $"{p.Name}={Uri.EscapeDataString(p.Value!)}"));
        return text.Length == 0 ? "" : $"?{text}";
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(RegionsAnswer))]
[JsonSerializable(typeof(RegionAnswer))]
[JsonSerializable(typeof(StatusAnswer))]
public sealed partial class RegionsJson : JsonSerializerContext;
