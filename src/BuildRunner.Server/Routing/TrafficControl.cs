using BuildRunner.Client.Hosting;
using BuildRunner.Client.Routing;
using BuildRunner.Core.Routing;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Routing;

/// <inheritdoc cref="ITrafficControl"/>
internal sealed partial class TrafficControl(
    RoutingDesk desk, RoutingRecords records, RunRecords runs, IPolicySource policy, INodeReports reports, INodeLinks links, TimeProvider time, ILogger<TrafficControl> logger) : ITrafficControl
{
    private const int AttemptsMax = 4;
    private static readonly TimeSpan SilentMax = TimeSpan.FromSeconds(3);

    public async Task<TrafficOutcome> HoldAsync(string database, string holdId, Fence? fence, CancellationToken cancel)
    {
        for (var attempt = 0; attempt < AttemptsMax; attempt++)
        {
            var (held, version) = await records.HoldAsync(database, cancel);
            if (held?.HoldId == holdId)
                return new TrafficOutcome.Done(await desk.PublishAsync(cancel), Effect: false);
            if (held is not null && !await EndedAsync(held.HoldId, cancel))
                return new TrafficOutcome.Taken(held.HoldId);
            switch (await records.WriteAsync(new HoldRecord(database, holdId, time.GetUtcNow()), held is null ? 0 : version, fence, cancel))
            {
                case StoreWrite.Done:
                    return new TrafficOutcome.Done(await desk.PublishAsync(cancel), Effect: true);
                case StoreWrite.Fenced fenced:
                    return new TrafficOutcome.Fenced(fenced.Current);
            }
        }
        throw new InvalidOperationException($"The hold of {database} changed {AttemptsMax} times while it was being written.");
    }

    public async Task<TrafficOutcome> ReleaseAsync(string database, string holdId, Fence? fence, CancellationToken cancel)
    {
        var (held, version) = await records.HoldAsync(database, cancel);
        if (held is null)
            return new TrafficOutcome.Done(await desk.PublishAsync(cancel), Effect: false);
        if (held.HoldId != holdId)
            return new TrafficOutcome.Taken(held.HoldId);
        if (await records.DeleteHoldAsync(database, version, fence, cancel) is StoreWrite.Fenced fenced)
            return new TrafficOutcome.Fenced(fenced.Current);
        return new TrafficOutcome.Done(await desk.PublishAsync(cancel), Effect: true);
    }

    public async Task ReleaseEndedAsync(Fence fence, CancellationToken cancel)
    {
        foreach (var hold in (await records.HoldsAsync(cancel)).Values)
        {
            // Read again with its version: between the two a new run may have taken it over.
            var (held, version) = await records.HoldAsync(hold.Database, cancel);
            if (held is not null && await EndedAsync(held.HoldId, cancel) && await records.DeleteHoldAsync(held.Database, version, fence, cancel) is StoreWrite.Done)
                LogReleased(logger, held.Database, held.HoldId);
        }
    }

    public Task<long> PublishAsync(CancellationToken cancel) => desk.PublishAsync(cancel);

    public Task<GatewayConfirmation> WaitHeldAsync(string database, string holdId, long version, InFlight waitFor, TimeSpan limit, CancellationToken cancel) =>
        WaitAsync(report => Held(report, database, holdId, version, waitFor), limit, cancel);

    public Task<GatewayConfirmation> WaitTableAsync(long version, TimeSpan limit, CancellationToken cancel) =>
        WaitAsync(report => report.TableVersion >= version ? (true, $"has table {report.TableVersion}") : (false, $"still has table {report.TableVersion}"), limit, cancel);

    /// <summary>A run writes its record before it holds anything: one without a record has been forgotten since.</summary>
    private async Task<bool> EndedAsync(string run, CancellationToken cancel) => await runs.GetAsync(run, cancel) is not { FinishedAt: null };

    private async Task<GatewayConfirmation> WaitAsync(Func<GatewayReport, (bool, string)> judge, TimeSpan limit, CancellationToken cancel)
    {
        await reports.WaitAsync(_ => Look(judge).Confirmed, limit, cancel);
        return Look(judge);
    }

    private GatewayConfirmation Look(Func<GatewayReport, (bool, string)> judge)
    {
        var evidence = policy.Current.Regions.Select(r => Evidence(r.Code, judge)).ToList();
        // Nobody there is no confirmation: a server that has just started has heard of no one yet.
        return new GatewayConfirmation(evidence.Exists(e => e.Live) && evidence.TrueForAll(e => e.Confirmed || !e.Live), evidence);
    }

    private GatewayEvidence Evidence(string region, Func<GatewayReport, (bool Confirmed, string Said)> judge)
    {
        if (links.IsBroken(new NodeName(NodeKind.Gateway, region)))
            return new GatewayEvidence(region, Live: false, Confirmed: false, "away, its connection broke");
        if (reports.Gateway(region, SilentMax) is { } report)
        {
            var (confirmed, said) = judge(report);
            return new GatewayEvidence(region, Live: true, confirmed, said);
        }
        return reports.LastGateway(region) is { } last
            ? new GatewayEvidence(region, Live: false, Confirmed: false, $"away, silent for {last.Age.TotalSeconds:0} s")
            : desk.Age < SilentMax
                ? new GatewayEvidence(region, Live: true, Confirmed: false, "not heard yet, this server has just started")
                : new GatewayEvidence(region, Live: false, Confirmed: false, "away, never heard since this server started");
    }

    private static (bool, string) Held(GatewayReport report, string database, string holdId, long version, InFlight waitFor)
    {
        if (report.TableVersion < version)
            return (false, $"still has table {report.TableVersion}");
        if (report.Holds.FirstOrDefault(h => h.Database == database && h.HoldId == holdId) is not { } hold)
            return (false, $"has table {report.TableVersion} and does not hold");
        if (hold.Expired)
            return (true, "its hold has run out: writes are refused"); // refused at once: nothing goes out
        return hold.InFlight > 0 && waitFor != InFlight.Ignored ? (false, $"holds, {hold.InFlight} writes are still out")
            : hold.Reads > 0 && waitFor == InFlight.All ? (false, $"holds, {hold.Reads} reads are still out")
            : (true, $"holds, {hold.Waiting} writes wait, {hold.InFlight} are out");
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "The hold of {Database} is released: its run {Run} has ended.")]
    private static partial void LogReleased(ILogger logger, string database, string run);
}
