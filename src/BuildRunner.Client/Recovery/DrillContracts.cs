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

/// <summary>`GET /v1/dr/scenarios`: in the order of names, and what of the folder could not be read.</summary>
public sealed record ScenariosAnswer
{
    public int SchemaVersion { get; init; } = 1;
    public required IReadOnlyList<ScenarioSummary> Scenarios { get; init; }
    public IReadOnlyList<string> Bad { get; init; } = [];
}

/// <param name="Name">By which it is run.</param>
/// <param name="Title">What it tries.</param>
/// <param name="Expect">What must come of it.</param>
/// <param name="Faults">What is broken, one line each.</param>
/// <param name="Reviewed">When a person last read it.</param>
public sealed record ScenarioSummary(string Name, string Title, DrillExpectation Expect, IReadOnlyList<string> Faults, DateOnly? Reviewed);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(DrillRecord))]
[JsonSerializable(typeof(DrillState))]
[JsonSerializable(typeof(DrillsAnswer))]
[JsonSerializable(typeof(DrillAnswer))]
[JsonSerializable(typeof(ScenariosAnswer))]
public sealed partial class DrillsJson : JsonSerializerContext;

public static class DrillsClient
{
    public static Task<ScenariosAnswer> ScenariosAsync(this ApiConnection api, CancellationToken cancel) => api.GetAsync("/v1/dr/scenarios", DrillsJson.Default.ScenariosAnswer, cancel);

    public static Task<DrillsAnswer> DrillsAsync(this ApiConnection api, CancellationToken cancel) => api.GetAsync("/v1/dr/drills", DrillsJson.Default.DrillsAnswer, cancel);
}
