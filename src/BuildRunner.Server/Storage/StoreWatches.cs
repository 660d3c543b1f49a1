using System.Collections.Immutable;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Storage;

/// <summary>Who wants to hear of changes in this process.</summary>
internal sealed partial class StoreWatches(ILogger logger)
{
    private ImmutableList<Watch> _watches = [];

    public IDisposable Add(string prefix, Action<string> changed)
    {
        var watch = new Watch(this, prefix, changed);
        ImmutableInterlocked.Update(ref _watches, (all, one) => all.Add(one), watch);
        return watch;
    }

    public void Tell(IReadOnlyCollection<string> names)
    {
        foreach (var watch in _watches)
        {
            foreach (var name in names)
            {
                if (!name.StartsWith(watch.Prefix, StringComparison.Ordinal))
                    continue;
                try { watch.Changed(name); }
                catch (Exception error) { LogWatchFailed(logger, error, watch.Prefix); }
            }
        }
    }

    private sealed class Watch(StoreWatches owner, string prefix, Action<string> changed) : IDisposable
    {
        public string Prefix => prefix;
        public Action<string> Changed => changed;

        public void Dispose() => ImmutableInterlocked.Update(ref owner._watches, (all, one) => all.Remove(one), this);
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "A watch of {Prefix} failed; the watcher reads at intervals too.")]
    private static partial void LogWatchFailed(ILogger logger, Exception error, string prefix);
}
