using System.Runtime.InteropServices;
using System.Text;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Dev;

/// <summary>The processes of a sandbox, found by its mark and its folders; ended, frozen and thawed by their number.</summary>
internal static partial class ProcessTable
{
    public static IReadOnlyList<ProcessRow> All() => HostProcesses.All();

    /// <summary>Null when it is gone. A zombie runs no code any more and counts as gone.</summary>
    public static ProcessRow? Read(int id) => HostProcesses.Read(id);

    /// <summary>
    /// Processes of a part of the sandbox: those whose environment bears its mark, those that work in one of its folders (PostgreSQL writes over
    /// its environment, and stands in its data folder), and everything these started.
    /// </summary>
    public static IReadOnlyList<ProcessRow> Belonging(string mark, IReadOnlyCollection<string> folders)
    {
        var all = All();
        var wanted = Encoding.UTF8.GetBytes($"{DevLayout.Mark}={mark}");
        var roots = all.Where(p => p.Id != Environment.ProcessId && (Bears(p.Id, wanted) || (p.Name == "postgres" && StandsIn(p.Id, folders)))).Select(p => p.Id);
        return [.. HostProcesses.Tree(roots, all).Where(p => p.Id != Environment.ProcessId)];
    }

    public static void Kill(int id) => HostProcesses.Kill(id);

    public static void Freeze(int id) => HostProcesses.Freeze(id);

    public static void Thaw(int id) => HostProcesses.Thaw(id);

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

    /// <summary>A session of one's own: a terminal's Ctrl+C and hang-up no longer reach this process.</summary>
    [LibraryImport("libc", EntryPoint = "setsid")]
    public static partial int NewSession();
}
