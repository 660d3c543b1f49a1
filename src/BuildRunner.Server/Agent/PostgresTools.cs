using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;

namespace BuildRunner.Server.Agent;

/// <summary>Runs PostgreSQL's own programs; each ends with the agent, because one thread that lives as long starts them all.</summary>
internal sealed class PostgresTools(AgentOptions options, PostgresAccount account) : IDisposable
{
    private const int TailMax = 4000;
    private readonly BlockingCollection<Action> _starts = StartThread();

    public void Dispose() => _starts.CompleteAdding();

    /// <summary>Runs a program to its end, or kills it when cancelled; its output line by line to <paramref name="line"/>.</summary>
    public async Task<ToolResult> RunAsync(string program, IEnumerable<string> arguments, string folder, CancellationToken cancel, Action<string>? line = null)
    {
        var path = options.Binaries.Length > 0 && !program.StartsWith('/') ? Path.Combine(options.Binaries, program) : program;
        using var process = await StartAsync(account.Command(path, arguments, folder));
        process.StandardInput.Close();
        var errors = new StringBuilder();
        var output = line is null ? ReadTailAsync(process.StandardOutput, errors) : ReadLinesAsync(process.StandardOutput, line);
        var talk = ReadTailAsync(process.StandardError, errors);
        try { await process.WaitForExitAsync(cancel); }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }
        await Task.WhenAll(output, talk);
        lock (errors)
            return new(process.ExitCode, errors.ToString().Trim());
    }

    /// <summary>As <see cref="RunAsync"/>, and a failure is an exception with the program's last words.</summary>
    public async Task MustRunAsync(string program, IEnumerable<string> arguments, string folder, CancellationToken cancel)
    {
        var result = await RunAsync(program, arguments, folder, cancel);
        if (result.Code != 0)
            throw new InvalidOperationException($"{program} ended with {result.Code}: {result.Talk}");
    }

    private Task<Process> StartAsync(ProcessStartInfo start)
    {
        var started = new TaskCompletionSource<Process>(TaskCreationOptions.RunContinuationsAsynchronously);
        _starts.Add(() =>
        {
            try { started.SetResult(Process.Start(start) ?? throw new InvalidOperationException("setpriv did not start.")); }
            catch (Exception error) { started.SetException(error); }
        });
        return started.Task;
    }

    private static BlockingCollection<Action> StartThread()
    {
        var starts = new BlockingCollection<Action>();
        new Thread(() =>
        {
            foreach (var start in starts.GetConsumingEnumerable())
                start();
        })
        { IsBackground = true, Name = "postgres tools" }.Start();
        return starts;
    }

    private static async Task ReadLinesAsync(StreamReader reader, Action<string> line)
    {
        while (await reader.ReadLineAsync() is { } read)
            line(read);
    }

    private static Task ReadTailAsync(StreamReader reader, StringBuilder tail) => ReadLinesAsync(reader, line =>
    {
        lock (tail)
        {
            tail.AppendLine(line);
            if (tail.Length > TailMax)
                tail.Remove(0, tail.Length - TailMax);
        }
    });
}

/// <summary>Exit code and the end of what the program said.</summary>
internal sealed record ToolResult(int Code, string Talk);
