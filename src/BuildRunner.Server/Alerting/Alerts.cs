using BuildRunner.Core.Alerting;
using BuildRunner.Server.Events;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Alerting;

/// <summary>
/// Makes incidents of what rooms raise, on the leading server. The alert's own record is written last: an opening that a crash cuts short is raised
/// again and repeated, and finds what it has written before.
/// </summary>
internal sealed partial class Alerts(
    IncidentBook book, Outbox outbox, IPolicySource policy, IEventLog events, Lead lead, AlertRules rules, TimeProvider time, ILogger<Alerts> logger) : IAlerts, IDisposable
{
    private const string Actor = "server";

    private readonly SemaphoreSlim _gate = new(1);

    public void Dispose() => _gate.Dispose();

    public Task RaiseAsync(Alert alert, CancellationToken cancel) => UnderGateAsync(alert.Key, fence => RaiseAsync(alert, fence, cancel), cancel);

    public Task ClearAsync(string key, string? reason, CancellationToken cancel) => UnderGateAsync(key, fence => ClearAsync(key, reason, fence, cancel), cancel);

    /// <summary>Alerts that have been quiet for long enough: their incident is over, unless a person has it in hand.</summary>
    public async Task SettleAsync(CancellationToken cancel)
    {
        foreach (var known in (await book.AlertsAsync(cancel)).Where(a => a.State == AlertState.Clearing))
            await UnderGateAsync(known.Key, fence => SettleAsync(known.Key, fence, cancel), cancel);
    }

    /// <summary>A person says that an incident is over; null when there is no such incident.</summary>
    public async Task<IncidentMove?> ResolveAsync(string id, string actor, string? words, bool force, CancellationToken cancel)
    {
        await _gate.WaitAsync(cancel);
        try
        {
            if (await book.GetAsync(id, cancel) is not { } incident)
                return null;
            var alert = incident.Alert is { } key && await book.AlertAsync(key, cancel) is { } record && record.Incident == id ? record : null;
            var firing = alert is { State: AlertState.Firing } ? $"the alert {alert.Key} still fires ({alert.Title})" : null;
            var move = await book.MoveAsync(id, now => IncidentMove.Resolve(now, actor, firing, force, time.GetUtcNow()), TimelineKind.State, "resolved", actor, words, null, cancel);
            if (move is IncidentMove.Changed changed)
            {
                await TellAsync(changed.Incident, "resolved", changed.Incident.Title, $"Resolved by {actor}. {words}".TrimEnd(), null, cancel);
                if (alert is not null)
                    await book.PutAsync(alert with { State = AlertState.Cleared, ChangedAt = time.GetUtcNow() }, null, cancel);
            }
            return move;
        }
        finally { _gate.Release(); }
    }

    /// <summary>A run that finds no incident opens one; an opening that is repeated finds its incident.</summary>
    public async Task OpenForRunAsync(RunFacts run, AlertSeverity severity, string title, string details, Fence fence, CancellationToken cancel)
    {
        var now = time.GetUtcNow();
        var incident = new Incident { Id = $"inc-{run.Id}", Title = title, Severity = severity, OpenedAt = now, Run = run.Id, Details = details, Regions = run.Regions, Runs = [new IncidentRun(run.Id, 0, false)] };
        // The notification first: its incident's id follows from the run's, and once the incident is there nobody asks again for the run.
        await TellAsync(incident, "opened", title, details, fence, cancel);
        await book.OpenAsync(incident, run.Actor, fence, cancel);
    }

    private async Task RaiseAsync(Alert alert, Fence fence, CancellationToken cancel)
    {
        var now = time.GetUtcNow();
        var known = await book.AlertAsync(alert.Key, cancel);
        var state = known is null ? null : (await book.GetAsync(known.Incident, cancel))?.State;
        switch (AlertDecision.Raise(known, state, alert, NewId(now), now, rules))
        {
            case AlertDecision.Open open:
                await OpenAsync(open.Record, fence, cancel);
                break;
            case AlertDecision.Return back:
                // Back within the damper it is a flap, of which nobody needs to hear twice; after it, people had been told to rest.
                if (known!.State == AlertState.Cleared)
                    await TellAsync(await IncidentAsync(known, cancel), string.Create(CultureInfo.InvariantCulture, $"returned-{known.ChangedAt.ToUnixTimeMilliseconds()}"), back.Record.Title, back.Record.Details, fence, cancel);
                await ChangeAsync(back.Record, $"The alert is {back.Reason}", "returned", fence, cancel);
                break;
            case AlertDecision.Change change:
                if (change.Worse)
                    await TellAsync(await IncidentAsync(known!, cancel) with { Severity = change.Record.Severity, Command = change.Record.Command }, $"worsened-{AlertDecision.Word(change.Record.Severity)}", change.Record.Title, change.Record.Details, fence, cancel);
                await ChangeAsync(change.Record, change.Worse ? $"Worse, {change.Reason}" : $"{change.Reason}. {change.Record.Details}", change.Worse ? "worsened" : "changed", fence, cancel);
                break;
        }
    }

    private async Task OpenAsync(AlertRecord record, Fence fence, CancellationToken cancel)
    {
        var all = await book.ListAsync(cancel);
        var open = all.Where(i => !i.Ended).ToList();
        // Cut short before, or begun by a person's run a moment ago: it is the same trouble.
        var same = open.Find(i => i.Alert == record.Key) ?? open.Find(i => i.Alert is null && i.Regions.Any(record.Regions.Contains));
        if (same is null && open.Count >= IncidentRetention.OpenMax)
        {
            LogTooMany(logger, open.Count, record.Key, record.Title);
            return;
        }
        record = record with { Incident = same?.Id ?? record.Incident };
        var incident = same ?? new Incident
        {
            Id = record.Incident,
            Title = record.Title,
            Severity = record.Severity,
            OpenedAt = record.RaisedAt,
            Alert = record.Key,
            Details = record.Details,
            Command = record.Command,
            Regions = record.Regions,
            Services = record.Services,
        };
        // The incident first: cut short after it, the next raise finds it; a notification first would name an incident that nobody ever opened.
        await book.OpenAsync(incident, Actor, fence, cancel);
        await TellAsync(incident, "opened", record.Title, record.Details, fence, cancel);
        if (same is { Alert: null })
            await book.MoveAsync(same.Id, i => i.Alert is null ? IncidentMove.Join(i, record) : new IncidentMove.Nothing("joined"), TimelineKind.Alert, "joined", Actor, null, fence, cancel);
        await book.PutAsync(record, fence, cancel);
        await events.RecordAsync("alert.raised", Actor, $"{record.Key} ({AlertDecision.Word(record.Severity)}): {record.Title}", Data(record), cancel);
        LogRaised(logger, record.Key, AlertDecision.Word(record.Severity), record.Title, record.Incident);
    }

    private async Task ChangeAsync(AlertRecord record, string said, string what, Fence fence, CancellationToken cancel)
    {
        await book.MoveAsync(record.Incident, i => IncidentMove.Worsen(i, record, said), TimelineKind.Alert, what, Actor, null, fence, cancel);
        await book.PutAsync(record, fence, cancel);
    }

    private async Task ClearAsync(string key, string? reason, Fence fence, CancellationToken cancel)
    {
        if (AlertDecision.Clear(await book.AlertAsync(key, cancel), time.GetUtcNow(), reason) is not AlertDecision.Calm calm)
            return;
        await book.MoveAsync(calm.Record.Incident, i => IncidentMove.Mitigate(i, time.GetUtcNow(), calm.Reason), TimelineKind.Alert, "mitigated", Actor, null, fence, cancel);
        await book.PutAsync(calm.Record, fence, cancel);
        await events.RecordAsync("alert.cleared", Actor, $"{key}: {calm.Reason}", Data(calm.Record), cancel);
    }

    private async Task SettleAsync(string key, Fence fence, CancellationToken cancel)
    {
        if (await book.AlertAsync(key, cancel) is not { } known || AlertDecision.Look(known, time.GetUtcNow(), rules) is not AlertDecision.Settle settle)
            return;
        var incident = await book.GetAsync(known.Incident, cancel);
        if (incident is { Ended: false, AcknowledgedAt: null })
        {
            await TellAsync(incident, "resolved", incident.Title, $"Over: {settle.Reason}.", fence, cancel);
            await book.MoveAsync(incident.Id, i => IncidentMove.Resolve(i, Actor, null, false, time.GetUtcNow()), TimelineKind.State, "resolved", Actor, $"The alert was {settle.Reason}.", fence, cancel);
        }
        else if (incident is { Ended: false })
        {
            await book.AddLineAsync(incident.Id, new TimelineEntry { At = time.GetUtcNow(), Kind = TimelineKind.Alert, Actor = Actor, Text = $"The alert was {settle.Reason}; {incident.AcknowledgedBy} has the incident and resolves it." }, fence, cancel);
        }
        await book.PutAsync(settle.Record, fence, cancel);
    }

    /// <summary>Puts a notification about an incident into the outbox, for everyone whom the policy names.</summary>
    private Task TellAsync(Incident incident, string what, string title, string details, Fence? fence, CancellationToken cancel)
    {
        var notification = new Notification
        {
            Key = $"{incident.Id}/{what}",
            Severity = incident.Severity,
            Title = title,
            Text = Texts.Cut($"{details}{(incident.Command is { } command && what != "resolved" ? $" Command: {command}" : "")} See: br incident show {incident.Id}".TrimStart(), Notification.TextMax),
            At = time.GetUtcNow(),
            What = what.Split('-')[0],
            Incident = incident.Id,
            Group = incident.Id,
            Command = what == "resolved" ? null : incident.Command,
        };
        return outbox.AddAsync(notification, AlertRouting.Channels(policy.Current, incident.Alert ?? $"run/{incident.Run}", incident.Severity), fence, cancel);
    }

    private async Task<Incident> IncidentAsync(AlertRecord alert, CancellationToken cancel) =>
        await book.GetAsync(alert.Incident, cancel) ?? throw new InvalidOperationException($"{alert.Incident} was there a moment ago.");

    /// <summary>One change at a time, as the leader; a store that fails is in the log, and the source raises again at its next pass.</summary>
    private async Task UnderGateAsync(string key, Func<Fence, Task> act, CancellationToken cancel)
    {
        if (lead() is not { } fence)
            return;
        await _gate.WaitAsync(cancel);
        try { await act(fence); }
        catch (Exception error) when (error is StoreException or StoreFencedException) { LogNotWritten(logger, error, key); }
        finally { _gate.Release(); }
    }

    private static Dictionary<string, string> Data(AlertRecord record) => new() { ["alert"] = record.Key, ["incident"] = record.Incident };

    private static string NewId(DateTimeOffset now) => string.Create(CultureInfo.InvariantCulture, $"inc-{now:yyyyMMdd-HHmmss}-{Guid.NewGuid().ToString("N")[..4]}");

    [LoggerMessage(Level = LogLevel.Warning, Message = "Alert {Key} ({Severity}): {Title}. Incident {Incident}.")]
    private static partial void LogRaised(ILogger logger, string key, string severity, string title, string incident);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Open} incidents are not over: no more are opened. Alert {Key} is only written here: {Title}")]
    private static partial void LogTooMany(ILogger logger, int open, string key, string title);

    [LoggerMessage(Level = LogLevel.Error, Message = "What became of the alert {Key} could not be written; its source says it again.")]
    private static partial void LogNotWritten(ILogger logger, Exception error, string key);
}
