namespace BuildRunner.Core.Alerting;

/// <summary>What becomes of an incident when somebody or something acts on it. Resolved is the end: trouble that comes back opens another.</summary>
public abstract record IncidentMove
{
    public const int ActionsMax = 50;
    public const int RunsMax = 50;
    private const int NamesMax = 50;

    private IncidentMove() { }

    /// <summary>The incident changes; <paramref name="Said"/> goes on its timeline.</summary>
    public sealed record Changed(Incident Incident, string Said) : IncidentMove;

    /// <summary>It is so already.</summary>
    public sealed record Nothing(string Reason) : IncidentMove;

    public sealed record Refused(string Reason) : IncidentMove;

    public static IncidentMove Acknowledge(Incident incident, string actor, DateTimeOffset now) => incident switch
    {
        { State: IncidentState.Resolved } => Over(incident),
        { AcknowledgedAt: not null } => new Nothing($"{incident.Id} was acknowledged by {incident.AcknowledgedBy}."),
        _ => new Changed(incident with
        {
            State = incident.State == IncidentState.Open ? IncidentState.Acknowledged : incident.State,
            AcknowledgedAt = now,
            AcknowledgedBy = actor,
        }, $"Acknowledged by {actor}."),
    };

    public static IncidentMove Mitigate(Incident incident, DateTimeOffset now, string why) => incident.State switch
    {
        IncidentState.Resolved => Over(incident),
        IncidentState.Mitigated => new Nothing($"{incident.Id} is mitigated."),
        _ => new Changed(incident with { State = IncidentState.Mitigated, MitigatedAt = now }, $"Mitigated: {why}"),
    };

    /// <summary>The trouble is back, or is worse.</summary>
    public static IncidentMove Worsen(Incident incident, AlertRecord alert, string why)
    {
        if (incident.Ended)
            return Over(incident);
        var told = incident with
        {
            State = incident.State != IncidentState.Mitigated ? incident.State : incident.AcknowledgedAt is null ? IncidentState.Open : IncidentState.Acknowledged,
            MitigatedAt = null,
            Severity = alert.Severity > incident.Severity ? alert.Severity : incident.Severity,
            Title = alert.Title,
            Details = alert.Details,
            Command = alert.Command,
            Regions = Union(incident.Regions, alert.Regions),
            Services = Union(incident.Services, alert.Services),
        };
        return new Changed(told, why);
    }

    /// <summary>An incident that a run opened turns out to be an alert's.</summary>
    public static IncidentMove Join(Incident incident, AlertRecord alert) =>
        Worsen(incident, alert, $"The alert {alert.Key}: {alert.Title}. {alert.Details}") is Changed changed
            ? changed with { Incident = changed.Incident with { Alert = alert.Key } }
            : Over(incident);

    /// <param name="incident">The incident.</param>
    /// <param name="actor">Who says that it is over.</param>
    /// <param name="firing">Title of its alert while that still fires; null: none does.</param>
    /// <param name="force">Over although the alert still fires.</param>
    /// <param name="now">The time.</param>
    public static IncidentMove Resolve(Incident incident, string actor, string? firing, bool force, DateTimeOffset now)
    {
        if (incident.Ended)
            return new Nothing($"{incident.Id} was resolved by {incident.ResolvedBy}.");
        if (firing is not null && !force)
            return new Refused($"{incident.Id} is not over: {firing}.");
        return new Changed(incident with { State = IncidentState.Resolved, ResolvedAt = now, ResolvedBy = actor, MitigatedAt = incident.MitigatedAt ?? now }, $"Resolved by {actor}.");
    }

    public static IncidentMove AddAction(Incident incident, string text, string owner, DateOnly due, string actor, DateTimeOffset now)
    {
        if (incident.Actions.Count >= ActionsMax)
            return new Refused($"{incident.Id} has {ActionsMax} actions already; more would be done by nobody.");
        var action = new IncidentAction { Number = incident.Actions.Count + 1, Text = text, Owner = owner, Due = due, AddedAt = now, AddedBy = actor };
        return new Changed(incident with { Actions = [.. incident.Actions, action] }, string.Create(CultureInfo.InvariantCulture, $"Action {action.Number} for {owner}, due {due:yyyy-MM-dd}: {text}"));
    }

    public static IncidentMove FinishAction(Incident incident, int number, string actor, DateTimeOffset now) => incident.Actions.FirstOrDefault(a => a.Number == number) switch
    {
        null => new Refused($"{incident.Id} has no action {number.ToString(CultureInfo.InvariantCulture)}."),
        { DoneAt: not null } done => new Nothing($"Action {number.ToString(CultureInfo.InvariantCulture)} was done by {done.DoneBy}."),
        _ => new Changed(incident with { Actions = [.. incident.Actions.Select(a => a.Number == number ? a with { DoneAt = now, DoneBy = actor } : a)] }, $"Action {number.ToString(CultureInfo.InvariantCulture)} is done."),
    };

    /// <summary>A run's lines go on the timeline from now on.</summary>
    public static IncidentMove Attach(Incident incident, string run, IReadOnlyList<string> regions) =>
        incident.Runs.Any(r => r.Id == run) ? new Nothing($"{run} is on the timeline.")
        : incident.Runs.Count >= RunsMax ? new Refused($"{incident.Id} has {RunsMax} runs already.")
        : new Changed(incident with { Runs = [.. incident.Runs, new IncidentRun(run, 0, false)], Regions = Union(incident.Regions, regions) }, $"Run {run}.");

    /// <summary>A run's lines stand on the timeline up to a position.</summary>
    public static Incident Followed(Incident incident, string run, long position, bool finished) =>
        incident with { Runs = [.. incident.Runs.Select(r => r.Id == run && position >= r.Position ? r with { Position = position, Finished = finished } : r)] };

    private static Refused Over(Incident incident) =>
        new(string.Create(CultureInfo.InvariantCulture, $"{incident.Id} was resolved by {incident.ResolvedBy} at {incident.ResolvedAt:yyyy-MM-dd HH:mm:ss} UTC."));

    private static IReadOnlyList<string> Union(IReadOnlyList<string> have, IReadOnlyList<string> more) =>
        more.All(have.Contains) ? have : [.. have.Union(more, StringComparer.Ordinal).Take(NamesMax)];
}
