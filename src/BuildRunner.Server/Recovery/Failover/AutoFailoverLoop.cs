using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Runbooks;
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
    private readonly IPolicySource _policy;
    private readonly Epochs _epochs;
    private readonly INodeReports _reports;
    private readonly IObservers _observers;
    private readonly RunDesk _desk;
    private readonly IEventLog _events;
    private readonly Lead _lead;
    private readonly TimeProvider _time;
    private readonly ILogger<AutoFailoverLoop> _logger;
    private readonly IDisposable _hint;
    private readonly Dictionary<string, (long At, string Why)> _tried = new(StringComparer.Ordinal);

    public AutoFailoverLoop(IPolicySource policy, Epochs epochs, INodeReports reports, IObservers observers, RunDesk desk, IEventLog events, Lead lead, TimeProvider time, ILogger<AutoFailoverLoop> logger)
        : base(Interval, time, logger)
    {
        (_policy, _epochs, _reports, _observers, _desk, _events, _lead, _time, _logger) = (policy, epochs, reports, observers, desk, events, lead, time, logger);
        _hint = reports.OnReport(_ => Wake());
    }

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        var policy = _policy.Current;
        if (_lead() is null || policy.WhyNoAutomaticFailover(_policy.Freeze is not null) is not null)
            return;
        var database = RegionReader.DatabaseOf(policy);
        // A database that nobody has written to yet is not lost but begins.
        if (await _epochs.GetAsync(database, cancel) is not { State: EpochState.Open or EpochState.Moving } record || !HasBegun(record))
            return;
        var verdict = FailoverVerdict.Decide(record.Primary, _observers.Current);
        if (!verdict.Lost)
        {
            _tried.Remove(database);
            return;
        }
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

    private const int ReasonMax = 1500;

    private bool HasBegun(EpochRecord record) =>
        record.Epoch > 1 || _reports.LastAgent(record.Primary)?.Report.Database?.MarkerEpoch is not null || record.Candidates.Any(c => _reports.LastAgent(c)?.Report.Database?.MarkerEpoch is not null);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Region} is lost and a failover is wanted: {Why}")]
    private static partial void LogAsked(ILogger logger, string region, string why);
}
