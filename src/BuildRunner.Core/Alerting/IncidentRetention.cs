namespace BuildRunner.Core.Alerting;

/// <summary>How much is kept: what is not over is never dropped, and of what is over the oldest goes first.</summary>
public static class IncidentRetention
{
    public const int IncidentsMax = 200;
    public const int AlertsMax = 500;

    /// <summary>Above this many incidents that are not over, new trouble is only logged: nobody can look after more.</summary>
    public const int OpenMax = 150;

    /// <summary>Ids to drop; those whose actions are all done go before those with work left.</summary>
    public static IReadOnlyList<string> Excess(IReadOnlyList<Incident> incidents, int max = IncidentsMax) =>
        incidents.Count <= max ? [] :
        [
            .. incidents.Where(i => i.Ended)
                .OrderBy(i => i.Actions.Any(a => a.DoneAt is null))
                .ThenBy(i => i.ResolvedAt).ThenBy(i => i.Id, StringComparer.Ordinal)
                .Take(incidents.Count - max).Select(i => i.Id),
        ];

    /// <summary>Keys to drop.</summary>
    public static IReadOnlyList<string> Excess(IReadOnlyList<AlertRecord> alerts, int max = AlertsMax) =>
        alerts.Count <= max ? [] :
        [
            .. alerts.Where(a => a.State == AlertState.Cleared)
                .OrderBy(a => a.ChangedAt).ThenBy(a => a.Key, StringComparer.Ordinal)
                .Take(alerts.Count - max).Select(a => a.Key),
        ];
}
