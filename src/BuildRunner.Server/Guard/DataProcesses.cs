namespace BuildRunner.Server.Guard;

/// <summary>The processes of a PostgreSQL server: every one of them has the data directory as its working directory.</summary>
internal sealed class DataProcesses(string data)
{
    private readonly string _data = GuardNative.RealPath(data);

    /// <summary>Ids of the processes that can still run code: no zombies, which `kill(pid, 0)` would see.</summary>
    public List<int> Running()
    {
        var running = new List<int>();
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(folder.AsSpan()), NumberStyles.None, CultureInfo.InvariantCulture, out var pid)
                && pid != Environment.ProcessId && IsHere(folder) && !IsGone(folder))
                running.Add(pid);
        }
        return running;
    }

    /// <summary>Whether SIGKILL waits for the process: it will not return to its own code.</summary>
    public static bool IsKillPending(int pid)
    {
        try
        {
            foreach (var line in File.ReadLines($"/proc/{pid}/status"))
            {
                if ((line.StartsWith("SigPnd:", StringComparison.Ordinal) || line.StartsWith("ShdPnd:", StringComparison.Ordinal))
                    && ulong.TryParse(line.AsSpan(7).Trim(), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var pending)
                    && (pending & (1UL << (GuardNative.SigKill - 1))) != 0)
                    return true;
            }
            return false;
        }
        catch (IOException) { return true; } // gone
    }

    private bool IsHere(string folder)
    {
        try { return new FileInfo($"{folder}/cwd").LinkTarget is { } at && at == _data; }
        catch (IOException) { return false; } // ended meanwhile
        catch (UnauthorizedAccessException) { return false; } // another user's, so not our PostgreSQL
    }

    private static bool IsGone(string folder)
    {
        try
        {
            var stat = File.ReadAllText($"{folder}/stat");
            var state = stat.LastIndexOf(')') + 2;
            return state >= stat.Length || stat[state] is 'Z' or 'X';
        }
        catch (IOException) { return true; }
    }
}
