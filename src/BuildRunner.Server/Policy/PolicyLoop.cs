using BuildRunner.Server.Hosting;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Policy;

/// <summary>Loads the policy before anything else starts; then looks at the file and the store twice a second.</summary>
internal sealed class PolicyLoop(PolicySource source, IStore store, TimeProvider time, ILogger<PolicyLoop> logger)
    : ReconcileLoop(TimeSpan.FromMilliseconds(500), time, logger), IHostedLifecycleService
{
    private readonly List<IDisposable> _watches = [];

    public async Task StartingAsync(CancellationToken cancellationToken)
    {
        await source.LoadAsync(cancellationToken);
        _watches.Add(store.Watch(PolicyKeys.Prefix, _ => Wake()));
        _watches.Add(store.Watch(PolicyKeys.Freeze, _ => Wake()));
    }

    public override Task RunOnceAsync(CancellationToken cancel) => source.LookAsync(cancel);

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppedAsync(CancellationToken cancellationToken)
    {
        foreach (var watch in _watches)
            watch.Dispose();
        return Task.CompletedTask;
    }
}
