using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Hosting.Geo;

/// <summary>Looks every few seconds whether the city database has changed.</summary>
public sealed class GeoReloadLoop(GeoReader reader, TimeProvider time, ILogger<GeoReloadLoop> logger) : ReconcileLoop(TimeSpan.FromSeconds(2), time, logger)
{
    public override Task RunOnceAsync(CancellationToken cancel)
    {
        reader.Refresh();
        return Task.CompletedTask;
    }
}
