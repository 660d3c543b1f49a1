using System.Text.Json;
using BuildRunner.Client.Alerting;
using BuildRunner.Core.Alerting;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Alerting;

/// <summary>
/// Notifications that have not been told yet (`outbox/`) and those that were, or were given up (`deliveries/`, the newest 500). A notification is
/// known by its key and channel: putting it in twice changes nothing.
/// </summary>
internal sealed class Outbox(IStore store, TimeProvider time)
{
    public const string Prefix = "outbox/";
    public const string EndedPrefix = "deliveries/";
    public const int PendingMax = 1000;
    public const int EndedMax = 500;

    public static string IdOf(Delivery delivery) => IdOf(delivery.Notification.Key, delivery.Channel);

    public static string IdOf(string key, string channel) => $"{key}/{channel}";

    /// <summary>Written before anything is sent; from then on a crash loses nothing.</summary>
    public async Task AddAsync(Notification notification, IEnumerable<string> channels, Fence? fence, CancellationToken cancel)
    {
        foreach (var channel in channels)
        {
            var delivery = new Delivery { Notification = notification, Channel = channel, NextAt = time.GetUtcNow() };
            if (await store.GetAsync(EndedPrefix + IdOf(delivery), cancel) is null)
                Check(await store.PutAsync(Prefix + IdOf(delivery), Bytes(delivery), 0, fence, cancel), conflictIsFine: true);
        }
    }

    public async Task<Delivery?> FindAsync(string id, CancellationToken cancel) =>
        (await store.GetAsync(EndedPrefix + id, cancel) ?? await store.GetAsync(Prefix + id, cancel)) is { } entry ? Read(entry) : null;

    public async Task<IReadOnlyList<Delivery>> PendingAsync(CancellationToken cancel, string about = "") =>
        [.. (await store.ListAsync(Prefix + about, cancel)).Select(Read).OrderBy(d => d.Notification.At)];

    public async Task<IReadOnlyList<Delivery>> EndedAsync(CancellationToken cancel, string about = "") =>
        [.. (await store.ListAsync(EndedPrefix + about, cancel)).Select(Read).OrderBy(d => d.EndedAt)];

    /// <summary>Everything about one incident, the oldest first.</summary>
    public async Task<IReadOnlyList<Delivery>> AboutAsync(string incident, CancellationToken cancel) =>
        [.. (await EndedAsync(cancel, incident + "/")).Concat(await PendingAsync(cancel, incident + "/")).DistinctBy(IdOf).OrderBy(d => d.Notification.At).ThenBy(d => d.Channel, StringComparer.Ordinal)];

    /// <summary>Writes down how an attempt ended. An ended one moves over first and leaves the outbox then: cut short between, it is found as ended.</summary>
    public async Task SaveAsync(Delivery delivery, Fence? fence, CancellationToken cancel)
    {
        if (delivery.State == DeliveryState.Pending)
        {
            Check(await store.PutAsync(Prefix + IdOf(delivery), Bytes(delivery), null, fence, cancel));
            return;
        }
        Check(await store.PutAsync(EndedPrefix + IdOf(delivery), Bytes(delivery), null, fence, cancel));
        await RemoveAsync(delivery, fence, cancel);
    }

    public async Task RemoveAsync(Delivery delivery, Fence? fence, CancellationToken cancel) =>
        Check(await store.DeleteAsync(Prefix + IdOf(delivery), null, fence, cancel), conflictIsFine: true);

    public async Task PruneAsync(Fence? fence, CancellationToken cancel)
    {
        var ended = await EndedAsync(cancel);
        foreach (var old in ended.Take(Math.Max(0, ended.Count - EndedMax)))
            await store.DeleteAsync(EndedPrefix + IdOf(old), null, fence, cancel);
    }

    private static void Check(StoreWrite write, bool conflictIsFine = false)
    {
        if (write is StoreWrite.Fenced fenced)
            throw new Runbooks.StoreFencedException($"Another server leads now (fencing token {fenced.Current}).");
        if (write is StoreWrite.Conflict && !conflictIsFine)
            throw new StoreException("A notification was changed by somebody else.");
    }

    private static byte[] Bytes(Delivery delivery) => JsonSerializer.SerializeToUtf8Bytes(delivery, AlertingJson.Default.Delivery);

    private static Delivery Read(StoreEntry entry) =>
        JsonSerializer.Deserialize(entry.Value.Span, AlertingJson.Default.Delivery) ?? throw new JsonException($"{entry.Key} holds null.");
}
