using System.Collections.Concurrent;
using BuildRunner.Client.Hosting;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Routing;

/// <summary>Keeps the table true: looks twice a second, and at once when a verdict, an epoch, a hold, the policy or an instance has changed.</summary>
internal sealed class RoutingLoop : ReconcileLoop
{
    /// <summary>While a run moves a database it publishes by itself what counts; what else changes meanwhile is gathered for so long.</summary>
    private static readonly TimeSpan MovingPause = TimeSpan.FromMilliseconds(250);

    private readonly RoutingDesk _desk;
    private readonly ITrafficControl _traffic;
    private readonly LeaderLease _lead;
    private readonly INodeReports _reports;
    private readonly TimeProvider _time;
    private readonly IDisposable[] _hints;
    private readonly ConcurrentDictionary<string, int> _seen = new(StringComparer.Ordinal);

    public RoutingLoop(RoutingDesk desk, ITrafficControl traffic, LeaderLease lead, IPolicySource policy, IRegionHealth health, IProbePlan probes, INodeReports reports, IStore store, TimeProvider time, ILogger<RoutingLoop> logger)
        : base(TimeSpan.FromMilliseconds(500), time, logger)
    {
        (_desk, _traffic, _lead, _reports, _time) = (desk, traffic, lead, reports, time);
        _hints =
        [
            policy.OnChange(Wake), health.OnChange(Wake), probes.OnChange(Wake),
            reports.OnReport(Reported),
            store.Watch("databases/", _ => Wake()),
            store.Watch(RoutingRecords.HoldPrefix, _ => Wake()),
        ];
    }

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        if (_lead.Acting is { } fence)
            await _traffic.ReleaseEndedAsync(fence, cancel);
        if (_desk.View?.Table.Databases.Any(d => d.HoldId is not null) == true)
            await Task.Delay(MovingPause, _time, cancel);
        await _desk.PublishAsync(cancel);
    }

    public override void Dispose()
    {
        foreach (var hint in _hints)
            hint.Dispose();
        base.Dispose();
    }

    /// <summary>Reports come twice a second from everyone; only one that changes what routing reads off it wakes the loop.</summary>
    private void Reported(NodeName node)
    {
        if (node.Kind != NodeKind.Agent || _reports.Agent(node.Region) is not { } report)
            return;
        var print = new HashCode();
        print.Add(report.Database?.State);
        print.Add(report.Database?.MarkerEpoch);
        print.Add(report.Database?.AcceptsConnections);
        foreach (var instance in report.Instances)
            print.Add((instance.Id, instance.Address, instance.Ready, instance.Draining));
        var now = print.ToHashCode();
        if (!_seen.TryGetValue(node.Region, out var before) || before != now)
        {
            _seen[node.Region] = now;
            Wake();
        }
    }
}
