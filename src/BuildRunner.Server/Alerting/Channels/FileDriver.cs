using System.Collections.Concurrent;
using BuildRunner.Core.Alerting;
using BuildRunner.Core.Policy;

namespace BuildRunner.Server.Alerting.Channels;

/// <summary>Type `file`: a line of JSON a notification, at the policy's `path` (a relative one: in the server's data folder).</summary>
internal sealed class FileDriver(string folder, long bytesMax = NotificationFile.BytesMax) : INotificationDriver
{
    /// <summary>One writer a file, also when several channels share it.</summary>
    private readonly ConcurrentDictionary<string, NotificationFile> _files = new(StringComparer.Ordinal);

    public string Type => "file";

    public INotificationChannel Open(ChannelDefinition definition)
    {
        var path = Path.GetFullPath(Path.Combine(folder, definition.Settings.GetValueOrDefault("path", "alerts.log")));
        return new FileChannel(definition.Name, _files.GetOrAdd(path, static (at, max) => new NotificationFile(at, max), bytesMax));
    }

    private sealed class FileChannel(string name, NotificationFile file) : INotificationChannel
    {
        public string Name => name;

        public async Task<ChannelOutcome> SendAsync(Notification notification, CancellationToken cancel)
        {
            try { await file.AppendAsync(name, notification, cancel); }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                return new ChannelOutcome.Failed($"{file.Path} could not be written: {error.Message}");
            }
            return new ChannelOutcome.Sent();
        }
    }
}
