using System.Text.Json.Serialization;

namespace BuildRunner.Client.Recovery;

/// <summary>`GET /v1/dr/sheet`: the page to keep on paper.</summary>
public sealed record RecoverySheet
{
    public int SchemaVersion { get; init; } = 1;
    public required DateTimeOffset At { get; init; }

    /// <summary>The page, its last line with its own hash.</summary>
    public required string Text { get; init; }

    /// <summary>SHA-256 of the page without that line, in lower-case hex.</summary>
    public required string Hash { get; init; }
    public string? KeyFingerprint { get; init; }
    public required string PolicyHash { get; init; }
    public required string RunbookHash { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(RecoverySheet))]
public sealed partial class SheetJson : JsonSerializerContext;

/// <summary>The sheet over the public API.</summary>
public static class SheetCalls
{
    /// <param name="api">The server.</param>
    /// <param name="server">Its address as people reach it; stands on the page.</param>
    /// <param name="cancel">Stops it.</param>
    public static Task<RecoverySheet> SheetAsync(this ApiConnection api, string server, CancellationToken cancel) =>
        api.GetAsync($"/v1/dr/sheet?server={Uri.EscapeDataString(server)}", SheetJson.Default.RecoverySheet, cancel);
}
