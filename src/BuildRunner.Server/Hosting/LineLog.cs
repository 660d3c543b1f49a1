using System.Collections.Concurrent;
using System.Text;
using System.Threading.Channels;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Hosting;

/// <summary>
/// Logs as one line an entry, to standard error and to a file of at most 10 MiB with one predecessor. Writing never holds up who logs:
/// lines wait in a queue of 4,096, and when nobody reads them the oldest are dropped.
/// </summary>
public sealed class LineLog : ILoggerProvider
{
    private const long FileBytesMax = 10L * 1024 * 1024;

    private readonly Channel<string> _lines = Channel.CreateBounded<string>(new BoundedChannelOptions(4096) { FullMode = BoundedChannelFullMode.DropOldest, SingleReader = true });
    private readonly ConcurrentDictionary<string, ILogger> _loggers = new(StringComparer.Ordinal);
    private readonly string? _path;
    private readonly TextWriter? _terminal;
    private readonly LogLevel _minimum;
    private readonly Thread _thread;

    public LineLog(string? path, TextWriter? terminal, LogLevel minimum = LogLevel.Information)
    {
        (_path, _terminal, _minimum) = (path, terminal, minimum);
        _thread = new Thread(Write) { IsBackground = true, Name = "log" };
        _thread.Start();
    }

    public ILogger CreateLogger(string categoryName) => _loggers.GetOrAdd(categoryName, static (name, self) => new Logger(self, name), this);

    public void Dispose()
    {
        if (_lines.Writer.TryComplete())
            _thread.Join(TimeSpan.FromMilliseconds(500)); // a reader that has stopped reading must not hold up the end
    }

    private void Write()
    {
        FileStream? file = null;
        while (_lines.Reader.WaitToReadAsync().AsTask().GetAwaiter().GetResult())
        {
            while (_lines.Reader.TryRead(out var line))
            {
                try
                {
                    _terminal?.WriteLine(line);
                    if (_path is not null)
                        (file ??= Open(_path)).Write(Encoding.UTF8.GetBytes(line + "\n"));
                    if (file?.Length > FileBytesMax)
                    {
                        file.Dispose();
                        file = null;
                        File.Move(_path!, _path + ".1", overwrite: true);
                    }
                }
                catch (Exception error) when (error is IOException or UnauthorizedAccessException) { } // a full disk or a closed terminal: there is nowhere to say so
            }
            try { file?.Flush(); }
            catch (IOException) { }
        }
        try { file?.Dispose(); }
        catch (IOException) { }
    }

    private static FileStream Open(string path) =>
        new(path, new FileStreamOptions { Mode = FileMode.Append, Access = FileAccess.Write, Share = FileShare.Read | FileShare.Delete, UnixCreateMode = AtomicFile.OwnerOnly });

    private sealed class Logger(LineLog owner, string category) : ILogger
    {
        private readonly string _category = category[(category.LastIndexOf('.') + 1)..];

        /// <summary>The framework's own lines only when something is wrong.</summary>
        private readonly LogLevel _minimum = category.StartsWith("Microsoft.", StringComparison.Ordinal) ? LogLevel.Warning : owner._minimum;

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= _minimum && logLevel != LogLevel.None;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (!IsEnabled(logLevel))
                return;
            var text = new StringBuilder(160);
            text.Append(DateTimeOffset.UtcNow.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture)).Append(' ').Append(Word(logLevel)).Append(' ').Append(_category).Append(": ");
            text.Append(formatter(state, exception));
            if (exception is not null)
                text.Append(" | ").Append(exception);
            // One entry, one line: what a client sent cannot forge a second one.
            text.Replace("\r", "").Replace("\n", " ⏎ ");
            owner._lines.Writer.TryWrite(text.ToString());
        }

        private static string Word(LogLevel level) => level switch
        {
            LogLevel.Trace => "trace",
            LogLevel.Debug => "debug",
            LogLevel.Information => "info ",
            LogLevel.Warning => "warn ",
            LogLevel.Error => "error",
            _ => "fatal",
        };
    }
}
