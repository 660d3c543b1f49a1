using System.Collections.Concurrent;
using BuildRunner.Core.Alerting;
using BuildRunner.Server.Alerting.Channels;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Alerting;

/// <summary>Tells what stands in the outbox: at least once, under the same key; a channel that fails is tried again with growing pauses, and shown.</summary>
internal sealed partial class OutboxLoop : ReconcileLoop
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan AttemptMax = TimeSpan.FromSeconds(10);
    private const int PerPass = 20;

    private readonly Outbox _outbox;
    private readonly ChannelSet _channels;
    private readonly IncidentBook _book;
    private readonly IEventLog _events;
    private readonly Lead _lead;
    private readonly TimeProvider _time;
    private readonly ILogger<OutboxLoop> _logger;
    private readonly IDisposable _hint;

    /// <summary>One notification at a time through a channel, also when a runbook's step asks beside the loop.</summary>
    private readonly ConcurrentDictionary<string, SemaphoreSlim> _gates = new(StringComparer.Ordinal);

    public OutboxLoop(IStore store, Outbox outbox, ChannelSet channels, IncidentBook book, IEventLog events, Lead lead, TimeProvider time, ILogger<OutboxLoop> logger)
        : base(Interval, time, logger)
    {
        (_outbox, _channels, _book, _events, _lead, _time, _logger) = (outbox, channels, book, events, lead, time, logger);
        _hint = store.Watch(Outbox.Prefix, _ => Wake());
    }

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        if (_lead() is not { } fence)
            return;
        var pending = await _outbox.PendingAsync(cancel);
        foreach (var old in pending.OrderByDescending(d => d.Notification.Severity).ThenByDescending(d => d.Notification.At).Skip(Outbox.PendingMax))
            await EndAsync(DeliveryDecision.After(old, new ChannelOutcome.Failed($"more than {Outbox.PendingMax} notifications wait", Permanent: true), _time.GetUtcNow()), fence, cancel);
        var now = _time.GetUtcNow();
        await Task.WhenAll(pending.Where(d => d.NextAt <= now).GroupBy(d => d.Channel, StringComparer.Ordinal).Select(channel => DeliverAsync([.. channel.Take(PerPass)], fence, cancel)));
    }

    /// <summary>Tries one now, whatever its pause; how it stands then, or null when it is unknown.</summary>
    public async Task<Delivery?> DeliverAsync(string id, Fence fence, CancellationToken cancel)
    {
        if (await _outbox.FindAsync(id, cancel) is not { } asked)
            return null;
        var gate = _gates.GetOrAdd(asked.Channel, _ => new SemaphoreSlim(1));
        await gate.WaitAsync(cancel);
        try
        {
            if (await _outbox.FindAsync(id, cancel) is not { } delivery)
                return null;
            if (delivery.State != DeliveryState.Pending)
            {
                await _outbox.RemoveAsync(delivery, fence, cancel); // ended, and cut short before it left the outbox
                return delivery;
            }
            var after = DeliveryDecision.After(delivery, await AttemptAsync(delivery, cancel), _time.GetUtcNow());
            if (after.State == DeliveryState.Pending)
                await _outbox.SaveAsync(after, fence, cancel);
            else
                await EndAsync(after, fence, cancel);
            if (after.Error is { } error)
                LogFailed(_logger, after.Channel, after.Notification.Key, after.Attempts, error, after.State == DeliveryState.Failed ? "given up" : "tried again");
            return after;
        }
        finally { gate.Release(); }
    }

    public override void Dispose()
    {
        _hint.Dispose();
        base.Dispose();
        foreach (var gate in _gates.Values)
            gate.Dispose();
    }

    /// <summary>One channel's, in order; after a failure the rest wait for the next pass, so that a dead channel holds nobody up for long.</summary>
    private async Task DeliverAsync(IReadOnlyList<Delivery> due, Fence fence, CancellationToken cancel)
    {
        foreach (var delivery in due)
        {
            if (await DeliverAsync(Outbox.IdOf(delivery), fence, cancel) is { State: DeliveryState.Pending })
                return;
        }
    }

    private async Task<ChannelOutcome> AttemptAsync(Delivery delivery, CancellationToken cancel)
    {
        if (_channels.Find(delivery.Channel) is not { } channel)
            return new ChannelOutcome.Failed(_channels.Problem(delivery.Channel) ?? "the channel is gone", Permanent: true);
        using var late = new CancellationTokenSource(AttemptMax, _time);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel, late.Token);
        try { return await channel.SendAsync(delivery.Notification, stop.Token); }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested) { throw; }
        catch (OperationCanceledException) { return new ChannelOutcome.Failed($"{delivery.Channel} did not answer within {AttemptMax.TotalSeconds:0} s"); }
        catch (Exception error)
        {
            // What a driver throws may quote a secret: only its kind is told.
            return new ChannelOutcome.Failed($"{delivery.Channel}: the driver failed ({error.GetType().Name})");
        }
    }

    private async Task EndAsync(Delivery delivery, Fence fence, CancellationToken cancel)
    {
        await _outbox.SaveAsync(delivery, fence, cancel);
        var (notification, sent) = (delivery.Notification, delivery.State == DeliveryState.Sent);
        var text = sent ? $"Told {delivery.Channel}: {notification.What}." : $"Could not tell {delivery.Channel} ({notification.What}): {delivery.Error}";
        if (notification.Incident is { } incident)
            await _book.AddLineAsync(incident, new TimelineEntry { At = _time.GetUtcNow(), Kind = TimelineKind.Notification, Actor = "server", Text = text, Source = $"delivery/{Outbox.IdOf(delivery)}" }, fence, cancel);
        await _events.RecordAsync(sent ? "notification.sent" : "notification.failed", "server", $"{text} {notification.Title}",
            new Dictionary<string, string> { ["channel"] = delivery.Channel, ["key"] = notification.Key, ["incident"] = notification.Incident ?? "" }, cancel);
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "Channel {Channel}, notification {Key}, attempt {Attempt}: {Error} ({What}).")]
    private static partial void LogFailed(ILogger logger, string channel, string key, int attempt, string error, string what);
}
