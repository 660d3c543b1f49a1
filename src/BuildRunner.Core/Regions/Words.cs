using BuildRunner.Core.Databases;

namespace BuildRunner.Core.Regions;

/// <summary>Values as people read them.</summary>
public static class Words
{
    /// <summary>`4 s`, `3 min`, `2 h 5 min`, `3 d 4 h`.</summary>
    public static string Of(TimeSpan span)
    {
        span = span < TimeSpan.Zero ? TimeSpan.Zero : span;
        return span switch
        {
            { TotalSeconds: < 90 } => string.Create(CultureInfo.InvariantCulture, $"{Math.Floor(span.TotalSeconds):0} s"),
            { TotalMinutes: < 90 } => string.Create(CultureInfo.InvariantCulture, $"{Math.Floor(span.TotalMinutes):0} min"),
            { TotalHours: < 36 } => string.Create(CultureInfo.InvariantCulture, $"{Math.Floor(span.TotalHours):0} h {span.Minutes} min"),
            _ => string.Create(CultureInfo.InvariantCulture, $"{span.Days} d {span.Hours} h"),
        };
    }

    public static string Of(DatabaseState state) => state switch
    {
        DatabaseState.Absent => "absent",
        DatabaseState.Unfenced => "unfenced",
        DatabaseState.Starting => "starting",
        DatabaseState.Standby => "a standby",
        DatabaseState.Promoting => "being promoted",
        DatabaseState.Primary => "a primary",
        DatabaseState.Sealed => "sealed",
        DatabaseState.Fenced => "fenced",
        DatabaseState.Rejoining => "rejoining",
        _ => "in an unknown state",
    };

    public static string Of(HealthState state) => state switch
    {
        HealthState.Healthy => "healthy",
        HealthState.Degraded => "degraded",
        HealthState.Draining => "draining",
        HealthState.Unhealthy => "unhealthy",
        _ => "unknown",
    };

    public static string Of(RegionRole role) => role switch
    {
        RegionRole.Primary => "primary",
        RegionRole.Replica => "replica",
        RegionRole.Standby => "standby",
        _ => "edge",
    };

    /// <summary>Bytes in binary units: `312 B`, `1.4 MiB`.</summary>
    public static string Bytes(long bytes)
    {
        string[] units = ["B", "KiB", "MiB", "GiB", "TiB"];
        var (value, unit) = ((double)bytes, 0);
        for (; value >= 1024 && unit < units.Length - 1; unit++)
            value /= 1024;
        return string.Create(CultureInfo.InvariantCulture, $"{value:0.#} {units[unit]}");
    }
}
