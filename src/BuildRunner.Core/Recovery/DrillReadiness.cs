namespace BuildRunner.Core.Recovery;

/// <summary>What the drills of a kind say about recovering tonight.</summary>
public static class DrillReadiness
{
    /// <summary>One that was missed is no news yet, two are.</summary>
    private const int PeriodsMax = 2;

    /// <param name="slot">The kind, and how often it is due.</param>
    /// <param name="drills">Drills done for real, newest first.</param>
    /// <param name="now">Wall clock.</param>
    /// <returns>What stands against recovery; null: nothing does.</returns>
    public static ReadinessFinding? Judge(DrillSlot slot, IReadOnlyList<DrillRecord> drills, DateTimeOffset now)
    {
        var (kind, ageMax) = (slot.Kind, slot.Period * PeriodsMax);
        // What a person aborted proves nothing either way.
        return drills.FirstOrDefault(d => d.Kind == kind && !d.DryRun && (d.Outcome != "aborted" || d.AbortedBy == DrillRecord.OutageMax)) switch
        {
            null when kind == "failover" => Make("drill.unknown", "unknown: when recovery was last tried; no drill has been recorded.", "Try it in a quiet hour: `br dr drill run --kind failover --dry-run`, then without."),
            null => now - slot.Since > ageMax ? Make("drill.overdue", Say($"No {kind} drill was done in {(now - slot.Since).TotalDays:0} days; {ageMax.TotalDays:0} are allowed{Unarmed(slot)}."), Remedy(slot)) : null,
            { AbortedBy: DrillRecord.OutageMax } last => Make("drill.failed", $"The last {kind} drill ({last.Id}) took itself back: nothing had recovered when users had waited long enough. {last.Notes}", $"Look at `br runbook status {last.Id}`, mend what it shows, and try again: {Again(kind)}."),
            { Outcome: not "success" } last => Make("drill.failed", $"The last {kind} drill ({last.Id}) failed: {last.Notes}", $"Look at `br runbook status {last.Id}`, mend what it shows, and try again: {Again(kind)}."),
            { } last when now - (last.EndedAt ?? last.StartedAt) > ageMax => Make("drill.overdue",
                Say($"The last {kind} drill was {(now - (last.EndedAt ?? last.StartedAt)).TotalDays:0} days ago ({last.Id}); {ageMax.TotalDays:0} are allowed{Unarmed(slot)}."), Remedy(slot)),
            { RtoAchievedMinutes: { } rto } last when rto > last.RtoObjectiveMinutes => Make("drill.slow",
                Say($"The last {kind} drill ({last.Id}) took {rto:0.#} min, and the objective is {last.RtoObjectiveMinutes:0.#} min."), $"Look where the time went: `br runbook status {last.Id}`."),
            _ => null,
        };
    }

    private static string Unarmed(DrillSlot slot) => slot.Armed ? "" : ", and what is due is only evaluated: it is not armed";

    private static string Remedy(DrillSlot slot) => slot.Armed ? $"`br dr drill schedule` says why none was done; by hand: {Again(slot.Kind)}." : $"{Again(slot.Kind)}, or let the calendar do it: `br dr drill arm --kind {slot.Kind}`.";

    private static string Again(string kind) => kind == "scenario" ? "`br dr drill run --kind scenario --scenario NAME`" : $"`br dr drill run --kind {kind}`";

    private static string Say(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private static ReadinessFinding Make(string code, string reason, string remedy) => new() { Code = code, Severity = ReadinessSeverity.Warning, Reason = reason, Remedy = remedy };
}
