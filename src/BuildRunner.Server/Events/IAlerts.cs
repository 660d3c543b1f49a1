using BuildRunner.Core.Alerting;

namespace BuildRunner.Server.Events;

/// <summary>
/// Where a room says that something is wrong, or no longer is; the room Alerting makes incidents of it. It stands here so that every room can call
/// it. Both may be called at every pass of a loop: the same key is one incident until that is resolved. Neither fails the caller.
/// </summary>
public interface IAlerts
{
    Task RaiseAsync(Alert alert, CancellationToken cancel);

    /// <summary>The trouble is away; a key that does not fire is no error.</summary>
    Task ClearAsync(string key, string? reason, CancellationToken cancel);
}

/// <summary>The short forms.</summary>
public static class AlertsExtensions
{
    public static Task RaiseAsync(this IAlerts alerts, string key, AlertSeverity severity, string title, string details, string? command, CancellationToken cancel) =>
        alerts.RaiseAsync(new Alert(key, severity, title, details, command), cancel);

    public static Task ClearAsync(this IAlerts alerts, string key, CancellationToken cancel) => alerts.ClearAsync(key, null, cancel);
}

/// <summary>A house without the room Alerting: nobody is told.</summary>
internal sealed class NoAlerts : IAlerts
{
    public Task RaiseAsync(Alert alert, CancellationToken cancel) => Task.CompletedTask;

    public Task ClearAsync(string key, string? reason, CancellationToken cancel) => Task.CompletedTask;
}
