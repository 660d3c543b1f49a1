using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Runbooks;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Recovery.Failover;

/// <summary>
/// Brings back copies that carried out a cut and missed its end: while the epoch is open again, the order to follow is repeated in the name of the run
/// that cut them, so that it takes back nothing that a newer run has ordered meanwhile.
/// </summary>
internal sealed partial class UncutLoop(
    IPolicySource policy, Epochs epochs, INodeReports reports, INodeLinks links, [FromKeyedServices(Leads.Acting)] Lead lead, TimeProvider time, ILogger<UncutLoop> logger)
    : ReconcileLoop(TimeSpan.FromSeconds(2), time, logger)
{
    private static readonly TimeSpan OrderMax = TimeSpan.FromSeconds(3);
    private readonly ILogger _logger = logger;

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        if (lead() is not { } fence)
            return;
        if (await epochs.GetAsync(RegionReader.DatabaseOf(policy.Current), cancel) is not { } record)
            return;
        var copies = record.Candidates.Select(code => (Code: code, reports.Agent(code)?.Database)).Where(c => c.Database is not null).ToDictionary(c => c.Code, c => c.Database!);
        foreach (var (region, run) in CutMark.LeftBehind(record, copies))
        {
            LogLeftBehind(_logger, region, record.Epoch, run);
            // A name of its own each time: a result that is remembered would be of an earlier cut.
            await links.SendAsync(Orders.Agent(region), $"{run}/uncut/{region}/{Guid.CreateVersion7():N}", DatabaseOrders.Uncut, record.Epoch, fence.Token,
                new CutOrder(record.Database, record.Epoch, run), WireJson.Default.CutOrder, WireJson.Default.CutResult, OrderMax, cancel);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Region} is still cut off epoch {Epoch}, which is open, by run {Run}: it is told to follow again.")]
    private static partial void LogLeftBehind(ILogger logger, string region, long epoch, string run);
}
