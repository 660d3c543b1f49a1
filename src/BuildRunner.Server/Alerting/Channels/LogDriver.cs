using BuildRunner.Core.Alerting;
using BuildRunner.Core.Policy;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Alerting.Channels;

/// <summary>Type `log`: a line in the server's log. What was told before a restart may be told again.</summary>
internal sealed partial class LogDriver(ILoggerFactory logs) : INotificationDriver
{
    private const int Remembered = 2000;

    private readonly ILogger _logger = logs.CreateLogger("BuildRunner.Server.Alerting.Notify");
    private readonly Lock _gate = new();
    private readonly HashSet<string> _told = new(StringComparer.Ordinal);
    private readonly Queue<string> _order = new();

    public string Type => "log";

    public INotificationChannel Open(ChannelDefinition definition) => new LogChannel(this, definition.Name);

    private void Tell(string channel, Notification notification)
    {
        lock (_gate)
        {
            var key = $"{channel}|{notification.Key}";
            if (_told.Contains(key))
                return;
            var level = notification.Severity switch { AlertSeverity.Critical => LogLevel.Error, AlertSeverity.Warning => LogLevel.Warning, _ => LogLevel.Information };
            var severity = AlertDecision.Word(notification.Severity);
            LogNotification(_logger, level, channel, severity, notification.What, notification.Title, notification.Text, notification.Key);
            _told.Add(key);
            _order.Enqueue(key);
            if (_order.Count > Remembered)
                _told.Remove(_order.Dequeue());
        }
    }

    private sealed class LogChannel(LogDriver driver, string name) : INotificationChannel
    {
        public string Name => name;

        public Task<ChannelOutcome> SendAsync(Notification notification, CancellationToken cancel)
        {
            cancel.ThrowIfCancellationRequested();
            try { driver.Tell(name, notification); }
            catch (Exception error) { return Task.FromResult<ChannelOutcome>(new ChannelOutcome.Failed($"The log did not take it for {name}: {error.Message}")); }
            return Task.FromResult<ChannelOutcome>(new ChannelOutcome.Sent());
        }
    }

    [LoggerMessage(Message = "[{Channel}] {Severity} {What}: {Title}. {Text} ({Key})")]
    private static partial void LogNotification(ILogger logger, LogLevel level, string channel, string severity, string what, string title, string text, string key);
}
