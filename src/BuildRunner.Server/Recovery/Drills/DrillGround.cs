using BuildRunner.Core.Alerting;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Alerting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Recovery.Readiness;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Drills;

/// <summary>Everything that decides whether something may be broken on purpose now: switches, freeze, incidents, readiness, and what is under way.</summary>
internal sealed class DrillGround(DrillCalendarBook book, RunRecords runs, ReadinessRecords readiness, IncidentBook incidents, IPolicySource policy)
{
    public async Task<DrillCalendarFacts> ReadAsync(DateTimeOffset now, CancellationToken cancel)
    {
        var verdict = await readiness.ShowAsync(now, cancel);
        var drills = await DrillsRoom.ListAsync(runs, cancel);
        var standing = DrillCalendar.Standing(await incidents.ListAsync(cancel), drills);
        var settled = now - ReadinessAlert.Lasting;
        return new DrillCalendarFacts
        {
            Now = now,
            Slots = await book.SlotsAsync(now, cancel),
            SwitchedOff = policy.Current.WhyNoFailover(),
            Freeze = policy.Freeze?.Reason,
            OpenIncidents = [.. standing.Select(i => i.Id)],
            UnmitigatedIncidents = [.. standing.Where(i => i.State is IncidentState.Open or IncidentState.Acknowledged).Select(i => i.Id)],
            Readiness = verdict.Verdict,
            ReadinessSentence = verdict.Sentence,
            LastingRed = verdict.Verdict == ReadinessVerdict.NotReady && !drills.Any(d => d.EndedAt > verdict.EvaluatedAt)
                ? verdict.Findings.FirstOrDefault(f => f.Severity == ReadinessSeverity.Red && f.Since <= settled)?.Reason
                : null,
            UnderWay = (await runs.ListAsync(cancel)).FirstOrDefault(r => r.State.IsUnderWay() && (DrillPlanner.IsDrill(r.Runbook) || FailoverRunbook.Moves(r.Runbook)))?.Id,
        };
    }
}
