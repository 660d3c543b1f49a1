using System.Collections.Concurrent;
using BuildRunner.Client.Routing;

namespace BuildRunner.Server.Gateway;

/// <summary>
/// Writes that are out, and the first and last acknowledged write of each epoch, by the monotonic clock. Keeps the last 8 epochs a database.
/// An outage lasts from the arrival of the first write that was not acknowledged at once (held, refused, failed) to the first acknowledged one
/// of the next epoch: time in which nobody wrote is no outage.
/// </summary>
internal sealed class WriteLedger(TimeProvider time)
{
    private const int EpochsMax = 8;
    private readonly ConcurrentDictionary<string, Counter> _inFlight = new(StringComparer.Ordinal);
    private readonly Lock _gate = new();
    private readonly List<Entry> _entries = [];
    private readonly Dictionary<string, long> _waitingSince = new(StringComparer.Ordinal);

    public int InFlight(string database) => _inFlight.TryGetValue(database, out var count) ? count.Value : 0;

    public void Begin(string database) => _inFlight.GetOrAdd(database, static _ => new Counter()).Increment();

    public void End(string database) => _inFlight[database].Decrement();

    /// <summary>A user's write that arrived at <paramref name="arrived"/> was held, refused or failed; the earliest since the last acknowledged one counts.</summary>
    public void Delayed(string database, long arrived)
    {
        lock (_gate)
        {
            if (!_waitingSince.TryGetValue(database, out var since) || arrived < since)
                _waitingSince[database] = arrived;
        }
    }

    /// <summary>A user's write that arrived at <paramref name="arrived"/> was acknowledged; true when it is the first of its epoch.</summary>
    public bool Acknowledged(string database, long epoch, long arrived)
    {
        var (stamp, now) = (time.GetTimestamp(), time.GetUtcNow());
        lock (_gate)
        {
            if (!_waitingSince.Remove(database, out var since) || arrived < since)
                since = arrived;
            if (_entries.Find(e => e.Database == database && e.Epoch == epoch) is { } entry)
            {
                entry.Last = (stamp, now);
                entry.Count++;
                return false;
            }
            var before = _entries.Where(e => e.Database == database && e.Epoch < epoch).ToList();
            _entries.Add(new Entry
            {
                Database = database,
                Epoch = epoch,
                First = now,
                Last = (stamp, now),
                Count = 1,
                OutageMs = before.Count == 0 ? null : time.GetElapsedTime(Math.Max(before.Max(e => e.Last.Stamp), since), stamp).TotalMilliseconds,
            });
            if (before.Count >= EpochsMax)
                _entries.Remove(before.MinBy(e => e.Epoch)!);
            return true;
        }
    }

    public IReadOnlyList<WriteReading> Read()
    {
        lock (_gate)
        {
            return
            [
                .. _entries.OrderBy(e => e.Database, StringComparer.Ordinal).ThenBy(e => e.Epoch).Select(e => new WriteReading
                {
                    Database = e.Database,
                    Epoch = e.Epoch,
                    First = e.First,
                    Last = e.Last.At,
                    Count = e.Count,
                    OutageMs = e.OutageMs,
                }),
            ];
        }
    }

    private sealed class Entry
    {
        public required string Database { get; init; }
        public required long Epoch { get; init; }
        public required DateTimeOffset First { get; init; }
        public required (long Stamp, DateTimeOffset At) Last { get; set; }
        public required long Count { get; set; }
        public required double? OutageMs { get; init; }
    }
}
