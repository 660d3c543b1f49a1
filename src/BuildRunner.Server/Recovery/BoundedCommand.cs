using System.Diagnostics;
using System.Text;

namespace BuildRunner.Server.Recovery;

/// <summary>How a command ended.</summary>
/// <param name="ExitCode">Null: it was ended by us.</param>
/// <param name="Output">What it wrote to its output.</param>
/// <param name="Error">What it wrote to its error output.</param>
/// <param name="Ended">Why we ended it, or could not start it: the rest of a sentence.</param>
/// <param name="TooSlow">Whether it was ended because its time was up.</param>
internal sealed record CommandResult(int? ExitCode, string Output, string Error, string? Ended, bool TooSlow = false);

/// <summary>Runs a program without a shell: its arguments are its own, its input is ours, its time and output are bounded, and its children end with it.</summary>
internal static class BoundedCommand
{
    private const int BytesMax = 64 * 1024;

    public static async Task<CommandResult> RunAsync(IReadOnlyList<string> command, byte[] input, TimeSpan timeout, CancellationToken cancel)
    {
        var start = new ProcessStartInfo(command[0]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        foreach (var argument in command.Skip(1))
            start.ArgumentList.Add(argument);
        using var process = new Process { StartInfo = start };
        try { process.Start(); }
        catch (System.ComponentModel.Win32Exception error) { return new(null, "", "", $"could not be started: {error.Message}"); }

        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(timeout);
        var output = ReadAsync(process.StandardOutput.BaseStream, limit);
        var errors = ReadAsync(process.StandardError.BaseStream, limit);
        var (ended, slow) = ((string?)null, false);
        try
        {
            try
            {
                await process.StandardInput.BaseStream.WriteAsync(input, limit.Token);
                process.StandardInput.Close();
            }
            catch (IOException) { } // it does not read its input, which is its own affair
            await Task.WhenAll(output, errors);
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            slow = !IsOver(output) && !IsOver(errors);
            ended = slow ? string.Create(CultureInfo.InvariantCulture, $"did not end within {timeout.TotalSeconds:0.#} s and was ended") : $"wrote more than {BytesMax / 1024} KiB and was ended";
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
        return new(ended is null ? process.ExitCode : null, Text(output), Text(errors), ended, slow);
    }

    private static bool IsOver(Task<(string Text, bool Over)> read) => read.IsCompletedSuccessfully && read.Result.Over;

    private static string Text(Task<(string Text, bool Over)> read) => read.IsCompletedSuccessfully ? read.Result.Text : "";

    /// <summary>To its end or its bound; past that, everything is ended.</summary>
    private static async Task<(string Text, bool Over)> ReadAsync(Stream from, CancellationTokenSource limit)
    {
        var buffer = new byte[BytesMax + 1];
        var length = 0;
        while (length < buffer.Length && await from.ReadAsync(buffer.AsMemory(length), limit.Token) is > 0 and var read)
            length += read;
        if (length <= BytesMax)
            return (Encoding.UTF8.GetString(buffer, 0, length), false);
        await limit.CancelAsync();
        return ("", true);
    }
}
