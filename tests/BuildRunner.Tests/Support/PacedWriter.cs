using System.Diagnostics;

namespace BuildRunner.Tests.Support;

/// <summary>Fail: surely not executed. Unknown: anything else that is not a 200 or 201.</summary>
public enum OrderOutcomeKind
{
    Ok,
    Fail,
    Unknown,
}

/// <summary>One order: when it was sent and answered, on this process's monotonic clock (`Stopwatch` ticks), and what became of it.</summary>
public sealed record OrderRecord(Guid Id, long Invoked, long Completed, OrderOutcomeKind Outcome, int? Status, string? ServedBy, long? Epoch, string? Error);

/// <summary>
/// Makes a write every interval without waiting for the one before, each with an id of its own; never makes one again. When too many are under
/// way a turn is skipped and counted.
/// </summary>
public sealed class PacedWriter : IAsyncDisposable
{
    private readonly string _target;
    private readonly TimeSpan _interval;
    private readonly int _inFlightMax;
    private readonly Func<Guid, Task<OrderRecord>> _write;
    private readonly CancellationTokenSource _stop = new();
    private readonly List<OrderRecord> _records = [];
    private readonly HashSet<Task> _inFlight = [];
    private readonly Task _running;
    private int _skipped;

    private PacedWriter(string target, TimeSpan interval, int inFlightMax, Func<Guid, Task<OrderRecord>> write)
    {
        (_target, _interval, _inFlightMax, _write) = (target, interval, inFlightMax, write);
        _running = RunAsync();
    }

    /// <summary>`write` sends once and always returns what became of it; it throws nothing.</summary>
    public static PacedWriter Start(string target, TimeSpan interval, int inFlightMax, Func<Guid, Task<OrderRecord>> write) => new(target, interval, inFlightMax, write);

    /// <summary>What has been answered so far.</summary>
    public IReadOnlyList<OrderRecord> Records
    {
        get
        {
            lock (_records)
                return [.. _records];
        }
    }

    /// <summary>Waits until so many more writes have been acknowledged.</summary>
    public async Task AcknowledgedAsync(int more, CancellationToken cancel, TimeSpan? limit = null)
    {
        int Count() => Records.Count(record => record.Outcome == OrderOutcomeKind.Ok);
        var target = Count() + more;
        await Eventually.TrueAsync(() => Count() >= target, $"{more} more orders are acknowledged by {_target}; last: {(Records is [.., var last] ? last : null)}", cancel, limit);
    }

    /// <summary>Makes no more, waits for what is under way, and says what happened.</summary>
    public async Task<OrderReport> StopAsync()
    {
        await _stop.CancelAsync();
        await _running;
        Task[] left;
        lock (_records)
            left = [.. _inFlight];
        await Task.WhenAll(left);
        return new OrderReport(Records, _skipped);
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        using var timer = new PeriodicTimer(_interval);
        try
        {
            while (await timer.WaitForNextTickAsync(_stop.Token))
            {
                lock (_records)
                {
                    if (_inFlight.Count >= _inFlightMax)
                    {
                        _skipped++;
                        continue;
                    }

                    var write = WriteAsync();
                    _inFlight.Add(write);
                    _ = write.ContinueWith(done =>
                    {
                        lock (_records)
                            _inFlight.Remove(done);
                    }, TaskScheduler.Default);
                }
            }
        }
        catch (OperationCanceledException) { }
    }

    private async Task WriteAsync()
    {
        await Task.Yield(); // never under the caller's lock
        var record = await _write(Guid.NewGuid());
        lock (_records)
            _records.Add(record);
    }
}
