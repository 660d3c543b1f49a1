using System.Text.Json;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Alerting;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Alerting;

/// <summary>
/// Copies what the event log and the runs' journals already say onto the timelines of incidents. A line is copied at least once and bears its
/// source, so that one copied twice shows once.
/// </summary>
internal sealed partial class TimelineLoop : ReconcileLoop
{
    public const string CursorKey = "alerting/cursor";
    private const int PageSize = 200;
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(2);

    /// <summary>What belongs on the timeline of every incident that is not over, beside the runs' own events.</summary>
    private static readonly string[] Context = ["region.health", "policy.applied", "policy.rejected", "freeze.set", "freeze.lifted", "freeze.ended", "fence.stated", "epoch.moved", "note"];

    /// <summary>Inputs of runbooks that name a region.</summary>
    private static readonly string[] RegionInputs = ["region", "target", "from", "to"];

    private readonly IStore _store;
    private readonly IEventLog _events;
    private readonly RunRecords _runs;
    private readonly IncidentBook _book;
    private readonly Alerts _alerts;
    private readonly Lead _lead;
    private readonly TimeProvider _time;
    private readonly ILogger<TimelineLoop> _logger;
    private readonly List<IDisposable> _hints = [];

    public TimelineLoop(IStore store, IEventLog events, RunRecords runs, IncidentBook book, Alerts alerts, Lead lead, TimeProvider time, ILogger<TimelineLoop> logger)
        : base(Interval, time, logger)
    {
        (_store, _events, _runs, _book, _alerts, _lead, _time, _logger) = (store, events, runs, book, alerts, lead, time, logger);
        _hints.Add(store.Watch("events", _ => Wake()));
        _hints.Add(store.Watch(RunRecords.Prefix, _ => Wake()));
    }

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        if (_lead() is not { } fence)
            return;
        await ReadEventsAsync(fence, cancel);
        foreach (var incident in await _book.ListAsync(cancel))
        {
            foreach (var run in incident.Runs.Where(r => !r.Finished))
                await FollowAsync(incident, run, fence, cancel);
        }
    }

    public override void Dispose()
    {
        _hints.ForEach(hint => hint.Dispose());
        base.Dispose();
    }

    private async Task ReadEventsAsync(Fence fence, CancellationToken cancel)
    {
        var (cursor, written) = await _store.GetAsync(CursorKey, cancel) is { } entry
            ? (JsonSerializer.Deserialize(entry.Value.Span, IncidentJson.Default.TimelineCursor)!.Event, true)
            : ((await _events.ListAsync(1, cancel)).Select(e => e.Id).DefaultIfEmpty(0).First(), false); // what happened before this room was there is nobody's incident
        while (true)
        {
            var page = await _events.ReadAsync(cursor, PageSize, cancel);
            foreach (var happened in page)
            {
                try { await TakeAsync(happened, fence, cancel); }
                catch (JsonException error) { LogSkipped(_logger, error, happened.Id, happened.Kind); } // a record that cannot be read must not hold up all that follow
                cursor = happened.Id;
            }
            if (!written || page.Count > 0)
                await _store.PutAsync(CursorKey, JsonSerializer.SerializeToUtf8Bytes(new TimelineCursor(cursor), IncidentJson.Default.TimelineCursor), null, fence, cancel);
            written = true;
            if (page.Count < PageSize)
                return;
        }
    }

    private async Task TakeAsync(EventEntry happened, Fence fence, CancellationToken cancel)
    {
        if (happened.Data?.GetValueOrDefault("run") is { } run)
            await TakeRunAsync(run, happened, fence, cancel);
        else if (Context.Contains(happened.Kind, StringComparer.Ordinal))
        {
            foreach (var incident in (await _book.ListAsync(cancel)).Where(i => !i.Ended))
                await CopyAsync(incident.Id, happened, fence, cancel);
        }
    }

    private async Task TakeRunAsync(string id, EventEntry happened, Fence fence, CancellationToken cancel)
    {
        if (await _runs.GetAsync(id, cancel) is not { } record)
            return;
        var run = new RunFacts(id, record.Runbook, record.Actor, record.Reason, Regions(record));
        switch (RunAttachment.Decide(run, await _book.ListAsync(cancel)))
        {
            case RunAttachment.To to when happened.Kind is "run.started" or "run.resumed" or "run.finished":
                await AttachAsync(to.Incident, run, fence, cancel);
                break;
            case RunAttachment.To to:
                await CopyAsync(to.Incident, happened, fence, cancel); // such as a loss that was counted later
                break;
            case RunAttachment.Opens when happened.Kind is "run.started" or "run.resumed":
                await _alerts.OpenForRunAsync(run, AlertSeverity.Critical, $"{record.Runbook}: {record.Reason}", $"Run {id} was started by {record.Actor}.", fence, cancel);
                await AttachAsync($"inc-{id}", run, fence, cancel);
                break;
            case RunAttachment.Opens or RunAttachment.Nowhere when happened.Kind == "run.finished" && record.State == RunPhase.Failed:
                await _alerts.OpenForRunAsync(run, AlertSeverity.Critical, $"{record.Runbook} failed", $"{record.Outcome} {record.Person}".Trim(), fence, cancel);
                break;
        }
    }

    private async Task AttachAsync(string incident, RunFacts run, Fence fence, CancellationToken cancel)
    {
        await _book.MoveAsync(incident, i => IncidentMove.Attach(i, run.Id, run.Regions), TimelineKind.Run, "run", run.Actor, null, fence, cancel);
        if (run.Actor != RunAttachment.Automatic)
            await _book.MoveAsync(incident, i => IncidentMove.Acknowledge(i, run.Actor, _time.GetUtcNow()), TimelineKind.State, "acknowledged", run.Actor, $"By starting {run.Id}.", fence, cancel);
    }

    private Task CopyAsync(string incident, EventEntry happened, Fence fence, CancellationToken cancel) =>
        _book.AddLineAsync(incident, new TimelineEntry
        {
            At = happened.At,
            Kind = happened.Kind == "note" ? TimelineKind.Note : TimelineKind.Event,
            Actor = happened.Actor,
            Text = happened.Summary,
            Source = $"event/{happened.Id.ToString(CultureInfo.InvariantCulture)}",
        }, fence, cancel);

    /// <summary>Takes a run's journal on from where the incident's record says that it stands.</summary>
    private async Task FollowAsync(Incident incident, IncidentRun run, Fence fence, CancellationToken cancel)
    {
        var log = RunRecords.KeyOf(run.Id);
        if ((await _store.ReadAsync(log, 0, 1, cancel)).Select(first => Journal.Read(first.Value.Span)).FirstOrDefault() is not RunEvent.RunStarted started)
        {
            if (await _runs.GetAsync(run.Id, cancel) is null)
                await _book.FollowedAsync(incident.Id, run.Id, run.Position, finished: true, fence, cancel); // it never began
            return;
        }
        var (position, finished) = (run.Position, false);
        foreach (var record in await _store.ReadAsync(log, position, PageSize, cancel))
        {
            var happened = Journal.Read(record.Value.Span);
            if (RunLines.Of(started, happened) is { } line)
                await _book.AddLineAsync(incident.Id, line with { Source = string.Create(CultureInfo.InvariantCulture, $"run/{run.Id}#{record.Position}") }, fence, cancel);
            position = record.Position;
            if (happened is not RunEvent.RunFinished end)
                continue;
            finished = true;
            if (incident.Run == run.Id && end.State == RunPhase.Succeeded)
                await _book.MoveAsync(incident.Id, i => IncidentMove.Mitigate(i, end.At, $"run {run.Id} ended well."), TimelineKind.State, "mitigated", started.Actor, null, fence, cancel);
        }
        if (position > run.Position)
            await _book.FollowedAsync(incident.Id, run.Id, position, finished, fence, cancel);
    }

    /// <summary>Regions that a run's inputs name.</summary>
    private static IReadOnlyList<string> Regions(RunRecord run) =>
        [.. RegionInputs.Select(run.Inputs.GetValueOrDefault).OfType<string>().Where(r => r.Length > 0).Distinct(StringComparer.Ordinal)];

    [LoggerMessage(Level = LogLevel.Error, Message = "Event {Id} ({Kind}) is on no timeline: something that it names cannot be read.")]
    private static partial void LogSkipped(ILogger logger, Exception error, long id, string kind);
}

/// <summary>Up to which event the timelines are written.</summary>
internal sealed record TimelineCursor(long Event)
{
    public int SchemaVersion { get; init; } = 1;
}
