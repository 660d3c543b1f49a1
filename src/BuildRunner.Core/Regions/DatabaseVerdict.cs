using BuildRunner.Core.Databases;

namespace BuildRunner.Core.Regions;

/// <summary>How healthy a region's copy of the database is, by what its agent reads off it.</summary>
internal static class DatabaseVerdict
{
    public static ServiceVerdict Decide(string region, DatabaseFacts facts)
    {
        var (health, reason) = State(region, facts);
        return new ServiceVerdict { Service = HealthVerdicts.Database, Health = health, Reason = reason };
    }

    private static (HealthState, string) State(string region, DatabaseFacts facts)
    {
        if (facts.Reading is not { } reading)
        {
            return (HealthState.Unknown, facts.ReportAge is { } age
                ? $"its agent has not reported for {Words.Of(age)}"
                : "its agent has not reported");
        }
        if (reading.State == DatabaseState.Unknown)
            return (HealthState.Unknown, reading.Detail ?? "its agent cannot say what it is doing");
        return facts.Primary == region ? AsPrimary(reading, facts) : AsCopy(reading, facts);
    }

    private static (HealthState, string) AsPrimary(DatabaseReading reading, DatabaseFacts facts) => reading switch
    {
        { State: DatabaseState.Unfenced, AcceptsConnections: true } => (HealthState.Degraded, With("is unfenced", reading)),
        { State: DatabaseState.Primary, AcceptsConnections: true } => (HealthState.Healthy, ""),
        { State: DatabaseState.Sealed } => (HealthState.Degraded, "sealed: commits wait"),
        { State: DatabaseState.Fenced } when facts.Moving => (HealthState.Degraded, "stopped: a run moves the database"),
        // The marker is there before the epoch opens: what was read without it is older than the epoch.
        { MarkerEpoch: { } marker } when marker < facts.Epoch => (HealthState.Degraded, string.Create(CultureInfo.InvariantCulture, $"its report is older than epoch {facts.Epoch}")),
        { State: DatabaseState.Promoting } => (HealthState.Degraded, "is being promoted"),
        { State: DatabaseState.Primary } => (HealthState.Unhealthy, With("takes no connections", reading)),
        _ => (HealthState.Unhealthy, With($"is {Words.Of(reading.State)}, and should be the primary of epoch {facts.Epoch.ToString(CultureInfo.InvariantCulture)}", reading)),
    };

    private static (HealthState, string) AsCopy(DatabaseReading reading, DatabaseFacts facts) => reading.State switch
    {
        DatabaseState.Primary when facts.Primary is null => (HealthState.Degraded, "is primary, and no epoch is on record yet"),
        DatabaseState.Primary or DatabaseState.Sealed => (HealthState.Unhealthy, $"runs as a primary, but epoch {facts.Epoch.ToString(CultureInfo.InvariantCulture)} belongs to {facts.Primary}"),
        DatabaseState.Fenced => (HealthState.Unhealthy, With("is fenced", reading)),
        DatabaseState.Unfenced => (HealthState.Degraded, With("is unfenced", reading)),
        DatabaseState.Absent => (HealthState.Unhealthy, With("has no copy yet", reading)),
        DatabaseState.Starting or DatabaseState.Promoting or DatabaseState.Rejoining => (HealthState.Degraded, With($"is {Words.Of(reading.State)}", reading)),
        _ when !reading.AcceptsConnections => (HealthState.Unhealthy, With("takes no connections", reading)),
        _ when !reading.Streaming => (HealthState.Degraded, With($"does not stream from {reading.Following ?? facts.Primary ?? "a primary"}", reading)),
        _ when reading.LagSeconds is null => (HealthState.Degraded, "its lag is unknown"),
        _ when reading.LagSeconds > facts.LagMax.TotalSeconds => (HealthState.Degraded, string.Create(CultureInfo.InvariantCulture, $"is {reading.LagSeconds:0.0} s behind, {facts.LagMax.TotalSeconds:0.#} s allowed")),
        _ => (HealthState.Healthy, ""),
    };

    private static string With(string clause, DatabaseReading reading) => reading.Detail is { Length: > 0 } detail ? $"{clause} ({detail})" : clause;
}
