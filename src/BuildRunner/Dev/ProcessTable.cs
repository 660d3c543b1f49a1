using System.Runtime.InteropServices;
using System.Text;

namespace BuildRunner.Dev;

/// <summary>A process as /proc shows it.</summary>
internal readonly record struct ProcessRow(int Id, int Parent, string Name, char State);

/// <summary>Reads /proc, and ends processes by their number.</summary>
internal static partial class ProcessTable
{
    private const int SigKill = 9;
    private const int SigContinue = 18;
    private const int SigStop = 19;

    public static IReadOnlyList<ProcessRow> All()
    {
        var found = new List<ProcessRow>();
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(folder.AsSpan()), CultureInfo.InvariantCulture, out var id) && Read(id) is { } row)
                found.Add(row);
        }
        return found;
    }

    /// <summary>Null when it is gone. A zombie runs no code any more and counts as gone.</summary>
    public static ProcessRow? Read(int id)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{id}/stat");
            var (open, close) = (stat.IndexOf('(', StringComparison.Ordinal), stat.LastIndexOf(')'));
            var rest = stat[(close + 2)..].Split(' ', 3);
            return rest[0] is "Z" or "X" ? null : new(id, int.Parse(rest[1], CultureInfo.InvariantCulture), stat[(open + 1)..close], rest[0][0]);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or ArgumentException or FormatException)
        {
            return null;
        }
    }

    /// <summary>
    /// Processes of a part of the sandbox: those whose environment bears its mark, those that work in one of its folders (PostgreSQL writes over
    /// its environment, and stands in its data folder), and everything these started.
    /// </summary>
    public static IReadOnlyList<ProcessRow> Belonging(string mark, IReadOnlyCollection<string> folders)
    {
        var all = All();
        var wanted = Encoding.UTF8.GetBytes($"{DevLayout.Mark}={mark}");
        var roots = all.Where(p => p.Id != Environment.ProcessId && (Bears(p.Id, wanted) || (p.Name == "postgres" && StandsIn(p.Id, folders)))).Select(p => p.Id).ToHashSet();
        var children = all.ToLookup(p => p.Parent, p => p.Id);
        var waiting = new Queue<int>(roots);
        while (waiting.TryDequeue(out var parent))
        {
            foreach (var child in children[parent].Where(roots.Add))
                waiting.Enqueue(child);
        }
        roots.Remove(Environment.ProcessId);
        return [.. all.Where(p => roots.Contains(p.Id))];
    }

    /// <summary>One process by its number; 0 and below would be whole groups.</summary>
    public static void Kill(int id)
    {
        if (id > 1)
            _ = SendSignal(id, SigKill);
    }

    /// <summary>It runs no code until it is thawed; its sockets stay open and answer nothing.</summary>
    public static void Freeze(int id)
    {
        if (id > 1)
            _ = SendSignal(id, SigStop);
    }

    public static void Thaw(int id)
    {
        if (id > 1)
            _ = SendSignal(id, SigContinue);
    }

    /// <summary>The role that it was started as (`guard`, `agent`, …); null for what is no role of ours.</summary>
    public static string? RoleOf(int id)
    {
        try { return File.ReadAllText($"/proc/{id}/cmdline").Split('\0') is [var program, var role, ..] && Path.GetFileName(program) == "br" ? role : null; }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException) { return null; }
    }

    private static bool Bears(int id, byte[] wanted)
    {
        try { return File.ReadAllBytes($"/proc/{id}/environ").AsSpan().IndexOf(wanted) >= 0; }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException) { return false; }
    }

    private static bool StandsIn(int id, IReadOnlyCollection<string> folders)
    {
        try
        {
            return folders.Count > 0 && new FileInfo($"/proc/{id}/cwd").LinkTarget is { } cwd
                && folders.Any(f => cwd == f || cwd.StartsWith(f + "/", StringComparison.Ordinal));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException) { return false; }
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int SendSignal(int id, int signal);

    /// <summary>A session of one's own: a terminal's Ctrl+C and hang-up no longer reach this process.</summary>
    [LibraryImport("libc", EntryPoint = "setsid")]
    public static partial int NewSession();
}
