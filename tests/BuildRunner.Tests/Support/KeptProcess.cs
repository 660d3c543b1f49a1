using System.Diagnostics;

namespace BuildRunner.Tests.Support;

/// <summary>
/// A process of another system, in a session of its own. It hangs on this process's pipe: when this process is gone, however it went,
/// the child gets SIGTERM.
/// </summary>
internal sealed class KeptProcess : IDisposable
{
    // Prints the child's number; ends it when standard input ends.
    private const string Keep = """
        log=$1; shift; exec 3<&0 </dev/null
        "$@" >>"$log" 2>&1 3<&- & child=$!
        { read -r -u 3 _; kill -TERM "$child"; } >/dev/null 2>&1 & watch=$!
        echo "$child"; exec >/dev/null 2>&1
        wait "$child"; code=$?; kill "$watch" 2>/dev/null; exit "$code"
        """;

    private readonly Process _keeper;

    private KeptProcess(Process keeper, int id, string log) => (_keeper, Id, Log) = (keeper, id, log);

    public int Id { get; }
    public string Log { get; }
    public bool Runs => !_keeper.HasExited;

    public static async Task<KeptProcess> StartAsync(string log, IReadOnlyDictionary<string, string?> environment, params IReadOnlyList<string> command)
    {
        var start = new ProcessStartInfo("setsid") { RedirectStandardInput = true, RedirectStandardOutput = true };
        foreach (var argument in (string[])["bash", "-c", Keep, "keep", log, .. command])
            start.ArgumentList.Add(argument);
        foreach (var (name, value) in environment)
            start.Environment[name] = value;
        var keeper = Process.Start(start) ?? throw new InvalidOperationException($"{command[0]} did not start.");
        var said = await keeper.StandardOutput.ReadLineAsync();
        return int.TryParse(said, out var id) ? new(keeper, id, log) : throw new InvalidOperationException($"{command[0]} did not start; see {log}.");
    }

    /// <summary>Asks it to end, and makes it when it does not.</summary>
    public async Task StopAsync(TimeSpan patience)
    {
        if (Runs)
            Signals.Send("TERM", Id);
        using var limit = new CancellationTokenSource(patience);
        try { await _keeper.WaitForExitAsync(limit.Token); }
        catch (OperationCanceledException)
        {
            Signals.Send("KILL", Id);
            await _keeper.WaitForExitAsync(CancellationToken.None);
        }
    }

    /// <summary>Waits for a process that was killed.</summary>
    public Task EndedAsync(CancellationToken cancel) => _keeper.WaitForExitAsync(cancel);

    /// <summary>What it said last.</summary>
    public string LastWords => File.Exists(Log) ? string.Join('\n', File.ReadLines(Log).TakeLast(60)) : "";

    public void Dispose() => _keeper.Dispose();
}
