using System.Diagnostics;
using BuildRunner.Client.Databases;

namespace BuildRunner.Server.Agent.Instances;

/// <summary>One instance: started, watched, started again when it ends by itself, drained and stopped when it is no longer wanted.</summary>
internal sealed class InstanceProcess(InstanceCommand command, string logFolder, TimeProvider time) : IDisposable
{
    private const long LogBytesMax = 4 * 1024 * 1024;
    private static readonly TimeSpan RestartMin = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan RestartMax = TimeSpan.FromSeconds(10);

    /// <summary>An instance that ran this long starts anew without a wait.</summary>
    private static readonly TimeSpan Settled = TimeSpan.FromSeconds(30);
    private readonly Lock _log = new();
    private Process? _process;
    private TimeSpan _wait = RestartMin;
    private long _startedAt;
    private long? _endedAt;
    private Task? _stopping;

    public InstanceCommand Command => command;
    public bool Ready { get; set; }
    public int Restarts { get; private set; }
    public string? Detail { get; set; }
    public bool Stopping => _stopping is not null;
    public bool Running => _process is { HasExited: false };

    public Uri Address(string host) => new($"http://{host}:{command.Port}");

    /// <summary>Starts it when it does not run and its wait is over.</summary>
    public void Keep()
    {
        if (Running || Stopping)
            return;
        if (_process is not null && _endedAt is null)
        {
            _endedAt = time.GetTimestamp();
            Ready = false;
            Detail = $"ended with {_process.ExitCode}";
            _wait = time.GetElapsedTime(_startedAt) > Settled ? RestartMin : _wait * 2 < RestartMax ? _wait * 2 : RestartMax;
        }
        if (_endedAt is { } ended && time.GetElapsedTime(ended) < _wait)
            return;
        if (_process is not null)
            Restarts++;
        _endedAt = null;
        Start();
    }

    /// <summary>SIGTERM, and SIGKILL when it has not ended within its service's limit.</summary>
    public Task StopAsync(TimeSpan? limit = null) => _stopping ??= EndAsync(limit ?? command.Service.DrainMax);

    public InstanceReading Reading(string host) => new()
    {
        Service = command.Service.Service,
        Id = command.Id,
        Track = command.Service.Track,
        Version = command.Service.Version,
        Address = Address(host).ToString().TrimEnd('/'),
        ProcessId = Running ? _process!.Id : 0,
        Ready = Ready && !Stopping,
        Draining = Stopping,
        Restarts = Restarts,
        Detail = Detail,
    };

    public void Dispose() => _process?.Dispose();

    private void Start()
    {
        _process?.Dispose();
        _startedAt = time.GetTimestamp();
        var start = new ProcessStartInfo(command.Program)
        {
            // Its standard input is a pipe that closes when the agent ends, however that ends.
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var argument in command.Arguments)
            start.ArgumentList.Add(argument);
        foreach (var (name, value) in command.Environment)
            start.Environment[name] = value;
        try
        {
            _process = Process.Start(start) ?? throw new InvalidOperationException("it did not start");
        }
        catch (Exception error) when (error is System.ComponentModel.Win32Exception or InvalidOperationException)
        {
            _process = null;
            _endedAt = time.GetTimestamp();
            _wait = RestartMax;
            Detail = $"{command.Program} cannot be started: {error.Message}";
            return;
        }
        Detail = null;
        _process.OutputDataReceived += (_, line) => Log(line.Data);
        _process.ErrorDataReceived += (_, line) => Log(line.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    private async Task EndAsync(TimeSpan limit)
    {
        if (_process is not { HasExited: false } process)
            return;
        _ = AgentNative.Kill(process.Id, AgentNative.SigTerm);
        using var wait = new CancellationTokenSource(limit, time);
        try { await process.WaitForExitAsync(wait.Token); }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync(CancellationToken.None);
        }
    }

    private void Log(string? line)
    {
        if (line is null)
            return;
        var path = Path.Combine(logFolder, $"{command.Id}.log");
        lock (_log)
        {
            try
            {
                File.AppendAllText(path, line + "\n");
                if (new FileInfo(path).Length > LogBytesMax)
                    File.Move(path, $"{path}.1", overwrite: true);
            }
            catch (IOException) { } // a full disk: there is nowhere to say so
        }
    }
}
