using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Bench;

/// <summary>One run of one case: clients write, something happens to the primary, and afterwards everything acknowledged is looked for.</summary>
internal static class Measurement
{
    public const int InFlightMax = 800;
    public static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(20);

    private const int Enough = 100;
    private const int FailuresShown = 5;
    private const int WhyMax = 160;
    private static readonly TimeSpan StallTime = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan FlowMax = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan RecoveryMax = TimeSpan.FromSeconds(90);

    public static async Task<BenchRun> RunAsync(IMeasuredSystem system, RecoveryCase what, Action<string> say, CancellationToken cancel)
    {
        await system.WellAsync(cancel);
        var from = await system.PrimaryAsync(cancel);
        var writer = system.StartWriter();
        Handover handover;
        OrderReport report;
        BulkLoad? load = null;
        try
        {
            await FlowsAsync(writer, _ => true, FlowMax, cancel);
            load = what == RecoveryCase.SwitchoverLoad ? await BulkLoad.StartAsync(system.Databases, cancel) : null;
            // Any moment of the system's own rhythm is as likely as another.
            await Task.Delay(TimeSpan.FromSeconds(1) + (system.Beat * Random.Shared.NextDouble()), cancel);
            say("clients write; now");
            handover = await HappenAsync(system, what, from, cancel);
            say(handover.Refused is null ? "waiting for writes at another host" : "refused; waiting for writes");
            try { await FlowsAsync(writer, handover.Refused is null ? record => Host(record) != from : _ => true, RecoveryMax, cancel); }
            catch (TimeoutException) { handover = handover with { Refused = handover.Refused ?? $"no writes at another host within {RecoveryMax.TotalSeconds:0} s" }; }
        }
        finally
        {
            if (load is not null)
                await load.DisposeAsync();
            report = await writer.StopAsync();
            await writer.DisposeAsync();
        }

        var lost = what is RecoveryCase.HostLoss or RecoveryCase.Stalled;
        if (lost)
        {
            say("the lost host comes back");
            await system.HealAsync(from, cancel);
        }
        await system.WellAsync(cancel);
        say("counting");
        await using var connection = await system.Databases.OpenConnectionAsync(TargetSessionAttributes.ReadWrite, cancel);
        var check = await report.CheckAsync(connection, cancel);
        return new()
        {
            OutageMs = report.Outage?.TotalMilliseconds,
            LongestMs = report.Longest?.TotalMilliseconds,
            Acknowledged = report.Acknowledged.Count,
            Failed = report.Failed + report.Unknown,
            Failures = report.Records.Where(r => r.Outcome != OrderOutcomeKind.Ok).GroupBy(Why).OrderByDescending(g => g.Count()).Take(FailuresShown).ToDictionary(g => g.Key, g => g.Count()),
            Skipped = report.Skipped,
            Lost = check.Missing.Count,
            Told = lost ? await system.ToldAsync(cancel) : null,
            ReportedOutageMs = handover.ReportedOutageMs,
            From = from,
            To = await system.PrimaryAsync(cancel),
            LoadTransactions = load?.Transactions,
            LoadLongestMs = load?.Longest.TotalMilliseconds,
            Trouble = handover.Refused,
        };
    }

    private static async Task<Handover> HappenAsync(IMeasuredSystem system, RecoveryCase what, string primary, CancellationToken cancel)
    {
        if (what is RecoveryCase.Switchover or RecoveryCase.SwitchoverLoad)
            return await system.SwitchoverAsync(cancel);
        var receivers = what == RecoveryCase.Stalled ? await system.ReceiversAsync(cancel) : [];
        Signals.Send("STOP", receivers);
        try
        {
            if (receivers.Count > 0)
                await Task.Delay(StallTime, cancel);
            await system.LoseAsync(primary, cancel);
        }
        finally
        {
            // They end before they read: what lay in their sockets is gone, as with the network in between.
            Signals.Send("TERM", receivers);
            Signals.Send("CONT", receivers);
        }
        return new(null, null);
    }

    /// <summary>Waits until enough writes that begin from now on have been acknowledged by whom they should.</summary>
    private static Task FlowsAsync(Writer writer, Func<OrderRecord, bool> by, TimeSpan limit, CancellationToken cancel)
    {
        var seen = writer.Records().Count;
        return Eventually.TrueAsync(async () =>
        {
            await Task.Delay(100, cancel);
            return writer.Records().Skip(seen).Count(record => record.Outcome == OrderOutcomeKind.Ok && by(record)) >= Enough;
        }, $"{Enough} more writes are acknowledged", cancel, limit);
    }

    private static string Why(OrderRecord record)
    {
        var why = $"{record.Outcome.ToString().ToLowerInvariant()} {record.Status} {record.Error?.ReplaceLineEndings(" ")}".TrimEnd();
        return why.Length > WhyMax ? why[..WhyMax] : why;
    }

    private static string Host(OrderRecord record) => record.ServedBy?.Split('/')[0] ?? "";
}
