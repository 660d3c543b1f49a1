using System.Runtime.InteropServices;

namespace BuildRunner.Server.Hosting;

/// <summary>A process as /proc shows it.</summary>
internal readonly record struct ProcessRow(int Id, int Parent, string Name, char State);

/// <summary>Reads /proc; ends, freezes and thaws processes by their number.</summary>
internal static partial class HostProcesses
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

    /// <summary>The given processes and all that these started, as far as they live.</summary>
    public static IReadOnlyList<ProcessRow> Tree(IEnumerable<int> roots, IReadOnlyList<ProcessRow>? all = null)
    {
        all ??= All();
        var wanted = roots.ToHashSet();
        var children = all.ToLookup(p => p.Parent, p => p.Id);
        var waiting = new Queue<int>(wanted);
        while (waiting.TryDequeue(out var parent))
        {
            foreach (var child in children[parent].Where(wanted.Add))
                waiting.Enqueue(child);
        }
        return [.. all.Where(p => wanted.Contains(p.Id))];
    }

    /// <summary>One process by its number; 0 and below would be whole groups.</summary>
    public static void Kill(int id) => Signal(id, SigKill);

    /// <summary>It runs no code until it is thawed; its sockets stay open and answer nothing.</summary>
    public static void Freeze(int id) => Signal(id, SigStop);

    public static void Thaw(int id) => Signal(id, SigContinue);

    private static void Signal(int id, int signal)
    {
        if (id > 1)
            _ = SendSignal(id, signal);
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int SendSignal(int id, int signal);
}
