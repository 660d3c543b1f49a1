using System.Text.Json.Serialization;
using BuildRunner.Core.Routing;

namespace BuildRunner.Client.Routing;

/// <summary>The routing table in force, and why a request goes where it goes.</summary>
public sealed class RoutingClient(ApiConnection api)
{
    public Task<RoutingTable> TableAsync(CancellationToken cancel) => api.GetAsync("/v1/routing/table", WireJson.Default.RoutingTable, cancel);

    /// <summary>Runs the gateways' own choice for a request; <paramref name="from"/> names the gateway that takes it, null: the default region's.</summary>
    public Task<RouteExplanation> ExplainAsync(string ip, string path, string? method, string? from, string? regionCookie, CancellationToken cancel)
    {
        var query = new List<string> { $"ip={Uri.EscapeDataString(ip)}", $"path={Uri.EscapeDataString(path)}" };
        if (method is not null)
            query.Add($"method={Uri.EscapeDataString(method)}");
        if (from is not null)
            query.Add($"from={Uri.EscapeDataString(from)}");
        if (regionCookie is not null)
            query.Add($"region_cookie={Uri.EscapeDataString(regionCookie)}");
        return api.GetAsync($"/v1/route/explain?{string.Join('&', query)}", RoutingJson.Default.RouteExplanation, cancel);
    }
}

/// <summary>Where a request goes and why; the reasons stand in the order in which they counted.</summary>
public sealed record RouteExplanation
{
    public int SchemaVersion { get; init; } = 1;
    public required long TableVersion { get; init; }
    public required string Ip { get; init; }

    /// <summary>Null: the address' country is not known.</summary>
    public string? Country { get; init; }
    public required string Method { get; init; }
    public required string Path { get; init; }

    /// <summary>Region whose gateway takes the request.</summary>
    public required string From { get; init; }
    public string? Service { get; init; }
    public string? Route { get; init; }
    public bool Write { get; init; }

    /// <summary>`send`, `hold` (waits while a run moves the primary) or `refuse`.</summary>
    public required string Decision { get; init; }

    /// <summary>Null when refused.</summary>
    public string? Region { get; init; }
    public required RoutePrecision Precision { get; init; }

    /// <summary>The region nearest the address.</summary>
    public string? Home { get; init; }

    /// <summary>Where a read goes once when its connection fails.</summary>
    public string? Retry { get; init; }

    /// <summary>Epoch that a write carries.</summary>
    public long? Epoch { get; init; }
    public string? Track { get; init; }

    /// <summary>Instances that may get it.</summary>
    public IReadOnlyList<string> Instances { get; init; } = [];

    /// <summary>Status and problem of a refusal.</summary>
    public int? Status { get; init; }
    public string? Problem { get; init; }
    public required IReadOnlyList<string> Reasons { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(RouteExplanation))]
public sealed partial class RoutingJson : JsonSerializerContext;
