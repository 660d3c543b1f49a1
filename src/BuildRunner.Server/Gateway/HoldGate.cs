using System.Collections.Concurrent;
using BuildRunner.Core.Routing;

namespace BuildRunner.Server.Gateway;

/// <summary>Where held writes wait: bounded in number, in bytes and in time.</summary>
internal sealed class HoldGate(GatewayTable table, TimeProvider time)
{
    private readonly ConcurrentDictionary<string, Counter> _waiting = new(StringComparer.Ordinal);
    private readonly Lock _gate = new();
    private int _requests;
    private long _bytes;

    /// <summary>Writes that wait for a database now.</summary>
    public int Waiting(string database) => _waiting.TryGetValue(database, out var count) ? count.Value : 0;

    /// <summary>Waits until the hold is gone, its time is up, or there is no room to wait.</summary>
    public async Task<HoldEnd> WaitAsync(string database, string holdId, long bodyBytes, TimeSpan patience, CancellationToken aborted)
    {
        var rules = table.State?.View.Table.Hold ?? new HoldRules();
        lock (_gate)
        {
            if (_requests >= rules.RequestsMax || _bytes + bodyBytes > rules.BodyBytesMax)
                return HoldEnd.Full;
            _requests++;
            _bytes += bodyBytes;
        }
        var counter = _waiting.GetOrAdd(database, static _ => new Counter());
        counter.Increment();
        try
        {
            var started = time.GetTimestamp();
            while (true)
            {
                var changed = table.Changed;
                if (table.HoldLeft(database, holdId) is not { } left) // one look: between two the hold may end, and would seem to have run out
                    return HoldEnd.Released;
                var own = patience - time.GetElapsedTime(started);
                left = left < own ? left : own;
                if (left <= TimeSpan.Zero)
                    return HoldEnd.Expired;
                await changed.WaitAsync(left, time, aborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                aborted.ThrowIfCancellationRequested();
            }
        }
        finally
        {
            counter.Decrement();
            lock (_gate)
            {
                _requests--;
                _bytes -= bodyBytes;
            }
        }
    }
}

/// <summary>How a wait ended.</summary>
internal enum HoldEnd
{
    Released,
    Expired,
    Full,
}

/// <summary>A number that many threads change.</summary>
internal sealed class Counter
{
    private int _value;

    public int Value => Volatile.Read(ref _value);
    public int Increment() => Interlocked.Increment(ref _value);
    public int Decrement() => Interlocked.Decrement(ref _value);
}
