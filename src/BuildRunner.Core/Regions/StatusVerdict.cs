namespace BuildRunner.Core.Regions;

/// <summary>What the status sentence is made of: a server knows all of it, a saved table less.</summary>
public sealed record StatusFacts
{
    public required IReadOnlyList<StatusRegion> Regions { get; init; }
    public bool Observe { get; init; }
    public bool MultiRegion { get; init; } = true;
    public string DefaultRegion { get; init; } = "";
    public bool RecoveryEnabled { get; init; } = true;
    public StatusFreeze? Freeze { get; init; }
    public IReadOnlyList<StatusRun> Runs { get; init; } = [];
}

/// <summary>A region, with the role in force.</summary>
public sealed record StatusRegion(string Code, RegionRole Role, HealthState Health, DateTimeOffset? Since, string Reason, bool HasDatabase);

public sealed record StatusFreeze(string Reason, string By, DateTimeOffset Until);

/// <summary>A run that has not ended.</summary>
public sealed record StatusRun(string Id, string Title, string State, DateTimeOffset Since);

/// <summary>The system in one sentence: what is wrong, since when, and what to type next.</summary>
public sealed record StatusVerdict
{
    /// <summary>The worst that is so: unhealthy when users are hurt or would be, degraded when something is not as it should be.</summary>
    public required HealthState Health { get; init; }
    public required string Sentence { get; init; }
    public IReadOnlyList<StatusProblem> Problems { get; init; } = [];

    /// <summary>Switches that change what the house does by itself: freeze, observe, recovery off.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>The command to type next; null: nothing needs doing.</summary>
    public string? Next { get; init; }

    public static StatusVerdict Decide(StatusFacts facts, DateTimeOffset now)
    {
        var problems = facts.Regions
            .Where(r => r.Health != HealthState.Healthy)
            .OrderByDescending(Weight)
            .Select(r => new StatusProblem(r.Code, r.Health, Sentenced(r), r.Since, Remedy(r, facts)))
            .ToList();
        return new StatusVerdict
        {
            Health = Overall(facts),
            Sentence = Say(facts, problems, now),
            Problems = problems,
            Notes = [.. NotesOn(facts)],
            Next = facts.Runs.Count > 0 ? $"br runbook status {facts.Runs[0].Id}" : problems.FirstOrDefault()?.Next,
        };
    }

    private static HealthState Overall(StatusFacts facts)
    {
        if (facts.Regions.Count == 0 || facts.Regions.All(r => r.Health == HealthState.Unknown))
            return HealthState.Unknown;
        if (facts.Regions.Any(r => r is { Role: RegionRole.Primary, Health: HealthState.Unhealthy }) || facts.Regions.All(r => r.Health is HealthState.Unhealthy or HealthState.Unknown))
            return HealthState.Unhealthy;
        return facts.Regions.All(r => r.Health == HealthState.Healthy) ? HealthState.Healthy : HealthState.Degraded;
    }

    private static string Say(StatusFacts facts, List<StatusProblem> problems, DateTimeOffset now)
    {
        if (facts.Regions.Count == 0)
            return "No region is known yet.";
        var primary = facts.Regions.FirstOrDefault(r => r.Role == RegionRole.Primary);
        var text = problems switch
        {
            [] when facts.Regions.Count == 1 => $"{facts.Regions[0].Code} is healthy.",
            [] => $"All {facts.Regions.Count.ToString(CultureInfo.InvariantCulture)} regions are healthy{(primary is null ? "" : $"; {primary.Code} takes writes")}.",
            [var one] => $"{one.Region} is {Words.Of(one.Health)}{Ago(one.Since, now)}{(primary?.Code == one.Region ? $", and it is the primary{(one.Health == HealthState.Unhealthy ? ": writes fail" : "")}" : "")}{facts.Regions.Count switch { 1 => "", 2 => "; the other one is healthy", var n => $"; the other {(n - 1).ToString(CultureInfo.InvariantCulture)} are healthy" }}.",
            _ when problems.All(p => p.Health == HealthState.Unknown) && problems.Count == facts.Regions.Count => "Nothing is known of any region: no gateway and no agent reports.",
            _ => $"{problems.Count.ToString(CultureInfo.InvariantCulture)} of {facts.Regions.Count.ToString(CultureInfo.InvariantCulture)} regions are not healthy: {string.Join(", ", problems.Select(p => $"{p.Region} {Words.Of(p.Health)}"))}"
                 + (primary?.Health == HealthState.Unhealthy ? "; the primary is one of them: writes fail." : "."),
        };
        return facts.Runs switch
        {
            [] => text,
            [var run] => $"{run.Title} is under way ({run.State}); {text}",
            _ => $"{facts.Runs.Count.ToString(CultureInfo.InvariantCulture)} runs are under way; {text}",
        };
    }

    private static string Ago(DateTimeOffset? since, DateTimeOffset now) => since is { } at ? $" for {Words.Of(now - at)}" : "";

    private static string Sentenced(StatusRegion region) => region.Reason.Length > 0 ? region.Reason : Words.Of(region.Health);

    private static int Weight(StatusRegion region) =>
        (region.Role == RegionRole.Primary ? 1 : 0)
        + region.Health switch { HealthState.Unhealthy => 8, HealthState.Unknown => 6, HealthState.Degraded => 4, _ => 2 };

    private static string Remedy(StatusRegion region, StatusFacts facts) => region switch
    {
        { Role: RegionRole.Primary, Health: HealthState.Unhealthy, HasDatabase: true } when facts.RecoveryEnabled && Heir(facts.Regions) is { } heir => $"br dr failover --dry-run --target {heir.Code}",
        { Health: HealthState.Draining } => $"br regions undrain {region.Code}",
        _ => $"br regions show {region.Code}",
    };

    /// <summary>Who would take over: a standby before a replica, a healthy one before a degraded one.</summary>
    public static StatusRegion? Heir(IReadOnlyList<StatusRegion> regions) => regions
        .Where(r => r.HasDatabase && r.Role is RegionRole.Standby or RegionRole.Replica && r.Health is HealthState.Healthy or HealthState.Degraded)
        .OrderBy(r => r.Role == RegionRole.Standby ? 0 : 1)
        .ThenBy(r => r.Health == HealthState.Healthy ? 0 : 1)
        .FirstOrDefault();

    private static IEnumerable<string> NotesOn(StatusFacts facts)
    {
        if (facts.Freeze is { } freeze)
            yield return $"Frozen until {freeze.Until.ToString("u", CultureInfo.InvariantCulture)} by {freeze.By}: {freeze.Reason}. No automatic act.";
        if (facts.Observe)
            yield return "Mode observe: everything is measured and decided, nothing is touched.";
        if (!facts.RecoveryEnabled)
            yield return "Recovery is off (DR_ENABLED=false): no backup, drill or run starts.";
        if (!facts.MultiRegion)
            yield return $"Multi-region is off: every request goes to {facts.DefaultRegion}, and nothing fails over.";
    }
}

/// <summary>Something that is wrong, and what to type about it.</summary>
public sealed record StatusProblem(string Region, HealthState Health, string What, DateTimeOffset? Since, string Next);
