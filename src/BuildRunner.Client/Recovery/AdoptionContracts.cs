using System.Text.Json.Serialization;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;

namespace BuildRunner.Client.Recovery;

/// <summary>`POST /v1/dr/adopt`: what was done without the server, for it to take over.</summary>
public sealed record AdoptionBundle
{
    public int SchemaVersion { get; init; } = 1;
    public required string Id { get; init; }
    public required string Host { get; init; }
    public required string By { get; init; }
    public required DateTimeOffset At { get; init; }

    /// <summary>The server that wrote it has ended by itself and orders nothing any more.</summary>
    public required bool Closed { get; init; }

    /// <summary>Above every fencing token under which it ordered anything.</summary>
    public required long Token { get; init; }
    public required IReadOnlyList<EpochRecord> Records { get; init; }
    public required IReadOnlyList<AdoptedRun> Runs { get; init; }

    /// <summary>Holds that stand, by key, as they are stored (base64).</summary>
    public IReadOnlyDictionary<string, string> Holds { get; init; } = new Dictionary<string, string>();
    public IReadOnlyList<AdoptedEvent> Events { get; init; } = [];
}

/// <param name="Record">Its summary.</param>
/// <param name="Lines">Its journal, line by line (base64).</param>
public sealed record AdoptedRun(RunRecord Record, IReadOnlyList<string> Lines);

public sealed record AdoptedEvent(DateTimeOffset At, string Kind, string Actor, string Summary);

/// <summary>What the server made of it.</summary>
public sealed record AdoptionAnswer
{
    public int SchemaVersion { get; init; } = 1;
    public required IReadOnlyList<EpochRecord> Records { get; init; }

    /// <summary>Runs that were added here; one that had not ended goes on by itself.</summary>
    public required IReadOnlyList<RunRecord> Runs { get; init; }

    /// <summary>It had adopted this journal before, and nothing is new.</summary>
    public required bool Already { get; init; }
    public required long Token { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(AdoptionBundle))]
[JsonSerializable(typeof(AdoptionAnswer))]
public sealed partial class AdoptionJson : JsonSerializerContext;

/// <summary>Adoption over the public API.</summary>
public static class AdoptionCalls
{
    public static Task<AdoptionAnswer> AdoptAsync(this ApiConnection api, AdoptionBundle bundle, CancellationToken cancel) =>
        api.SendAsync(HttpMethod.Post, "/v1/dr/adopt", bundle, AdoptionJson.Default.AdoptionBundle, AdoptionJson.Default.AdoptionAnswer, cancel);
}
