using BuildRunner.Client.Regions;
using BuildRunner.Core.Regions;

namespace BuildRunner.Dashboard.Regions;

/// <summary>Values as the pages show them.</summary>
internal static class Look
{
    public static string Class(HealthState health) => $"is-{Words.Of(health)}";

    public static string Mark(HealthState health) => health switch
    {
        HealthState.Healthy => "●",
        HealthState.Degraded => "▲",
        HealthState.Draining => "○",
        HealthState.Unhealthy => "■",
        _ => "◆",
    };

    public static string Latency(RegionItem region) => region.LatencyMs is { } ms ? string.Create(CultureInfo.InvariantCulture, $"{ms:0.#} ms") : "unknown";

    public static string Lag(RegionItem region) => region.Replication switch
    {
        null => "no database",
        { State: "primary" or "sealed" } => "writes here",
        { LagSeconds: { } seconds } => string.Create(CultureInfo.InvariantCulture, $"{seconds:0.0} s"),
        { LagBytes: { } bytes } => Words.Bytes(bytes),
        _ => "unknown",
    };
}
