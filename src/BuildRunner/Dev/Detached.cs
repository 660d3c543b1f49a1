using System.Diagnostics;
using BuildRunner.Cli;

namespace BuildRunner.Dev;

/// <summary>
/// `br dev --detach`: a supervisor in a session of its own. Until it is ready it hangs on this process's pipe, so that an interrupted start
/// leaves nothing; then it is told to keep on.
/// </summary>
internal static class Detached
{
    /// <summary>The option by which the supervisor knows what it is; not for people.</summary>
    public const string SupervisorOption = "--supervisor";

    private const string Ready = "ready";
    private const string Keep = "keep";
    private const string Failed = "failed ";

    public static async Task<ExitCode> StartAsync(DevOptions options, IReadOnlyList<string> arguments, Action<string> say, CancellationToken cancel)
    {
        var layout = new DevLayout(options.Data, 0);
        DevFiles.MakeFolders(layout);
        var start = new ProcessStartInfo("/bin/sh") { RedirectStandardInput = true, RedirectStandardOutput = true, UseShellExecute = false };
        foreach (var argument in (string[])["-c", "exec setsid \"$@\" 2>>\"$0\"", layout.Log("dev"), Environment.ProcessPath!, .. arguments, SupervisorOption])
            start.ArgumentList.Add(argument);
        foreach (var (name, value) in DevPlans.Small)
            start.Environment[name] = value;
        using var supervisor = Process.Start(start) ?? throw new CliException(ExitCode.Failed, "The supervisor did not start.");
        while (await supervisor.StandardOutput.ReadLineAsync(cancel) is { } line)
        {
            if (line == Ready)
            {
                await supervisor.StandardInput.WriteLineAsync(Keep);
                await supervisor.StandardInput.FlushAsync(cancel);
                return ExitCode.Fine;
            }
            if (line.StartsWith(Failed, StringComparison.Ordinal))
                throw new CliException(ExitCode.Failed, line[Failed.Length..].Replace('\u2028', '\n'));
            say(line);
        }
        throw new CliException(ExitCode.Failed, $"The supervisor ended before all was ready; see {layout.Log("dev")}.");
    }

    /// <summary>The supervisor's side.</summary>
    public static async Task<ExitCode> SuperviseAsync(DevOptions options, CancellationToken cancel)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        using var input = new StreamReader(Console.OpenStandardInput());
        using var output = new StreamWriter(Console.OpenStandardOutput()) { AutoFlush = true };
        var kept = KeptAsync(input, stop);
        var talking = true;
        void Say(string line)
        {
            try
            {
                if (talking)
                    output.WriteLine(line);
            }
            catch (IOException) { talking = false; } // the command is gone; its pipe's end stops the start
        }
        try
        {
            return await Sandbox.RunAsync(options, Say, async (_, asked) =>
            {
                Say(Ready);
                if (!await kept)
                    return;
                talking = false;
                await Task.Delay(Timeout.Infinite, asked);
            }, stop.Token);
        }
        catch (CliException error)
        {
            Say(Failed + error.Message.Replace('\n', '\u2028'));
            return error.Code;
        }
    }

    /// <summary>False, with the start stopped, when the command went away without saying so.</summary>
    private static async Task<bool> KeptAsync(StreamReader input, CancellationTokenSource stop)
    {
        if (await input.ReadLineAsync() == Keep)
            return true;
        await stop.CancelAsync();
        return false;
    }
}
