using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Hosting;

/// <summary>A periodic job: one idempotent pass, run on a timer and at once when woken. The next pass is the retry.</summary>
public abstract partial class ReconcileLoop(TimeSpan interval, TimeProvider time, ILogger logger) : BackgroundService
{
    private TaskCompletionSource _woken = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>A hint that something changed; it carries no data, so a lost hint costs only time.</summary>
    public void Wake() => Volatile.Read(ref _woken).TrySetResult();

    /// <summary>Reads what is so, decides, acts. Takes no input and keeps no memory a restart would lose.</summary>
    public abstract Task RunOnceAsync(CancellationToken cancel);

    protected sealed override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            // Renewed before the pass: a wake that arrives during it starts another.
            var woken = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            Volatile.Write(ref _woken, woken);

            try { await RunOnceAsync(stoppingToken); }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested) { return; }
            catch (Exception error) { LogPassFailed(logger, error, GetType().Name); }

            await woken.Task.WaitAsync(interval, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "A pass of {Loop} failed; the next pass tries again.")]
    private static partial void LogPassFailed(ILogger logger, Exception error, string loop);
}
