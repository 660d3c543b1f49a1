using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Alerting;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Recovery.Failover;

/// <summary>
/// Begins a failover when enough observers see the primary's region lost and the policy lets nobody be asked (AUTO_FAILOVER_ENABLED). The verdict
/// says that it is wanted; the run's fence step, that it is allowed.
/// </summary>
internal sealed partial class AutoFailoverLoop : ReconcileLoop
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(250);

    /// <summary>A run that was refused or did not succeed is not tried again at once: what stood against it mostly still does.</summary>
    private static readonly TimeSpan Again = TimeSpan.FromSeconds(5);

    /// <summary>
    /// After a start of this server everything may be coming up with it: a primary that was well before has this long until its absence is news,
    /// unless this server has seen it well itself. One that was never well at its epoch is not lost but begins.
    /// </summary>
    private static readonly TimeSpan StartGrace = TimeSpan.FromSeconds(20);
    private readonly IStore _store;
    private readonly IPolicySource _policy;
    private readonly Epochs _epochs;
    private readonly INodeReports _reports;
    private readonly IObservers _observers;
    private readonly Leases _leases;
    private readonly RunDesk _desk;
    private readonly IAlerts _alerts;
    private readonly IEventLog _events;
    private readonly Lead _lead;
    private readonly TimeProvider _time;
    private readonly ILogger<AutoFailoverLoop> _logger;
    private readonly IDisposable _hint;
    private readonly Dictionary<string, (long At, string Why)> _tried = new(StringComparer.Ordinal);
    private readonly long _started;
    private long _well;
    private bool _silent;

    public AutoFailoverLoop(IStore store, IPolicySource policy, Epochs epochs, INodeReports reports, IObservers observers, Leases leases, RunDesk desk, IAlerts alerts, IEventLog events, [FromKeyedServices(Leads.Acting)] Lead lead, TimeProvider time, ILogger<AutoFailoverLoop> logger)
        : base(Interval, time, logger)
    {
        (_store, _policy, _epochs, _reports, _observers, _leases, _desk, _alerts, _events, _lead, _time, _logger) = (store, policy, epochs, reports, observers, leases, desk, alerts, events, lead, time, logger);
        _started = time.GetTimestamp();
        _hint = reports.OnReport(_ => Wake());
    }

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        var policy = _policy.Current;
        if (_lead() is not { } fence || policy.WhyNoAutomaticFailover(_policy.Freeze is not null) is not null)
            return;
        var database = RegionReader.DatabaseOf(policy);
        if (await _epochs.GetAsync(database, cancel) is not { } record)
            return;
        var unasked = await _leases.SilenceAsync(record, cancel);
        var verdict = FailoverVerdict.Decide(record.Primary, _observers.Current, unasked: unasked);
        await TellAsync(database, record, unasked, verdict, cancel);
        if (!verdict.Lost)
        {
            _tried.Remove(database);
            if (verdict.Well && record.State == EpochState.Open)
                await RememberAsync(database, record.Epoch, fence, cancel);
            return;
        }
        if (!await IsNewsAsync(database, record, cancel))
            return;
        if (_tried.TryGetValue(database, out var last) && _time.GetElapsedTime(last.At) < Again)
            return;
        var request = new RunRequest
        {
            Runbook = FailoverRunbook.Name,
            Inputs = new Dictionary<string, string> { ["database"] = database, ["automatic"] = "true" },
            Reason = verdict.Reason.Length > ReasonMax ? verdict.Reason[..ReasonMax] : verdict.Reason,
        };
        var why = await _desk.AskAsync(request, "automatic failover", automatic: true, cancel) switch
        {
            RunDecision.Begun begun => $"run {begun.Run.Id} begun",
            RunDecision.Refused refused => string.Join(" ", refused.Reasons),
            RunDecision.Invalid invalid => string.Join(" ", invalid.Errors),
            RunDecision.Unknown unknown => unknown.Reason,
            RunDecision.NoLead lead => lead.Reason,
            _ => throw new InvalidOperationException("A request for a run ended in no known way."),
        };
        _tried[database] = (_time.GetTimestamp(), why);
        if (last.Why == why)
            return;
        LogAsked(_logger, record.Primary, why);
        await _events.RecordAsync("failover.automatic", "server", $"{record.Primary} is lost and a failover is wanted: {why}",
            new Dictionary<string, string> { ["region"] = record.Primary, ["verdict"] = verdict.Reason }, cancel);
    }

    public override void Dispose()
    {
        _hint.Dispose();
        base.Dispose();
    }

    /// <summary>A primary that asks for no lease and is seen well may acknowledge nothing any more, as one whose agent and guard stand still: a person looks.</summary>
    private async Task TellAsync(string database, EpochRecord record, TimeSpan? unasked, FailoverVerdict verdict, CancellationToken cancel)
    {
        var silent = unasked is not null && !verdict.Lost && record.State == EpochState.Open;
        if (silent == _silent)
            return;
        _silent = silent;
        var key = $"lease/{database}";
        if (!silent)
        {
            await _alerts.ClearAsync(key, $"{record.Primary} asks for its lease, or another region has taken its place.", cancel);
            return;
        }
        await _alerts.RaiseAsync(key, AlertSeverity.Critical, $"{record.Primary} asks for its lease no more",
            $"The primary of {database} has not asked this server for its lease for a whole one. Either it goes on by the other copies' promises because it does not hear the server, or its agent and guard stand still and every write waits. "
            + $"{verdict.Reason}, so that no failover begins by itself. Look whether writes are acknowledged; if they are not, fail over.",
            $"br dr failover --reason \"{record.Primary} acknowledges nothing\"", cancel);
    }

    private const int ReasonMax = 1500;

    private static string KeyOf(string database) => $"databases/{database}/well";

    /// <summary>Once an epoch: its primary was seen well.</summary>
    private async Task RememberAsync(string database, long epoch, Fence fence, CancellationToken cancel)
    {
        if (_well == epoch)
            return;
        if (await SeenAsync(database, cancel) != epoch)
            await _store.PutAsync(KeyOf(database), System.Text.Encoding.UTF8.GetBytes(epoch.ToString(CultureInfo.InvariantCulture)), expected: null, fence, cancel);
        _well = epoch;
    }

    private async Task<long?> SeenAsync(string database, CancellationToken cancel) =>
        await _store.GetAsync(KeyOf(database), cancel) is { } entry && long.TryParse(entry.Value.Span, NumberStyles.None, CultureInfo.InvariantCulture, out var epoch) ? epoch : null;

    /// <summary>
    /// A target to which the epoch is moving was well as a copy. A server that has just started judges only when it has heard every other candidate: one
    /// that it has not may have been made primary while it was away.
    /// </summary>
    private async Task<bool> IsNewsAsync(string database, EpochRecord record, CancellationToken cancel) =>
        _well == record.Epoch || (_time.GetElapsedTime(_started) > StartGrace && record.Candidates.All(c => c == record.Primary || _reports.LastAgent(c) is not null) && (record.State == EpochState.Moving || await SeenAsync(database, cancel) >= record.Epoch - 1));

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Region} is lost and a failover is wanted: {Why}")]
    private static partial void LogAsked(ILogger logger, string region, string why);
}
