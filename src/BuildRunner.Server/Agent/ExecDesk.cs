using System.ComponentModel;
using System.Diagnostics;
using System.Text;
using BuildRunner.Client.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Agent;

/// <summary>Runs a command of the policy's list on this host: no shell, no input, bounded time and output, four at a time; what it started ends with it.</summary>
internal sealed partial class ExecDesk(ILogger<ExecDesk> logger) : IDisposable
{
    private const int AtOnceMax = 4;
    private static readonly TimeSpan LimitMax = TimeSpan.FromHours(1);
    private readonly SemaphoreSlim _places = new(AtOnceMax);

    public async Task<ExecResult> RunAsync(ExecOrder order, CancellationToken cancel)
    {
        if (order.Command.Count == 0)
            throw new OrderRefusedException($"The command '{order.Name}' is empty.");
        var limit = TimeSpan.FromMilliseconds(order.TimeoutMs);
        if (limit <= TimeSpan.Zero || limit > LimitMax)
            throw new OrderRefusedException($"The command '{order.Name}' may take {limit}; at most {LimitMax}.");
        if (!await _places.WaitAsync(limit, cancel))
            throw new InvalidOperationException($"{AtOnceMax} commands run here already, and none has ended within {limit.TotalSeconds:0} s.");
        try { return await StartAsync(order, limit, cancel); }
        finally { _places.Release(); }
    }

    public void Dispose() => _places.Dispose();

    private async Task<ExecResult> StartAsync(ExecOrder order, TimeSpan limit, CancellationToken cancel)
    {
        var started = Stopwatch.GetTimestamp();
        var start = new ProcessStartInfo(order.Command[0]) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true, WorkingDirectory = Path.GetTempPath() };
        foreach (var argument in order.Command.Skip(1))
            start.ArgumentList.Add(argument);
        start.Environment["BR_IDEMPOTENCY_KEY"] = order.Key;
        using var process = new Process { StartInfo = start };
        var output = new Tail(ExecOrders.OutputMax);
        process.OutputDataReceived += (_, line) => output.Add(line.Data);
        process.ErrorDataReceived += (_, line) => output.Add(line.Data);
        try { process.Start(); }
        catch (Win32Exception error) { throw new InvalidOperationException($"'{order.Command[0]}' cannot be started: {error.Message}", error); }
        process.StandardInput.Close();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        stop.CancelAfter(limit);
        try { await process.WaitForExitAsync(stop.Token); }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            cancel.ThrowIfCancellationRequested();
            throw new InvalidOperationException($"The command '{order.Name}' did not end within {limit.TotalSeconds:0.#} s and was killed: {output}");
        }
        var took = Stopwatch.GetElapsedTime(started).TotalMilliseconds;
        LogRan(logger, order.Name, process.ExitCode, took);
        return process.ExitCode == 0
            ? new ExecResult(0, took, output.ToString())
            : throw new InvalidOperationException(string.Create(CultureInfo.InvariantCulture, $"The command '{order.Name}' exited with {process.ExitCode}: {output}"));
    }

    /// <summary>The last characters of what was written.</summary>
    private sealed class Tail(int max)
    {
        private readonly StringBuilder _text = new();

        public void Add(string? line)
        {
            if (line is null)
                return;
            lock (_text)
            {
                _text.Append(line.Length > max ? line[^max..] : line).Append('\n');
                if (_text.Length > max)
                    _text.Remove(0, _text.Length - max);
            }
        }

        public override string ToString()
        {
            lock (_text)
                return _text.ToString().TrimEnd('\n');
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "The command {Name} exited with {Code} after {Milliseconds:F0} ms.")]
    private static partial void LogRan(ILogger logger, string name, int code, double milliseconds);
}
