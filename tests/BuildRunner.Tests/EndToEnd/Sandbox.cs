using System.Diagnostics;
using System.Text.Json;
using BuildRunner.Dev;
using BuildRunner.Server.Hosting;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>What a command said and how it ended.</summary>
public sealed record Said(int Code, string Out, string Error)
{
    /// <summary>Fails with everything it said unless it ended with 0.</summary>
    public Said Fine()
    {
        Assert.True(Code == 0, $"exit {Code}\n{Out}\n{Error}");
        return this;
    }

    public JsonElement Json => JsonDocument.Parse(Out).RootElement;
}

/// <summary>`br dev` as a person starts it: the published program, a folder of its own, free ports, and commands that find it by that folder.</summary>
public sealed class Sandbox : IAsyncDisposable
{
    private static readonly TimeSpan CommandMax = TimeSpan.FromMinutes(3);

    private readonly string _program;

    private Sandbox(string data, string program) => (Data, _program) = (data, program);

    public static string Root { get; } = Repository.Root;
    public static string Program { get; } = Path.Combine(Root, "artifacts/br/br");

    public string Data { get; }
    public TimeSpan Took { get; private set; }

    internal DevLayout Layout => new(Data, DevFiles.ReadEndpoints(Data)?.PortOffset ?? 0);
    public string Server => Layout.Server;
    public string Gateway(string region) => Layout.Gateway(DevRegion.Find(region));
    public string Token => File.ReadAllText(Layout.Token).Trim();

    /// <summary>A folder that only its owner can enter, as `mktemp -d` makes it.</summary>
    public static Sandbox Empty()
    {
        Assert.True(File.Exists(Program), $"{Program} is missing: ./br --version builds it, and ./test does so itself.");
        return new(Directory.CreateTempSubdirectory("br-e2e-").FullName, Program);
    }

    public static Task<Sandbox> StartAsync(params string[] more) => StartWithAsync(null, more);

    /// <param name="program">Instead of the built one.</param>
    public static async Task<Sandbox> StartWithAsync(string? program, params string[] more)
    {
        var sandbox = program is null ? Empty() : new(Empty().Data, program);
        try
        {
            await sandbox.StartAgainAsync(more);
            return sandbox;
        }
        catch
        {
            await sandbox.DisposeAsync();
            throw;
        }
    }

    public async Task<Said> StartAgainAsync(params string[] more)
    {
        var begun = Stopwatch.GetTimestamp();
        var said = (await BrAsync(["dev", "--detach", "--data", Data, "--port-offset", "auto", .. more])).Fine();
        Took = Stopwatch.GetElapsedTime(begun);
        return said;
    }

    public Task<Said> BrAsync(params string[] arguments) => BrAsync([], arguments);

    /// <summary>The same with variables of its own.</summary>
    public async Task<Said> BrAsync(Dictionary<string, string> environment, params string[] arguments)
    {
        using var process = Start(environment, arguments);
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        try { await process.WaitForExitAsync().WaitAsync(CommandMax, TestContext.Current.CancellationToken); }
        catch (Exception stop) when (stop is TimeoutException or OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"br {string.Join(' ', arguments)} did not end in time.\n{await error}", stop);
        }
        return new(process.ExitCode, await output, await error);
    }

    /// <summary>Starts a command and leaves it running.</summary>
    public Process Start(params string[] arguments) => Start([], arguments);

    private static Process Begin(ProcessStartInfo start, Dictionary<string, string> environment)
    {
        foreach (var (name, value) in environment)
            start.Environment[name] = value;
        return Process.Start(start)!;
    }

    private Process Start(Dictionary<string, string> environment, params string[] arguments)
    {
        var start = new ProcessStartInfo(_program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = Root };
        start.Environment["BR_HOME"] = Data;
        foreach (var name in new[] { "BR_SERVER", "BR_TOKEN_FILE", "BR_POLICY", "BR_VIEWER", "BR_PORT_OFFSET", "BR_LIFELINE", DevLayout.Mark })
            start.Environment.Remove(name);
        return Begin(start, environment);
    }

    /// <summary>Processes of this sandbox but for its supervisor, and ports it listens on.</summary>
    internal IReadOnlyList<ProcessRow> Processes => DevLock.Leftovers(Layout);

    internal IReadOnlyList<string> Listening
    {
        get
        {
            var listening = ListeningPorts.Read();
            return [.. Layout.Listens().Where(l => ListeningPorts.Holder(listening, System.Net.IPAddress.Parse(l.Host), l.Port) is not null).Select(l => $"{l.Host}:{l.Port}")];
        }
    }

    public int Supervisor => DevFiles.ReadEndpoints(Data)!.Value.ProcessId;

    public async ValueTask DisposeAsync()
    {
        if (TestContext.Current.TestState?.Result == TestResult.Failed)
            ShowLogs();
        await BrAsync("dev", "stop", "--data", Data);
        foreach (var left in Processes)
            ProcessTable.Kill(left.Id);
        foreach (var folder in DevLock.Folders(Layout, DevRegion.All.Select(Layout.FolderOf)).Append(Data).Where(Directory.Exists))
            Directory.Delete(folder, recursive: true);
    }

    public void ShowLogs()
    {
        foreach (var log in Directory.Exists(Layout.Logs) ? Directory.GetFiles(Layout.Logs) : [])
            TestContext.Current.TestOutputHelper?.WriteLine($"--- {Path.GetFileName(log)}\n{string.Join('\n', File.ReadLines(log).TakeLast(25))}");
    }
}
