namespace BuildRunner.Core.Alerting;

/// <summary>A run as far as it matters for incidents.</summary>
public sealed record RunFacts(string Id, string Runbook, string Actor, string Reason, IReadOnlyList<string> Regions);

/// <summary>On which timeline a run's lines belong.</summary>
public abstract record RunAttachment
{
    /// <summary>Runbooks that nobody runs without trouble: one that finds no incident opens one.</summary>
    private static readonly string[] Response = ["failover"];

    /// <summary>The name that automatic acts bear; a run by anybody else is a person at work.</summary>
    public const string Automatic = "server";

    private RunAttachment() { }

    public sealed record To(string Incident) : RunAttachment;

    public sealed record Opens : RunAttachment;

    public sealed record Nowhere : RunAttachment;

    /// <summary>
    /// The newest incident that is not over and shares a region; else the newest critical one; else the newest: what people run meanwhile is part of
    /// it. What runs by itself, such as a backup, is part of it only when it shares a region or is a response to trouble.
    /// </summary>
    public static RunAttachment Decide(RunFacts run, IReadOnlyList<Incident> incidents)
    {
        if (incidents.FirstOrDefault(i => i.Runs.Any(r => r.Id == run.Id)) is { } known)
            return new To(known.Id);
        var best = incidents.Where(i => !i.Ended)
            .OrderByDescending(i => i.Regions.Any(run.Regions.Contains))
            .ThenByDescending(i => i.Severity == AlertSeverity.Critical)
            .ThenByDescending(i => i.OpenedAt).ThenByDescending(i => i.Id, StringComparer.Ordinal)
            .FirstOrDefault();
        var responds = Response.Contains(run.Runbook, StringComparer.Ordinal);
        if (best is null)
            return responds ? new Opens() : new Nowhere();
        return responds || run.Actor != Automatic || best.Regions.Any(run.Regions.Contains) ? new To(best.Id) : new Nowhere();
    }
}
