using System.Text.Json;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Recovery.Failover;

/// <summary>Fills in what a failover's report could not know when it ended: the loss, once the old region's WAL was read, and a late outage.</summary>
internal sealed partial class RunReportLoop(RunRecords records, INodeReports reports, IPolicySource policy, IEventLog events, Lead lead, TimeProvider time, ILogger<RunReportLoop> logger)
    : ReconcileLoop(TimeSpan.FromSeconds(1), time, logger)
{
    private const int Newest = 20;

    private readonly ILogger _logger = logger;

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        if (lead() is not { } fence)
            return;
        foreach (var record in (await records.ListAsync(cancel)).Where(r => FailoverRunbook.Moves(r.Runbook) && r.FinishedAt is not null).Take(Newest))
        {
            if (record.Report?.Deserialize(RecoveryJson.Default.FailoverReport) is not { Epoch: { } epoch, From: { } from } report)
                continue;
            var lost = record.Lost?.Bytes is null ? LostBy(reports.Agent(from)?.Database, report) : null;
            var outages = record.OutageMs is null ? FailoverReports.Outages(reports, policy, epoch) : [];
            var unreadable = record.Lost?.Bytes is null ? Unreadable(reports.Agent(from)?.Database, report) : null;
            if (unreadable is not null && report.Warnings.Contains(unreadable))
                unreadable = null;
            if (lost is null && outages.Count == 0 && unreadable is null)
                continue;
            var whole = report with
            {
                Warnings = unreadable is null ? report.Warnings : [.. report.Warnings, unreadable],
                Lost = lost ?? report.Lost,
                OutageMs = outages.Count > 0 ? outages.Values.Max() : report.OutageMs,
                OutagePerGateway = outages.Count > 0 ? outages : report.OutagePerGateway,
            };
            await records.PutAsync(record with { Lost = whole.Lost, OutageMs = whole.OutageMs, Report = JsonSerializer.SerializeToElement(whole, RecoveryJson.Default.FailoverReport) }, fence, cancel);
            if (lost is not null)
            {
                LogLost(_logger, record.Id, lost.Bytes ?? 0, lost.Commits ?? 0);
                await events.RecordAsync("failover.lost", "server", $"Run {record.Id} lost {lost.Commits} commits ({lost.Bytes} bytes of WAL) of {from}.", new Dictionary<string, string> { ["run"] = record.Id }, cancel);
            }
        }
    }

    /// <summary>Null while the old region has not counted what it wrote past the fork, and for good when that could not be read: nothing but a count is a zero.</summary>
    internal static RunLost? LostBy(DatabaseReading? reading, FailoverReport report)
    {
        if (reading?.Salvage is not { Unreadable: null, Bytes: { } bytes, Commits: { } commits } salvage || salvage.Epoch != report.FormerEpoch)
            return null;
        var seconds = commits == 0 ? 0 : salvage is { LastLost: { } lost, LastKept: { } kept } ? Math.Max(0, (lost - kept).TotalSeconds) : (double?)null;
        return new RunLost(bytes, seconds, commits, salvage.Transactions);
    }

    /// <summary>A sentence for the report when the loss will stay unknown.</summary>
    internal static string? Unreadable(DatabaseReading? reading, FailoverReport report) =>
        reading?.Salvage is { Unreadable: { } why } salvage && salvage.Epoch == report.FormerEpoch
            ? $"What {report.From} lost is not known: {why}. What is left of its WAL lies in {salvage.Folder} there."
            : null;

    [LoggerMessage(Level = LogLevel.Information, Message = "Run {Run} lost {Bytes} bytes of WAL and {Commits} commits.")]
    private static partial void LogLost(ILogger logger, string run, long bytes, long commits);
}
