using System.Diagnostics;

namespace BuildRunner.Bench;

/// <summary>Programs that are run to their end.</summary>
internal static class Commands
{
    public static async Task<(int Code, string Out, string Error)> RunAsync(IReadOnlyDictionary<string, string?> environment, CancellationToken cancel, params IReadOnlyList<string> command)
    {
        var start = new ProcessStartInfo(command[0], command.Skip(1)) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        foreach (var (name, value) in environment)
            start.Environment[name] = value;
        using var process = Process.Start(start) ?? throw new BenchException($"{command[0]} did not start.");
        process.StandardInput.Close();
        var (output, error) = (process.StandardOutput.ReadToEndAsync(CancellationToken.None), process.StandardError.ReadToEndAsync(CancellationToken.None));
        try { await process.WaitForExitAsync(cancel); }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }
        return (process.ExitCode, await output, await error);
    }

    /// <summary>The first line that a program prints; null when it is not there.</summary>
    public static async Task<string?> FirstLineAsync(params IReadOnlyList<string> command)
    {
        try { return (await RunAsync(new Dictionary<string, string?>(), CancellationToken.None, command)).Out.Split('\n')[0].Trim() is { Length: > 0 } line ? line : null; }
        catch (System.ComponentModel.Win32Exception) { return null; }
    }
}
