using BuildRunner.Server.Hosting;
using BuildRunner.Server.Runbooks;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Alerting;

/// <summary>Lets alerts settle that have been quiet for long enough, and keeps the number of what is remembered.</summary>
internal sealed class AlertLoop(Alerts alerts, IncidentBook book, Outbox outbox, Lead lead, TimeProvider time, ILogger<AlertLoop> logger)
    : ReconcileLoop(TimeSpan.FromSeconds(5), time, logger)
{
    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        if (lead() is not { } fence)
            return;
        await alerts.SettleAsync(cancel);
        await book.PruneAsync(fence, cancel);
        await outbox.PruneAsync(fence, cancel);
    }
}
