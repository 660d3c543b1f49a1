using BuildRunner.Client.Hosting;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Hosting;

namespace BuildRunner.Server.Databases;

/// <summary>
/// The known lag of each copy: the primary's last report minus the last moment at which the copy was known to hold everything. It does not
/// grow after the primary's death. Kept in memory: 256 reports of the primary, about two minutes.
/// </summary>
public sealed class ReplicationWatch : IHostedService, IDisposable
{
    private const int SamplesMax = 256;
    private readonly Lock _gate = new();
    private readonly INodeReports _reports;
    private readonly TimeProvider _time;
    private readonly LinkedList<(long At, Lsn Written, long? Marker, string Region)> _primary = new();
    private readonly Dictionary<string, Lsn> _copies = new(StringComparer.Ordinal);
    private IDisposable? _listening;

    public ReplicationWatch(INodeReports reports, TimeProvider time)
    {
        (_reports, _time) = (reports, time);
        _listening = reports.OnReport(Reported);
    }

    /// <summary>Null: unknown, because the primary or the copy has not reported since this server started.</summary>
    public TimeSpan? KnownLag(string region)
    {
        lock (_gate)
        {
            if (_primary.Last is not { Value: var last } || !_copies.TryGetValue(region, out var holds))
                return null;
            for (var sample = _primary.Last; sample is not null && sample.Value.Marker == last.Marker; sample = sample.Previous)
            {
                if (sample.Value.Written <= holds)
                    return _time.GetElapsedTime(sample.Value.At, last.At);
            }
            return null;
        }
    }

    /// <summary>The newest position that the primary is known to have written, its region and epoch.</summary>
    public (string Region, Lsn Written, long? Epoch, TimeSpan Age)? Primary
    {
        get
        {
            lock (_gate)
                return _primary.Last is { Value: var last } ? (last.Region, last.Written, last.Marker, _time.GetElapsedTime(last.At)) : null;
        }
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public void Dispose()
    {
        _listening?.Dispose();
        _listening = null;
    }

    private void Reported(NodeName node)
    {
        if (node.Kind != NodeKind.Agent || _reports.Agent(node.Region)?.Database is not { } reading)
            return;
        lock (_gate)
        {
            if (reading is { State: DatabaseState.Primary, Written: { } written } && !(reading.MarkerEpoch < _primary.Last?.Value.Marker))
            {
                _primary.AddLast((_time.GetTimestamp(), written, reading.MarkerEpoch, node.Region));
                if (_primary.Count > SamplesMax)
                    _primary.RemoveFirst();
            }
            else if (reading.State == DatabaseState.Standby && (reading.Received ?? reading.Replayed) is { } received)
            {
                _copies[node.Region] = reading.Replayed is { } replayed ? Lsn.Max(received, replayed) : received;
            }
        }
    }
}
