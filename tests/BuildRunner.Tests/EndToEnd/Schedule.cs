using BuildRunner.Dev;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>A fault as the supervisor is asked for it, when, and for how long.</summary>
/// <param name="After">From the beginning of the schedule.</param>
/// <param name="For">Until what it broke is mended.</param>
/// <param name="Path">What is posted to the supervisor; `{region}` stands for the region.</param>
/// <param name="OfPrimary">It meets the region that is the primary then; else the region of <paramref name="Other"/>.</param>
/// <param name="Other">Which of the other regions with a database, by number.</param>
internal sealed record ScheduledFault(TimeSpan After, TimeSpan For, string Path, bool OfPrimary, int Other)
{
    public bool OfServer => Path.StartsWith("/v1/server/", StringComparison.Ordinal);

    /// <summary>Nothing is answered; a network that refuses answers.</summary>
    public bool IsSilence => Path.Contains("/partition?", StringComparison.Ordinal);

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{After.TotalSeconds:0.0} s +{For.TotalSeconds:0.0} s {Path}{(OfServer ? "" : OfPrimary ? " (the primary)" : $" (copy {Other})")}");
}

/// <summary>Which faults a seed stands for.</summary>
internal static class Schedule
{
    private static readonly string[] Faults =
    [
        "/v1/regions/{region}/partition",
        "/v1/regions/{region}/partition?silent=true",
        "/v1/regions/{region}/partition?way=In",
        "/v1/regions/{region}/partition?way=Out",
        "/v1/regions/{region}/freeze?part=Agent",
        "/v1/regions/{region}/freeze?part=Guard",
        "/v1/regions/{region}/freeze?part=Agent&part=Guard",
        "/v1/regions/{region}/freeze?part=Postgres",
        "/v1/regions/{region}/freeze?part=Region",
        "/v1/regions/{region}/kill",
        "/v1/server/freeze",
        "/v1/server/restart",
    ];

    public static IReadOnlyList<ScheduledFault> Of(int seed)
    {
        var random = new Random(seed);
        var faults = new List<ScheduledFault>();
        var at = TimeSpan.Zero;
        for (var count = random.Next(1, 4); count > 0; count--)
        {
            faults.Add(new(at, TimeSpan.FromSeconds(random.Next(20, 140) / 10.0), Faults[random.Next(Faults.Length)], random.Next(10) < 7, random.Next(2)));
            at += TimeSpan.FromSeconds(random.Next(0, 60) / 10.0);
        }
        return faults;
    }

    /// <summary>The region that a fault meets, given who the primary is.</summary>
    public static string RegionOf(ScheduledFault fault, string primary) =>
        fault.OfPrimary ? primary : DevRegion.All.Where(r => r.HasDatabase && r.Code != primary).ElementAt(fault.Other).Code;
}
