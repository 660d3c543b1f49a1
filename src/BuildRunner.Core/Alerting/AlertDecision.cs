using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Alerting;

/// <summary>How long an alert must be quiet before it counts as cleared.</summary>
public sealed record AlertRules
{
    /// <summary>An alert that is away for this long has cleared; one that comes back before is the same trouble.</summary>
    public TimeSpan Quiet { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>An alert that came back more than <see cref="FlapMax"/> times in this time flaps: it must be quiet for as long.</summary>
    public TimeSpan FlapWindow { get; init; } = TimeSpan.FromMinutes(15);
    public int FlapMax { get; init; } = 4;

    /// <summary>A text that moves with every look is written down this often at most.</summary>
    public TimeSpan TextInterval { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>What becomes of an alert that is raised, cleared, or looked at again. Pure: the caller brings the time and the new incident's id.</summary>
public abstract record AlertDecision
{
    private const int ReturnsKept = 32;

    private AlertDecision() { }

    /// <summary>One clause for the timeline.</summary>
    public required string Reason { get; init; }

    /// <summary>Nothing changes.</summary>
    public sealed record Keep : AlertDecision;

    /// <summary>New trouble: it opens the incident that the record names.</summary>
    public sealed record Open(AlertRecord Record) : AlertDecision;

    /// <summary>The same trouble is back while its incident is not resolved.</summary>
    public sealed record Return(AlertRecord Record) : AlertDecision;

    /// <summary>The same trouble in other words; <paramref name="Worse"/>: its severity has risen.</summary>
    public sealed record Change(AlertRecord Record, bool Worse) : AlertDecision;

    /// <summary>The trouble is away; whether it stays so is not known yet.</summary>
    public sealed record Calm(AlertRecord Record) : AlertDecision;

    /// <summary>It has been away for long enough.</summary>
    public sealed record Settle(AlertRecord Record) : AlertDecision;

    /// <param name="known">What is remembered under the alert's key; null: nothing.</param>
    /// <param name="incident">State of the incident that the record names; null: it is gone.</param>
    /// <param name="alert">What is raised now.</param>
    /// <param name="newIncident">Id for an incident, when this opens one.</param>
    /// <param name="now">The time.</param>
    /// <param name="rules">The damper.</param>
    public static AlertDecision Raise(AlertRecord? known, IncidentState? incident, Alert alert, string newIncident, DateTimeOffset now, AlertRules rules)
    {
        if (known is null || incident is null or IncidentState.Resolved)
        {
            return new Open(new AlertRecord
            {
                Key = alert.Key,
                State = AlertState.Firing,
                Severity = alert.Severity,
                Title = alert.Title,
                Details = alert.Details,
                Command = alert.Command,
                Regions = alert.Regions,
                Services = alert.Services,
                Incident = newIncident,
                RaisedAt = now,
                ChangedAt = now,
            })
            { Reason = alert.Title };
        }

        var worse = alert.Severity > known.Severity;
        var told = known with { Severity = alert.Severity, Title = alert.Title, Details = alert.Details, Command = alert.Command, Regions = alert.Regions, Services = alert.Services };
        if (known.State != AlertState.Firing)
        {
            var away = now - (known.QuietSince ?? now);
            return new Return(told with
            {
                State = AlertState.Firing,
                QuietSince = null,
                ChangedAt = now,
                Returns = [.. known.Returns.Where(at => now - at < rules.FlapWindow).Append(now).TakeLast(ReturnsKept)],
            })
            { Reason = $"back after {Words.Of(away)}: {alert.Title}" };
        }
        var changed = alert.Severity != known.Severity || alert.Title != known.Title || alert.Command != known.Command;
        var moved = alert.Details != known.Details && now - known.ChangedAt >= rules.TextInterval;
        return changed || moved
            ? new Change(told with { ChangedAt = now }, worse) { Reason = worse ? $"now {Word(alert.Severity)}: {alert.Title}" : alert.Title }
            : new Keep { Reason = "known" };
    }

    /// <summary>Its source no longer sees the trouble.</summary>
    public static AlertDecision Clear(AlertRecord? known, DateTimeOffset now, string? reason = null) =>
        known is { State: AlertState.Firing }
            ? new Calm(known with { State = AlertState.Clearing, QuietSince = now, ChangedAt = now }) { Reason = reason ?? $"no longer so: {known.Title}" }
            : new Keep { Reason = "not firing" };

    /// <summary>Whether the quiet has lasted.</summary>
    public static AlertDecision Look(AlertRecord known, DateTimeOffset now, AlertRules rules)
    {
        if (known is not { State: AlertState.Clearing, QuietSince: { } since })
            return new Keep { Reason = "not clearing" };
        var flaps = known.Returns.Count(at => since - at < rules.FlapWindow) > rules.FlapMax;
        var needed = flaps ? rules.FlapWindow : rules.Quiet;
        return now - since >= needed
            ? new Settle(known with { State = AlertState.Cleared, ChangedAt = now }) { Reason = $"quiet for {Words.Of(needed)}" }
            : new Keep { Reason = "not quiet for long enough" };
    }

    /// <summary>`critical`.</summary>
    public static string Word(AlertSeverity severity) => severity switch
    {
        AlertSeverity.Critical => "critical",
        AlertSeverity.Warning => "warning",
        _ => "info",
    };
}
