using System.Collections.Concurrent;
using BuildRunner.Client.Hosting;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Recovery.Failover;

/// <summary>
/// Known lag: from the last moment at which a copy was known to hold everything that its primary had reported, to the primary's last report.
/// Kept from the agents' reports, on the server's monotonic clock; it does not grow after the primary's death.
/// </summary>
internal sealed class LagWatch : IDisposable
{
    private readonly INodeReports _reports;
    private readonly TimeProvider _time;
    private readonly IDisposable _subscription;
    private readonly ConcurrentDictionary<string, (Lsn Written, long At)> _primaries = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<(string Copy, string Primary), long> _caughtUp = new();

    public LagWatch(INodeReports reports, TimeProvider time)
    {
        (_reports, _time) = (reports, time);
        _subscription = reports.OnReport(Reported);
    }

    /// <summary>Null when either has not been heard of.</summary>
    public (TimeSpan Lag, long Bytes)? Of(string copy, string primary, DatabaseReading? reading)
    {
        if (!_primaries.TryGetValue(primary, out var last) || reading is null)
            return null;
        var bytes = Math.Max(0, last.Written - FailoverPlanner.Held(reading));
        if (bytes == 0)
            return (TimeSpan.Zero, 0);
        return _caughtUp.TryGetValue((copy, primary), out var at) ? (at < last.At ? _time.GetElapsedTime(at, last.At) : TimeSpan.Zero, bytes) : null;
    }

    /// <summary>Last position that a primary reported.</summary>
    public Lsn? Written(string primary) => _primaries.TryGetValue(primary, out var last) ? last.Written : null;

    public void Dispose() => _subscription.Dispose();

    private void Reported(NodeName node)
    {
        if (node.Kind != NodeKind.Agent || _reports.LastAgent(node.Region)?.Report.Database is not { } reading)
            return;
        var now = _time.GetTimestamp();
        if (reading is { State: DatabaseState.Primary or DatabaseState.Sealed, Written: { } written })
        {
            _primaries[node.Region] = (written, now);
        }
        else
        {
            foreach (var (primary, last) in _primaries)
            {
                if (FailoverPlanner.Held(reading) >= last.Written)
                    _caughtUp[(node.Region, primary)] = now;
            }
        }
    }
}
