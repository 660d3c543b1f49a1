using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Application;

/// <summary>
/// Follows the agent's address file: told by inotify, and read every <see cref="PollInterval"/> besides, for a lost notice must cost only
/// time. A missing, half-written or foreign file changes nothing; before the first whole one everything is closed. It never asks a database.
/// </summary>
public sealed partial class WriteAddressSource : BackgroundService
{
    public static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(200);

    private const int FileBytesMax = 64 * 1024;

    private readonly string _path;
    private readonly TimeProvider _time;
    private readonly ILogger<WriteAddressSource> _logger;
    private readonly Lock _reading = new();
    private byte[] _text = [];
    private WriteAddress _current = WriteAddress.Unknown;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public WriteAddressSource(BuildRunnerApplicationOptions options, TimeProvider time, ILogger<WriteAddressSource> logger)
    {
        _path = Path.GetFullPath(options.AddressFile);
        _time = time;
        _logger = logger;
        Refresh();
    }

    public WriteAddress Current => Volatile.Read(ref _current);

    /// <summary>Raised after <see cref="Current"/> has changed, in order; handlers are quick.</summary>
    public event Action<WriteAddress>? Changed;

    /// <summary>Completes when <see cref="Current"/> is not, or no longer, what was seen.</summary>
    public async Task WaitForChangeAsync(WriteAddress seen, CancellationToken cancel)
    {
        while (true)
        {
            var changed = Volatile.Read(ref _changed); // before the look at Current: a change in between completes this very one
            if (!ReferenceEquals(Current, seen))
                return;
            await changed.Task.WaitAsync(cancel);
        }
    }

    /// <summary>One idempotent pass: reads the file and, when it is whole and says something new, makes that current.</summary>
    public void Refresh()
    {
        lock (_reading)
        {
            if (ReadFile() is not { } text || text.AsSpan().SequenceEqual(_text))
                return;
            _text = text;
            if (AddressDocument.Read(text) is not { } read)
            {
                LogNotUnderstood(_path);
                return;
            }

            if (read == _current)
                return;
            if (read.Epoch < _current.Epoch)
            {
                LogOlderEpoch(_path, read.Epoch, _current.Epoch);
                return;
            }

            LogChanged(read.Epoch, read.Open, read.Write, read.Read);
            Volatile.Write(ref _current, read);
            Interlocked.Exchange(ref _changed, new(TaskCreationOptions.RunContinuationsAsynchronously)).SetResult();
            Changed?.Invoke(read);
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var notices = Watch();
        using var timer = new PeriodicTimer(PollInterval, _time);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
                Refresh();
        }
        catch (OperationCanceledException) { }
    }

    /// <summary>Null when the folder is not there or no inotify instance is free: then the poll is all there is.</summary>
    private FileSystemWatcher? Watch()
    {
        try
        {
            var watcher = new FileSystemWatcher(Path.GetDirectoryName(_path)!, Path.GetFileName(_path)) { NotifyFilter = NotifyFilters.FileName | NotifyFilters.LastWrite };
            watcher.Changed += (_, _) => Refresh();
            watcher.Created += (_, _) => Refresh();
            watcher.Renamed += (_, _) => Refresh();
            watcher.EnableRaisingEvents = true;
            Refresh();
            return watcher;
        }
        catch (Exception error) when (error is IOException or ArgumentException)
        {
            LogNoNotices(_path, error.Message);
            return null;
        }
    }

    private byte[]? ReadFile()
    {
        try
        {
            using var file = File.OpenHandle(_path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var length = RandomAccess.GetLength(file);
            if (length is 0 or > FileBytesMax)
                return null;
            var text = new byte[length];
            var read = RandomAccess.Read(file, text, 0);
            return read == length ? text : null;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException) { return null; }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Address: epoch {Epoch}, open {Open}, writes to {Write}, reads from {Read}")]
    private partial void LogChanged(long? epoch, bool open, DatabaseEndpoint? write, DatabaseEndpoint? read);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Path} is no whole address file; what it said before still holds")]
    private partial void LogNotUnderstood(string path);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Path} names epoch {Epoch}, older than {Known}: ignored")]
    private partial void LogOlderEpoch(string path, long? epoch, long? known);

    [LoggerMessage(Level = LogLevel.Warning, Message = "No notices of changes of {Path} ({Reason}); it is read every 200 ms instead")]
    private partial void LogNoNotices(string path, string reason);
}
