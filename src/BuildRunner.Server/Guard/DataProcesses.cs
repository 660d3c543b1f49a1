using System.Runtime.InteropServices;
using System.Text;

namespace BuildRunner.Server.Guard;

/// <summary>The processes of a PostgreSQL server: every one of them has the data directory as its working directory.</summary>
internal sealed class DataProcesses(string data)
{
    /// <summary>Why nothing that is not seen is proven to be gone.</summary>
    public const string Blind = "the guard may not look at the processes of PostgreSQL's user: where it runs as root it needs the capability CAP_SYS_PTRACE, which containers take away (docker run --cap-add SYS_PTRACE)";

    private const uint Exiting = 0x4;
    private readonly byte[] _data = Encoding.UTF8.GetBytes(GuardNative.RealPath(data));

    /// <summary>Ids of the processes that are there still: no zombies, which `kill(pid, 0)` would see.</summary>
    /// <exception cref="UnauthorizedAccessException">A process of the data's owner may not be looked at: it may be one of them.</exception>
    public List<int> Running()
    {
        var running = new List<int>();
        Span<byte> link = stackalloc byte[_data.Length + 1];
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            // One call a process, and no exception for one that ended meanwhile or is another user's: a stop looks three times while writes wait.
            if (!int.TryParse(Path.GetFileName(folder.AsSpan()), NumberStyles.None, CultureInfo.InvariantCulture, out var pid) || pid == Environment.ProcessId)
                continue;
            var length = GuardNative.ReadLink($"{folder}/cwd", link, link.Length);
            if (length < 0 && Marshal.GetLastPInvokeError() is (GuardNative.NotPermitted or GuardNative.AccessDenied) && GuardNative.OwnerOf(folder) is > 0 and var owner && owner == GuardNative.OwnerOf(data)) // never root: PostgreSQL does not run as root
                throw new UnauthorizedAccessException(Blind);
            if (length == _data.Length && link[..^1].SequenceEqual(_data) && !IsGone(pid))
                running.Add(pid);
        }
        return running;
    }

    /// <summary>Whether this guard may look at a process at all.</summary>
    public static bool Sees(int pid)
    {
        Span<byte> link = stackalloc byte[1];
        return GuardNative.ReadLink($"/proc/{pid}/cwd", link, link.Length) >= 0 || Marshal.GetLastPInvokeError() is not (GuardNative.NotPermitted or GuardNative.AccessDenied);
    }

    /// <summary>
    /// Whether a process that was sent SIGKILL will not return to its own code: the signal waits for it, or the kernel is already taking it apart, with
    /// all its threads (the flag PF_EXITING of linux/sched.h, ninth field of stat; the signal no longer waits then).
    /// </summary>
    public static bool IsDying(int pid)
    {
        try
        {
            var stat = Stat(pid);
            if (IsGone(stat) || IsExiting(stat))
                return true;
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

    /// <summary>Whether the kernel is taking it apart.</summary>
    public static bool IsExiting(int pid)
    {
        try { return IsExiting(Stat(pid)); }
        catch (IOException) { return false; }
    }

    public static bool IsGone(int pid)
    {
        try { return IsGone(Stat(pid)); }
        catch (IOException) { return true; }
    }

    private static bool IsGone(string[] stat) => stat is not [var state, ..] || state is "Z" or "X";

    private static bool IsExiting(string[] stat) => stat is [_, _, _, _, _, _, var flags, ..] && uint.TryParse(flags, NumberStyles.None, CultureInfo.InvariantCulture, out var set) && (set & Exiting) != 0;

    /// <summary>The fields of /proc/PID/stat from the third (the state) on; the second, a name, may hold anything.</summary>
    private static string[] Stat(int pid)
    {
        var stat = File.ReadAllText($"/proc/{pid}/stat");
        return stat[(stat.LastIndexOf(')') + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
    }
}
