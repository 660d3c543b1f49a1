using System.Diagnostics;
using System.Runtime.InteropServices;
using BuildRunner.Cli;

namespace BuildRunner.Dev;

/// <summary>One run of a sandbox in this process, from the lock to the last process's end.</summary>
internal static class Sandbox
{
    /// <summary>Says its progress a line at a time, calls <paramref name="ready"/> once all serves, and runs until that ends or somebody asks it to stop.</summary>
    public static async Task<ExitCode> RunAsync(DevOptions options, Action<string> say, Func<Supervisor, CancellationToken, Task> ready, CancellationToken cancel)
    {
        var layout = new DevLayout(options.Data, 0);
        DevFiles.MakeFolders(layout);
        using var held = DevLock.Take(layout);
        if (held is null)
            throw Running(layout);
        await DevLock.EndLeftoversAsync(layout, say, cancel);
        layout = layout with { PortOffset = DevLock.FreeOffset(options.Data, options.PortOffset) };
        DevLock.MakeSockets(layout);
        DevFiles.MakeSecrets(layout);
        DevFiles.WriteEndpoints(layout);

        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var begun = Stopwatch.GetTimestamp();
        try
        {
            await using var supervisor = new Supervisor(layout, options);
            await using var control = await ControlHost.StartAsync(supervisor);
            _ = supervisor.StopAsked.ContinueWith(_ => stop.Cancel(), TaskScheduler.Default);
            try
            {
                await supervisor.StartAllAsync(stop.Token);
                using (var readiness = new Readiness(supervisor))
                {
                    if (await readiness.WaitAsync(say, stop.Token) is { } missing)
                        throw NotReady(missing);
                }
                supervisor.State = "ready";
                say($"ready in {Stopwatch.GetElapsedTime(begun).TotalSeconds:0.0} s");
                using var traffic = options.Traffic ? new Traffic(layout) : null;
                await ready(supervisor, stop.Token);
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested) { } // asked to stop: that is how it ends
        }
        finally
        {
            if (Directory.Exists(layout.Sockets))
                Directory.Delete(layout.Sockets, recursive: true);
        }
        return ExitCode.Fine;
    }

    public static CliException Running(DevLayout layout)
    {
        var last = DevFiles.ReadEndpoints(layout.Data);
        return new CliException(ExitCode.Failed,
            $"A sandbox runs already in {layout.Data}{(last is { } l ? $" (process {l.ProcessId}, {(layout with { PortOffset = l.PortOffset }).Server})" : "")}. `br dev status` shows it, `br dev stop` ends it; another one needs its own --data and --port-offset.");
    }

    private static CliException NotReady(Missing missing)
    {
        string[] lines = File.Exists(missing.Log) ? [.. File.ReadLines(missing.Log).TakeLast(15)] : [];
        return new CliException(ExitCode.TimedOut, $"The sandbox did not get ready: {missing.What}. The last lines of {missing.Log}:\n{string.Join('\n', lines.Select(l => "  " + l))}");
    }
}
