using System.Diagnostics;

namespace BuildRunner.Dev;

/// <summary>How a role is started: always the same way, so that a restart is a start.</summary>
internal sealed record ChildPlan
{
    /// <summary>`server`, `gateway-us-east-1`, …; also its log's name.</summary>
    public required string Name { get; init; }

    /// <summary>Null: of no region.</summary>
    public required DevRegion? Region { get; init; }
    public required IReadOnlyList<string> Arguments { get; init; }
    public required IReadOnlyDictionary<string, string> Environment { get; init; }
    public required string Folder { get; init; }
    public required string Log { get; init; }
}

/// <summary>
/// A role's process, started again when it ends by itself. It hangs on a pipe whose other end only this process holds: whatever ends the
/// supervisor ends the child.
/// </summary>
internal sealed class Child(ChildPlan plan, string program) : IDisposable
{
    private static readonly TimeSpan RestartFirst = TimeSpan.FromMilliseconds(300);
    private static readonly TimeSpan RestartMax = TimeSpan.FromSeconds(5);

    private readonly Lock _state = new();
    private Process? _process;
    private bool _wanted;
    private int _failuresInRow;
    private CancellationTokenSource _stop = new();

    public ChildPlan Plan => plan;

    /// <summary>Starts of it that the supervisor made because it had ended by itself.</summary>
    public int Restarts { get; private set; }

    public int? ProcessId
    {
        get { lock (_state) return _process is { HasExited: false } process ? process.Id : null; }
    }

    /// <summary>Ends in a row, each sooner than 5 s after its start.</summary>
    public int FailuresInRow => Volatile.Read(ref _failuresInRow);

    public bool Wanted => Volatile.Read(ref _wanted);

    /// <summary>Starts it, this once with more environment: a restart comes without.</summary>
    public void Start(IReadOnlyDictionary<string, string>? once = null)
    {
        lock (_state)
        {
            if (_process is { HasExited: false })
                return;
            _wanted = true;
            _stop.Dispose();
            _stop = new();
            _failuresInRow = 0;
            Launch(once);
        }
    }

    /// <summary>From now on it is not started again; null when it does not run.</summary>
    public int? Unwant()
    {
        lock (_state)
        {
            _wanted = false;
            _stop.Cancel();
            return _process is { HasExited: false } process ? process.Id : null;
        }
    }

    /// <summary>Asks it to end by letting go of its pipe.</summary>
    public void LetGo()
    {
        lock (_state)
        {
            Unwant();
            if (_process is { HasExited: false } process)
                process.StandardInput.Close();
        }
    }

    public async Task<bool> EndedAsync(TimeSpan within)
    {
        Process? process;
        lock (_state)
            process = _process;
        if (process is null)
            return true;
        try
        {
            await process.WaitForExitAsync().WaitAsync(within);
            return true;
        }
        catch (TimeoutException) { return false; }
    }

    public void Dispose()
    {
        _stop.Cancel();
        _stop.Dispose();
        _process?.Dispose();
    }

    private void Launch(IReadOnlyDictionary<string, string>? once)
    {
        // The shell gives it its log and is gone: same process number. A session of its own keeps a terminal's signals away.
        var start = new ProcessStartInfo("/bin/sh") { RedirectStandardInput = true, WorkingDirectory = plan.Folder, UseShellExecute = false };
        foreach (var argument in (string[])["-c", "exec setsid \"$@\" >>\"$0\" 2>&1", plan.Log, program, .. plan.Arguments])
            start.ArgumentList.Add(argument);
        foreach (var (name, value) in plan.Environment.Concat(once ?? new Dictionary<string, string>()))
            start.Environment[name] = value;
        var begun = TimeProvider.System.GetTimestamp();
        _process = Process.Start(start) ?? throw new InvalidOperationException($"{plan.Name} did not start.");
        _ = WatchAsync(_process, begun, _stop.Token);
    }

    private async Task WatchAsync(Process process, long begun, CancellationToken stop)
    {
        await process.WaitForExitAsync(CancellationToken.None);
        try
        {
            var short_ = TimeProvider.System.GetElapsedTime(begun) < RestartMax;
            var failures = short_ ? Interlocked.Increment(ref _failuresInRow) : Interlocked.Exchange(ref _failuresInRow, 0);
            var pause = TimeSpan.FromTicks(Math.Min(RestartFirst.Ticks << Math.Min(failures, 6), RestartMax.Ticks));
            await Task.Delay(pause, stop);
        }
        catch (OperationCanceledException) { return; }
        lock (_state)
        {
            if (!_wanted || stop.IsCancellationRequested || _process != process)
                return;
            process.Dispose();
            Restarts++;
            Launch(once: null);
        }
    }
}
