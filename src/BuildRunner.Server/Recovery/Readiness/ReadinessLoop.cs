using System.Security.Cryptography;
using System.Text;
using BuildRunner.Client.Recovery;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;
using Judge = BuildRunner.Core.Recovery.Readiness;

namespace BuildRunner.Server.Recovery.Readiness;

/// <summary>
/// Evaluates every runbook and all that recovery needs: when a runbook or the policy was saved, every 5 minutes, and again after 30 s while something is
/// wrong. What would fail tonight raises an alert today.
/// </summary>
internal sealed partial class ReadinessLoop : ReconcileLoop
{
    private static readonly TimeSpan Look = TimeSpan.FromSeconds(5);

    private readonly ReadinessReader _reader;
    private readonly ReadinessRecords _records;
    private readonly RunbookCatalog _catalog;
    private readonly RunbookLibrary _library;
    private readonly IPolicySource _policy;
    private readonly IRegionHealth _health;
    private readonly Epochs _epochs;
    private readonly IAlerts _alerts;
    private readonly IEventLog _events;
    private readonly Lead _lead;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly IDisposable _hint;
    private readonly SemaphoreSlim _one = new(1, 1);

    public ReadinessLoop(ReadinessReader reader, ReadinessRecords records, RunbookCatalog catalog, RunbookLibrary library, IPolicySource policy, IRegionHealth health, Epochs epochs, IAlerts alerts, IEventLog events, Lead lead, TimeProvider time, ILogger<ReadinessLoop> logger)
        : base(Look, time, logger)
    {
        (_reader, _records, _catalog, _library, _policy, _health, _epochs, _alerts, _events, _lead, _time, _logger) = (reader, records, catalog, library, policy, health, epochs, alerts, events, lead, time, logger);
        _hint = policy.OnChange(Wake);
        library.Changed += Wake;
    }

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        // Just after a start nobody has reported yet: what is not known then is no news.
        if (_lead() is null || !_health.Settled)
            return;
        var last = await _records.GetAsync(cancel);
        if (Judge.IsDue(last?.Verdict, last?.EvaluatedAt, last?.Fingerprint != Fingerprint(), _time.GetUtcNow()))
            await EvaluateAsync(cancel);
    }

    /// <summary>Evaluates now; false: another server leads.</summary>
    public async Task<bool> EvaluateAsync(CancellationToken cancel)
    {
        await _one.WaitAsync(cancel);
        try
        {
            if (_lead() is not { } fence)
                return false;
            var fingerprint = Fingerprint();
            var (reading, runbooks) = await _reader.ReadAsync(cancel);
            var now = _time.GetUtcNow();
            var before = await _records.GetAsync(cancel);
            var readiness = Judge.Decide(reading);
            readiness = readiness with { Findings = Judge.Dated(readiness.Findings, before?.Findings ?? [], now) };
            var report = new ReadinessReport { Verdict = readiness.Verdict, Sentence = readiness.Sentence, EvaluatedAt = now, Findings = readiness.Findings, Runbooks = runbooks, Fingerprint = fingerprint };
            if (await _records.PutAsync(report, fence, cancel) is StoreWrite.Fenced)
                return false;
            if (before?.Verdict != report.Verdict)
            {
                LogVerdict(_logger, report.Sentence);
                await _events.RecordAsync("readiness.changed", "server", report.Sentence, new Dictionary<string, string> { ["verdict"] = report.Verdict.ToString() }, cancel);
            }
            await TellAsync(readiness, now, cancel);
            return true;
        }
        finally { _one.Release(); }
    }

    public override void Dispose()
    {
        _hint.Dispose();
        _library.Changed -= Wake;
        _one.Dispose();
        base.Dispose();
    }

    private async Task TellAsync(Judge readiness, DateTimeOffset now, CancellationToken cancel)
    {
        var primary = (await _epochs.GetAsync(RegionReader.DatabaseOf(_policy.Current), cancel))?.Primary;
        var lost = _health.Current.Any(v => v.Code == primary && v.Health is HealthState.Unhealthy or HealthState.Unknown);
        // Whoever has switched recovery off knows that it would not work.
        var off = _policy.Current.Mode == Core.Policy.PolicyMode.Observe || !_policy.Current.Recovery.Enabled;
        var decided = ReadinessAlert.Decide(readiness, lost || off, now);
        if (decided.Raise is { } alert)
            await _alerts.RaiseAsync(alert, cancel);
        else if (decided.Clear is { } reason)
            await _alerts.ClearAsync(ReadinessAlert.Key, reason, cancel);
    }

    /// <summary>The policy and every runbook, good or bad, as they are now.</summary>
    private string Fingerprint()
    {
        var all = string.Join('\n', _catalog.Documents.Select(d => $"{d.Name} {d.Hash} {d.Complaint}").Prepend(_policy.Hash));
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(all)))[..16];
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Readiness: {Sentence}")]
    private static partial void LogVerdict(ILogger logger, string sentence);
}
