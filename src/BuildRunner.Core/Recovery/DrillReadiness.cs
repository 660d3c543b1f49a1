namespace BuildRunner.Core.Recovery;

/// <summary>What the last drill says about recovering tonight.</summary>
public static class DrillReadiness
{
    /// <param name="last">The newest drill that no person aborted; null: none.</param>
    /// <param name="now">Wall clock.</param>
    /// <param name="ageMax">An older one proves nothing any more.</param>
    /// <returns>What stands against recovery; null: nothing does.</returns>
    public static ReadinessFinding? Judge(DrillRecord? last, DateTimeOffset now, TimeSpan ageMax) => last switch
    {
        null => Make("drill.unknown", "unknown: when recovery was last tried; no drill has been recorded.", "Try it in a quiet hour: `br dr drill run --kind failover --dry-run`, then without."),
        { AbortedBy: DrillRecord.OutageMax } => Make("drill.failed", $"The last drill ({last.Id}) took itself back: nothing had recovered when users had waited long enough. {last.Notes}", $"Look at `br runbook status {last.Id}`, mend what it shows, and try again: `br dr drill run --kind {last.Kind}`."),
        { Outcome: not "success" } => Make("drill.failed", $"The last drill ({last.Id}) failed: {last.Notes}", $"Look at `br runbook status {last.Id}`, mend what it shows, and try again: `br dr drill run --kind failover`."),
        _ when now - (last.EndedAt ?? last.StartedAt) > ageMax => Make("drill.old",
            string.Create(CultureInfo.InvariantCulture, $"Recovery was last tried {(now - (last.EndedAt ?? last.StartedAt)).TotalDays:0} days ago ({last.Id}); {ageMax.TotalDays:0} days are allowed."), "`br dr drill run --kind failover`."),
        { RtoAchievedMinutes: { } rto } when rto > last.RtoObjectiveMinutes => Make("drill.slow",
            string.Create(CultureInfo.InvariantCulture, $"The last drill ({last.Id}) took {rto:0.#} min, and the objective is {last.RtoObjectiveMinutes:0.#} min."), $"Look where the time went: `br runbook status {last.Id}`."),
        _ => null,
    };

    private static ReadinessFinding Make(string code, string reason, string remedy) => new() { Code = code, Severity = ReadinessSeverity.Warning, Reason = reason, Remedy = remedy };
}
