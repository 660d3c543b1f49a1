using System.Text.Json.Serialization;
using BuildRunner.Core.Recovery;

namespace BuildRunner.Client.Recovery;

/// <summary>`GET /v1/dr/drills`: newest first.</summary>
public sealed record DrillsAnswer
{
    public int SchemaVersion { get; init; } = 1;
    public required IReadOnlyList<DrillRecord> Drills { get; init; }
}

/// <summary>A drill's end, for `br dr drill run --output json`.</summary>
public sealed record DrillAnswer
{
    public int SchemaVersion { get; init; } = 1;
    public required DrillRecord Drill { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(DrillRecord))]
[JsonSerializable(typeof(DrillState))]
[JsonSerializable(typeof(DrillsAnswer))]
[JsonSerializable(typeof(DrillAnswer))]
public sealed partial class DrillsJson : JsonSerializerContext;

public static class DrillsClient
{
    public static Task<DrillsAnswer> DrillsAsync(this ApiConnection api, CancellationToken cancel) => api.GetAsync("/v1/dr/drills", DrillsJson.Default.DrillsAnswer, cancel);
}
