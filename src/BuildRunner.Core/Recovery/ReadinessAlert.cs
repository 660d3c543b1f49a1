using BuildRunner.Core.Alerting;

namespace BuildRunner.Core.Recovery;

/// <summary>The alert that follows from readiness: raised today for what would fail tonight, cleared when it is well again.</summary>
public sealed record ReadinessAlert(Alert? Raise, string? Clear)
{
    public const string Key = "readiness/recovery";

    /// <summary>What goes by itself within this time is no news.</summary>
    public static readonly TimeSpan Lasting = TimeSpan.FromSeconds(60);

    /// <param name="readiness">The newest evaluation, its findings dated.</param>
    /// <param name="primaryLost">Whether the primary's region is lost now: that has an alert of its own, and its cure is under way.</param>
    /// <param name="now">The time.</param>
    public static ReadinessAlert Decide(Readiness readiness, bool primaryLost, DateTimeOffset now)
    {
        if (readiness.Verdict is ReadinessVerdict.Ready or ReadinessVerdict.ReadyWithWarnings)
            return new(null, readiness.Sentence);
        var red = readiness.Findings.Where(f => f.Severity == ReadinessSeverity.Red && f.Since is { } since && now - since >= Lasting).ToList();
        if (red.Count == 0 || primaryLost)
            return new(null, null);
        var runbooks = red.Select(f => f.Runbook).OfType<string>().Distinct(StringComparer.Ordinal).ToList();
        var title = runbooks.Count > 0 ? $"Recovery would fail tonight: {string.Join(", ", runbooks)}" : "Recovery is not ready";
        return new(new Alert(Key, AlertSeverity.Warning, title, string.Join('\n', red.Select(f => $"{f.Reason} {f.Remedy}")), "br dr readiness")
        {
            Regions = [.. red.Select(f => f.Region).OfType<string>().Distinct(StringComparer.Ordinal)],
        }, null);
    }
}
