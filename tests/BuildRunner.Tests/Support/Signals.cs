using System.Diagnostics;

namespace BuildRunner.Tests.Support;

/// <summary>Signals to processes that we started, by number.</summary>
internal static class Signals
{
    /// <summary>`name` without SIG. Processes that are gone are none of its business.</summary>
    public static void Send(string name, params IReadOnlyCollection<int> processes)
    {
        if (processes.Count == 0)
            return;
        var start = new ProcessStartInfo("kill") { RedirectStandardError = true };
        foreach (var argument in processes.Select(id => id.ToString(CultureInfo.InvariantCulture)).Prepend($"-{name}"))
            start.ArgumentList.Add(argument);
        using var kill = Process.Start(start)!;
        kill.StandardError.ReadToEnd();
        kill.WaitForExit();
    }

    /// <summary>Processes whose working directory is the folder: a PostgreSQL and all its children.</summary>
    public static IReadOnlyList<int> In(string folder)
    {
        var found = new List<int>();
        foreach (var process in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(process), out var id))
                continue;
            try
            {
                if (new FileInfo(Path.Combine(process, "cwd")).LinkTarget == folder)
                    found.Add(id);
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException) { } // gone, or somebody else's
        }
        return found;
    }
}
