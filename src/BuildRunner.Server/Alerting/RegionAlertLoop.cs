using BuildRunner.Core.Alerting;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Runbooks;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Alerting;

/// <summary>Raises the loss of the region that takes writes, by the verdicts in force; its alert carries the command that helps.</summary>
internal sealed class RegionAlertLoop : ReconcileLoop
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    /// <summary>After a start everything comes up one after the other: until the region was seen well once, or for this long, its absence is no news.</summary>
    private static readonly TimeSpan StartGrace = TimeSpan.FromSeconds(20);

    /// <summary>While a run moves the writes, the old region stands still on purpose; a move that takes longer than this has gone wrong.</summary>
    private static readonly TimeSpan MoveMax = TimeSpan.FromMinutes(2);

    private readonly IRegionHealth _health;
    private readonly IPolicySource _policy;
    private readonly Epochs _epochs;
    private readonly RunRecords _runs;
    private readonly IncidentBook _book;
    private readonly IAlerts _alerts;
    private readonly Lead _lead;
    private readonly TimeProvider _time;
    private readonly IDisposable _hint;
    private readonly long _started;
    private bool _seenWell;

    public RegionAlertLoop(IRegionHealth health, IPolicySource policy, Epochs epochs, RunRecords runs, IncidentBook book, IAlerts alerts, Lead lead, TimeProvider time, ILogger<RegionAlertLoop> logger)
        : base(Interval, time, logger)
    {
        (_health, _policy, _epochs, _runs, _book, _alerts, _lead, _time) = (health, policy, epochs, runs, book, alerts, lead, time);
        _started = time.GetTimestamp();
        _hint = health.OnChange(Wake);
    }

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        if (_lead() is null || !_health.Settled)
            return;
        var policy = _policy.Current;
        var epoch = await _epochs.GetAsync(RegionReader.DatabaseOf(policy), cancel);
        var verdicts = _health.Current.ToDictionary(v => v.Code, StringComparer.Ordinal);
        var regions = policy.Regions.Where(r => verdicts.ContainsKey(r.Code)).Select(r => StatusOf(r, verdicts[r.Code], epoch?.Primary)).ToList();
        if (regions.Count < policy.Regions.Count)
            return; // a policy was swapped a moment ago: the verdicts follow
        var firing = (await _book.AlertsAsync(cancel, RegionAlerts.Kind + "/")).Where(a => a.State == AlertState.Firing).Select(a => a.Key).ToList();
        var decided = RegionAlerts.Decide(regions, policy, _policy.Freeze is not null, firing);
        _seenWell |= regions.Exists(r => r is { Role: RegionRole.Primary, Health: HealthState.Healthy });
        var moving = epoch is { State: not EpochState.Open } && _time.GetUtcNow() - epoch.At < MoveMax;
        var isNews = firing.Count > 0 || (!moving && (_seenWell || _time.GetElapsedTime(_started) > StartGrace));
        foreach (var alert in isNews ? decided.Raise : [])
            await _alerts.RaiseAsync(alert, cancel);
        // The epoch names the new primary before users may write there: the trouble is over when the run has let them.
        if (decided.Clear.Count > 0 && !await HasResumedAsync(epoch, cancel))
            return;
        foreach (var (key, reason) in decided.Clear)
            await _alerts.ClearAsync(key, reason, cancel);
    }

    public override void Dispose()
    {
        _hint.Dispose();
        base.Dispose();
    }

    private async Task<bool> HasResumedAsync(EpochRecord? epoch, CancellationToken cancel) =>
        epoch is not { Run: { } run }
        || await _runs.GetAsync(run, cancel) is not { FinishedAt: null } record
        || (epoch.State == EpochState.Open && record.Steps.Where(s => !s.AfterResume).All(s => s.Status is StepStatus.Done or StepStatus.Failed or StepStatus.Skipped));

    private static StatusRegion StatusOf(Core.Policy.RegionDefinition region, RegionVerdict verdict, string? primary) =>
        new(region.Code, CurrentRole.Of(region.Role, region.Code, primary), verdict.Health, verdict.Since, verdict.Reason, region.DatabaseHost is not null);
}
