using System.Text.Json;
using BuildRunner.Client.Hosting;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Events;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using Cronos;

namespace BuildRunner.Server.Recovery.Drills;

/// <summary>Gathers what happened in a period from runs, their journals, events and the calendar; changes nothing.</summary>
internal sealed class EvidenceReader(IStore store, RunRecords runs, DrillCalendarBook book, IEventLog events, IPolicySource policy, TimeProvider time)
{
    private const int PageSize = 1000;

    /// <summary>Events that are read, from the first on; when there are more, newer policies are not known, and that is a gap.</summary>
    private const int EventsMax = 200_000;
    private const string Applied = "policy.applied";

    public async Task<Evidence> ReadAsync(DateTimeOffset from, DateTimeOffset to, string actor, CancellationToken cancel)
    {
        var all = await runs.ListAsync(cancel);
        var here = all.Where(r => r.StartedAt >= from && r.StartedAt < to).OrderBy(r => r.StartedAt).ToList();
        var drills = here.Where(r => r.FinishedAt is not null && DrillPlanner.IsDrill(r.Runbook)).Select(DrillsRoom.Read).OfType<DrillRecord>()
            .Concat((await book.EvaluationsAsync(cancel)).Where(d => d.StartedAt >= from && d.StartedAt < to)).OrderBy(d => d.StartedAt).ToList();
        var unread = here.Where(r => DrillPlanner.IsDrill(r.Runbook) && (r.FinishedAt is null || DrillsRoom.Read(r) is null)).Select(r => $"{r.Id} ({r.Runbook}) {(r.FinishedAt is null ? "has not ended" : "ended without a record")}: what it would show is not known.");
        var (objectives, since, more) = await ObjectivesAsync(from, to, cancel);
        var evidence = new Evidence
        {
            Server = Environment.MachineName,
            Version = VersionAnswer.Running,
            From = from,
            To = to,
            MadeAt = time.GetUtcNow(),
            MadeBy = actor,
            Objectives = objectives,
            Drills = drills,
            Moves = [.. here.Where(r => FailoverRunbook.Moves(r.Runbook)).Select(r => Move(r, drills))],
            Backups = [],
            RestoreTests = [],
            Approvals = await ApprovalsAsync(here, cancel),
            Gaps = [],
        };
        return evidence with { Gaps = [.. EvidenceGaps.Of(evidence, Due(from, to), since), .. unread, .. more ? new[] { $"Only the first {EventsMax} events were read: objectives that were set later are not known." } : [] ] };
    }

    private static EvidenceMove Move(RunRecord run, IReadOnlyList<DrillRecord> drills)
    {
        var report = run.Report is { } data ? JsonSerializer.Deserialize(data, RecoveryJson.Default.FailoverReport) : null;
        return new()
        {
            Run = run.Id,
            Runbook = run.Runbook,
            StartedAt = run.StartedAt,
            FinishedAt = run.FinishedAt,
            State = FaultKinds.Word(run.State),
            Actor = run.Actor,
            Reason = run.Reason,
            From = report?.From,
            To = report?.To ?? run.Inputs.GetValueOrDefault("target"),
            Proof = report?.Proof?.Kind is { } proof ? FaultKinds.Word(proof) : null,
            Drill = run.Parent is { } parent && drills.Any(d => d.Id == parent) ? parent : drills.FirstOrDefault(d => d.Failover == run.Id)?.Id,
            RtoMinutes = (report?.RtoFromDetectionMs ?? report?.RtoMs) / 60_000,
            OutageMs = run.OutageMs,
            LostCommits = run.Lost?.Commits,
            LostSeconds = run.Lost?.Commits == 0 ? 0 : run.Lost?.Seconds,
        };
    }

    private async Task<IReadOnlyList<EvidenceApproval>> ApprovalsAsync(IReadOnlyList<RunRecord> here, CancellationToken cancel)
    {
        var said = new List<EvidenceApproval>();
        foreach (var run in here)
        {
            long after = 0;
            while (await store.ReadAsync(RunJournal.LogOf(run.Id), after, PageSize, cancel) is { Count: > 0 } page)
            {
                foreach (var line in page)
                {
                    after = line.Position;
                    if (Journal.Read(line.Value.Span) switch
                    {
                        RunEvent.Approved e => new EvidenceApproval(run.Id, e.Step, e.At, e.Actor, "approved", e.Note),
                        RunEvent.Rejected e => new EvidenceApproval(run.Id, e.Step, e.At, e.Actor, "rejected", e.Reason),
                        RunEvent.Confirmed e => new EvidenceApproval(run.Id, e.Step, e.At, e.Actor, "confirmed", e.Note),
                        _ => null,
                    } is { } approval)
                        said.Add(approval);
                }
            }
        }
        return [.. said.OrderBy(a => a.At)];
    }

    /// <summary>Objectives of every policy in force in the period, and when the records begin.</summary>
    private async Task<(IReadOnlyList<EvidenceObjectives> Objectives, DateTimeOffset? Since, bool More)> ObjectivesAsync(DateTimeOffset from, DateTimeOffset to, CancellationToken cancel)
    {
        var changes = new List<EventEntry>();
        DateTimeOffset? since = null;
        long after = 0;
        var read = 0;
        for (; read < EventsMax && await events.ReadAsync(after, PageSize, cancel) is { Count: > 0 } page; read += page.Count)
        {
            since ??= page[0].At;
            changes.AddRange(page.Where(e => e.Kind == Applied && e.At < to));
            after = page[^1].Id;
        }
        var found = changes.Select((change, i) => new EvidenceObjectives(change.At, i + 1 < changes.Count ? changes[i + 1].At : null, change.Actor, Data(change, "hash") ?? "unknown", Minutes(change, "rto_minutes"), Minutes(change, "rpo_minutes")));
        return ([.. found.Where(o => o.To is null || o.To > from)], since, read >= EventsMax);

        static string? Data(EventEntry entry, string name) => entry.Data?.GetValueOrDefault(name);

        static double? Minutes(EventEntry entry, string name) => double.TryParse(Data(entry, name), CultureInfo.InvariantCulture, out var minutes) ? minutes : null;
    }

    private IReadOnlyList<EvidenceDue> Due(DateTimeOffset from, DateTimeOffset to)
    {
        var end = to < time.GetUtcNow() ? to : time.GetUtcNow();
        return [.. DrillCalendarBook.Kinds(policy.Current.Drills).Select(k => new EvidenceDue(k.Kind,
            from < end ? CronExpression.Parse(k.Cron, CronFormat.Standard).GetOccurrences(from.UtcDateTime, end.UtcDateTime).Count() : 0, k.NotYet))];
    }
}
