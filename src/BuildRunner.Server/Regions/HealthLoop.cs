using BuildRunner.Core.Regions;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Regions;

/// <summary>Looks at what observers and agents report, says how healthy each region is, and tells whoever asks; a change of verdict is an event with its evidence.</summary>
internal sealed partial class HealthLoop : ReconcileLoop
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(500);

    /// <summary>After a start, gateways and agents need a moment to report: until then "unknown" is no news.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(5);

    private readonly IPolicySource _policy;
    private readonly RegionRecords _records;
    private readonly Epochs _epochs;
    private readonly INodeReports _reports;
    private readonly IEventLog _events;
    private readonly Prober _prober;
    private readonly RegionHealth _health;
    private readonly Lead _lead;
    private readonly TimeProvider _time;
    private readonly ILogger<HealthLoop> _logger;
    private readonly long _started;
    private readonly List<IDisposable> _hints = [];

    public HealthLoop(
        IPolicySource policy, IStore store, RegionRecords records, Epochs epochs, INodeReports reports, IEventLog events, Prober prober, RegionHealth health,
        Lead lead, TimeProvider time, ILogger<HealthLoop> logger)
        : base(Interval, time, logger)
    {
        (_policy, _records, _epochs, _reports, _events, _prober, _health, _lead, _time, _logger) = (policy, records, epochs, reports, events, prober, health, lead, time, logger);
        _started = time.GetTimestamp();
        _hints.Add(policy.OnChange(Wake));
        _hints.Add(reports.OnReport(_ => Wake()));
        _hints.Add(store.Watch("regions/", _ => Wake()));
        _hints.Add(store.Watch("databases/", _ => Wake()));
    }

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        var policy = _policy.Current;
        var epoch = await _epochs.GetAsync(RegionReader.DatabaseOf(policy), cancel);
        _health.Set(ProbePlanner.Plan(policy, RegionReader.Instances(policy, _reports), epoch?.Primary));
        _prober.Update(_health.Plan);

        var (controls, told) = await _records.ReadAsync(cancel);
        var before = told.Select(t => new RegionVerdict { Code = t.Key, Health = t.Value.Health, Since = t.Value.Since }).ToList();
        var verdicts = HealthVerdicts.Decide(
            RegionReader.Facts(policy, _reports, epoch, controls),
            RegionReader.Observers(policy, _reports, _prober.Read()),
            new PassiveRules(policy.Health.PassiveFailureShare, policy.Health.PassiveRequestsMin), before, _time.GetUtcNow());

        var settled = _health.Settled || _time.GetElapsedTime(_started) > Grace || verdicts.All(v => v.Health != HealthState.Unknown && v.Services.All(s => s.Health != HealthState.Unknown));
        if (settled)
            await TellAsync(verdicts, told, cancel);
        _health.Set(verdicts, controls, settled);
    }

    public override void Dispose()
    {
        _hints.ForEach(h => h.Dispose());
        base.Dispose();
    }

    /// <summary>Writes down what has changed. Only the leader writes; the others judge for themselves.</summary>
    private async Task TellAsync(IReadOnlyList<RegionVerdict> verdicts, IReadOnlyDictionary<string, HealthRecord> told, CancellationToken cancel)
    {
        if (_lead() is not { } fence)
            return;
        foreach (var verdict in verdicts)
        {
            var before = told.GetValueOrDefault(verdict.Code);
            if (before?.Health == verdict.Health || await _records.WriteAsync(verdict.Code, new HealthRecord(verdict.Health, verdict.Since), fence, cancel) is not StoreWrite.Done)
                continue;
            var summary = $"{verdict.Code} is {Words.Of(verdict.Health)}{(before is null ? "" : $" (was {Words.Of(before.Health)})")}{(verdict.Reason.Length > 0 ? $": {verdict.Reason}" : "")}.";
            LogVerdict(_logger, summary);
            await _events.RecordAsync("region.health", "server", summary, new Dictionary<string, string>
            {
                ["region"] = verdict.Code,
                ["from"] = before is null ? "" : Words.Of(before.Health),
                ["to"] = Words.Of(verdict.Health),
                ["evidence"] = string.Join("\n", verdict.Evidence),
            }, cancel);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{Summary}")]
    private static partial void LogVerdict(ILogger logger, string summary);
}
