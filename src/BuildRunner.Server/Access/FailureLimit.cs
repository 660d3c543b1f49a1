using System.Collections.Concurrent;

namespace BuildRunner.Server.Access;

/// <summary>
/// Counts requests without a valid token per address: after 20 in ten seconds the answer is 429. Valid tokens pass all the same, so that one
/// misconfigured neighbour cannot shut others out. At most 1,024 addresses are kept.
/// </summary>
internal sealed class FailureLimit(TimeProvider time)
{
    public const int FailuresMax = 20;
    private const int AddressesMax = 1024;
    public static readonly TimeSpan Window = TimeSpan.FromSeconds(10);

    private readonly ConcurrentDictionary<string, Counter> _counters = new(StringComparer.Ordinal);

    /// <summary>Counts a failure; true when there are too many, and whether it is the first of a window (so that one line is logged).</summary>
    public (bool TooMany, bool First) Count(string address)
    {
        if (_counters.Count >= AddressesMax)
        {
            foreach (var (old, counter) in _counters)
            {
                if (time.GetElapsedTime(counter.From) > Window)
                    _counters.TryRemove(old, out _);
            }
            if (_counters.Count >= AddressesMax)
                return (true, false);
        }
        var mine = _counters.GetOrAdd(address, static (_, clock) => new Counter(clock.GetTimestamp()), time);
        lock (mine)
        {
            if (time.GetElapsedTime(mine.From) > Window)
                (mine.From, mine.Failures) = (time.GetTimestamp(), 0);
            mine.Failures++;
            return (mine.Failures > FailuresMax, mine.Failures == 1);
        }
    }

    private sealed class Counter(long from)
    {
        public long From { get; set; } = from;
        public int Failures { get; set; }
    }
}
