namespace BuildRunner.Core.Recovery;

/// <summary>What a period does not prove. Silence would read as proof.</summary>
public static class EvidenceGaps
{
    /// <param name="evidence">Everything but its gaps.</param>
    /// <param name="due">How often each kind of drill was due.</param>
    /// <param name="knownSince">The first thing that this server has recorded; null: nothing.</param>
    public static IReadOnlyList<string> Of(Evidence evidence, IReadOnlyList<EvidenceDue> due, DateTimeOffset? knownSince) => [.. All(evidence, due, knownSince)];

    private static IEnumerable<string> All(Evidence evidence, IReadOnlyList<EvidenceDue> due, DateTimeOffset? knownSince)
    {
        if (evidence.To > evidence.MadeAt)
            yield return Say($"The period ends on {evidence.To:yyyy-MM-dd HH:mm}, after this was made: what comes until then is not in it.");
        if (knownSince is null || knownSince > evidence.From)
            yield return knownSince is { } since ? Say($"Nothing is known from before {since:yyyy-MM-dd HH:mm}: this server's records begin there.") : "This server has recorded nothing at all.";
        if (evidence.Objectives.Count == 0 || evidence.Objectives[0].From > evidence.From)
            yield return "Which objectives were in force at the beginning of the period is not known.";
        foreach (var unknown in evidence.Objectives.Where(o => o.RtoMinutes is null || o.RpoMinutes is null))
            yield return Say($"The objectives of the policy {unknown.Policy} ({unknown.From:yyyy-MM-dd HH:mm}, {unknown.By}) were not recorded.");

        foreach (var kind in due)
        {
            var drills = evidence.Drills.Where(d => d.Kind == kind.Kind).ToList();
            var real = drills.Count(d => d is { DryRun: false, Outcome: "success" });
            if (kind.NotYet is { } notYet)
                yield return $"No drill of the kind {kind.Kind} was possible: {notYet}.";
            else if (real == 0)
                yield return Say($"No drill of the kind {kind.Kind} succeeded; it was due {kind.Times} times{(drills.Any(d => d.DryRun) ? Say($", and only evaluated {drills.Count(d => d.DryRun)} times") : "")}.");
            else if (real < kind.Times)
                yield return Say($"Drills of the kind {kind.Kind} succeeded {real} times and were due {kind.Times} times.");
        }
        foreach (var drill in evidence.Drills.Where(d => !d.DryRun))
        {
            if (drill.Outcome != "success")
                yield return $"{drill.Id} ({drill.Kind}) ended {drill.Outcome}{(drill.AbortedBy is { } by ? $" by {by}" : "")}: {drill.Notes}";
            else if (DrillTrend.Meets(drill) is not true)
                yield return $"{drill.Id} ({drill.Kind}) {(DrillTrend.Meets(drill) is null ? "succeeded, but what it achieved was not fully measured" : "missed an objective")}: {Figures(drill)}.";
        }
        foreach (var move in evidence.Moves.Where(m => m.Drill is null))
        {
            if (move.State != "succeeded")
                yield return $"{move.Run} ({move.Runbook}) ended {move.State}: {move.Reason}";
            if (Objective(evidence, move.StartedAt) is not { RtoMinutes: { } rto, RpoMinutes: { } rpo })
                continue;
            if (move.RtoMinutes > rto)
                yield return Say($"{move.Run} ({move.Runbook}) took {move.RtoMinutes:0.##} min; the objective was {rto:0.##}.");
            if (move.LostSeconds / 60 > rpo)
                yield return Say($"{move.Run} ({move.Runbook}) lost {move.LostSeconds / 60:0.##} min of commits; the objective was {rpo:0.##}.");
            if (move is { Runbook: "failover", State: "succeeded", LostCommits: null })
                yield return $"What {move.Run} (failover) lost is unknown: the old region's WAL was not read.";
        }
        if (evidence.Backups.Count == 0)
            yield return "No backup is recorded: backups are not part of this house yet, and those of another tool are not known to it.";
        if (evidence.RestoreTests.Count == 0)
            yield return "No restore was tried: it comes with backups.";
    }

    private static EvidenceObjectives? Objective(Evidence evidence, DateTimeOffset at) => evidence.Objectives.LastOrDefault(o => o.From <= at && (o.To is null || o.To > at));

    private static string Figures(DrillRecord drill) => Say($"recovery {Minutes(drill.RtoAchievedMinutes)} of {drill.RtoObjectiveMinutes:0.##} min, loss {Minutes(drill.RpoAchievedMinutes)} of {drill.RpoObjectiveMinutes:0.##} min");

    private static string Minutes(double? value) => value is { } known ? Say($"{known:0.##}") : "unknown";

    private static string Say(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
