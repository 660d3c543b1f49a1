using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Recovery;

/// <summary>Whether observers agree that the region that takes writes is lost. It says that a failover is wanted; only a proof says that it is allowed.</summary>
/// <param name="Lost">A majority of enough observers saw more than the allowed number of checks fail in a row.</param>
/// <param name="Reason">One sentence for people: who saw what, or why that is not enough.</param>
/// <param name="Observers">Observers that look at the region and report.</param>
/// <param name="Outside">Those of them that stand outside the region.</param>
/// <param name="Against">Those of them that see it lost.</param>
/// <param name="Well">Enough of them look, and most see its gateway, its database and at least one of its services up.</param>
public sealed record FailoverVerdict(bool Lost, string Reason, int Observers, int Outside, int Against, bool Well)
{
    /// <summary>Fewer observers give no verdict: one alone raises no alarm, and a region does not judge itself.</summary>
    public const int ObserversMin = 3;
    public const int OutsideMin = 2;

    /// <summary>SPEC's `region_health_check_failures > 3`.</summary>
    public const int FailuresMax = 3;

    /// <summary>Judges a region by what it cannot do without: its gateway, its database where writes go, or all of its services.</summary>
    /// <param name="region">The region that takes writes.</param>
    /// <param name="observers">Who looks at it.</param>
    /// <param name="failuresMax">More failed checks in a row than these are a loss.</param>
    /// <param name="unasked">
    /// How long its primary has not asked the server for its lease, when that is a whole one: the server's own observation, and no more than one among them.
    /// </param>
    public static FailoverVerdict Decide(string region, IReadOnlyList<Observer> observers, int failuresMax = FailuresMax, TimeSpan? unasked = null)
    {
        var looking = HealthVerdicts.Believed(observers).Where(o => o.Sightings.Any(s => s.Region == region)).ToList();
        var outside = looking.Count(o => o.Region != region);
        var seen = looking.Select(o => (o.Name, Fault: Fault(region, o, failuresMax) ?? (o.Region is null ? Unasked(unasked) : null))).Where(o => o.Fault is not null).ToList();
        var enough = looking.Count >= ObserversMin && outside >= OutsideMin;
        var lost = enough && seen.Count * 2 > looking.Count;
        var reason = seen.Count == 0 ? $"{looking.Count} observers look at {region}, and none sees it lost"
            : !enough ? $"{seen.Count} of {looking.Count} observers see {region} lost ({seen[0].Fault}); {ObserversMin} must report, {OutsideMin} of them from outside it"
            : $"{seen.Count} of {looking.Count} observers see {region} lost: {string.Join("; ", seen.Select(s => $"{s.Name}: {s.Fault}"))}";
        return new FailoverVerdict(lost, reason, looking.Count, outside, seen.Count, enough && looking.Count(o => IsWell(region, o) && (o.Region is not null || unasked is null)) * 2 > looking.Count);
    }

    private static bool IsWell(string region, Observer observer)
    {
        var sightings = observer.Sightings.Where(s => s.Region == region).ToList();
        var services = sightings.Where(s => s.Service is not (HealthVerdicts.Gateway or HealthVerdicts.Database)).ToList();
        return sightings.Except(services).All(s => s.Up == true) && (services.Count == 0 || services.Exists(s => s.Up == true));
    }

    private static string? Fault(string region, Observer observer, int failuresMax)
    {
        var sightings = observer.Sightings.Where(s => s.Region == region).ToList();
        if (sightings.Find(s => s.Service is HealthVerdicts.Gateway or HealthVerdicts.Database && s.FailuresInRow > failuresMax) is { } vital)
            return $"{vital.Service}, {Checks(vital)}";
        var services = sightings.Where(s => s.Service is not (HealthVerdicts.Gateway or HealthVerdicts.Database)).ToList();
        return services.Count > 0 && services.TrueForAll(s => s.FailuresInRow > failuresMax) ? $"every service, {Checks(services[0])}" : null;
    }

    private static string? Unasked(TimeSpan? unasked) =>
        unasked is { } silence ? string.Create(CultureInfo.InvariantCulture, $"its lease, which nobody has asked for in {silence.TotalSeconds:0.#} s") : null;

    private static string Checks(Sighting sighting) => $"{sighting.FailuresInRow} checks failed in a row ({sighting.Error ?? "no answer"})";
}
