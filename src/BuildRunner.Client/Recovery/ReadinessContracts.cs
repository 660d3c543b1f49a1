using System.Text.Json.Serialization;
using BuildRunner.Core.Recovery;

namespace BuildRunner.Client.Recovery;

/// <summary>`GET /v1/dr/readiness`, and the record `readiness` in the store: whether recovery would work tonight, and every reason.</summary>
public sealed record ReadinessReport
{
    public int SchemaVersion { get; init; } = 1;
    public required ReadinessVerdict Verdict { get; init; }

    /// <summary>The verdict and its first reason, for people.</summary>
    public required string Sentence { get; init; }

    /// <summary>When it was last evaluated; null: not yet.</summary>
    public DateTimeOffset? EvaluatedAt { get; init; }
    public double? AgeSeconds { get; init; }

    /// <summary>Worst first.</summary>
    public IReadOnlyList<ReadinessFinding> Findings { get; init; } = [];

    /// <summary>Each runbook as it was evaluated.</summary>
    public IReadOnlyList<ReadinessRunbookItem> Runbooks { get; init; } = [];

    /// <summary>What was evaluated: hashes of the policy and of the runbooks.</summary>
    public string Fingerprint { get; init; } = "";
}

/// <summary>A runbook; <paramref name="Verdict"/> is `ready`, `refused`, `needs_inputs` or `bad`.</summary>
public sealed record ReadinessRunbookItem(string Name, string? Hash, string Verdict);

/// <summary>`POST /v1/dr/readiness`: evaluate now.</summary>
public sealed record ReadinessRequest
{
    public int SchemaVersion { get; init; } = 1;
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ReadinessReport))]
[JsonSerializable(typeof(ReadinessRequest))]
public sealed partial class ReadinessJson : JsonSerializerContext;

/// <summary>Readiness over the public API.</summary>
public static class ReadinessCalls
{
    /// <summary>The newest evaluation.</summary>
    public static Task<ReadinessReport> ReadinessAsync(this ApiConnection api, CancellationToken cancel) =>
        api.GetAsync("/v1/dr/readiness", ReadinessJson.Default.ReadinessReport, cancel);

    /// <summary>Evaluates now and answers what came of it; needs the role operator.</summary>
    public static Task<ReadinessReport> EvaluateReadinessAsync(this ApiConnection api, CancellationToken cancel) =>
        api.SendAsync(HttpMethod.Post, "/v1/dr/readiness", new ReadinessRequest(), ReadinessJson.Default.ReadinessRequest, ReadinessJson.Default.ReadinessReport, cancel);
}
