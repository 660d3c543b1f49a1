using System.Diagnostics;
using System.Net;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Dev;

/// <summary>One sandbox per data folder; and what an earlier one left behind is gone before the next starts.</summary>
internal static class DevLock
{
    private static readonly TimeSpan LeftoversMax = TimeSpan.FromSeconds(10);

    /// <summary>Held until disposed, or until this process is gone; null when another holds it.</summary>
    public static FileStream? Take(DevLayout layout)
    {
        try { return new FileStream(layout.Lock, new FileStreamOptions { Mode = FileMode.OpenOrCreate, Access = FileAccess.ReadWrite, Share = FileShare.None, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite }); }
        catch (IOException) { return null; }
    }

    public static bool IsHeld(DevLayout layout)
    {
        if (!File.Exists(layout.Lock))
            return false;
        using var held = Take(layout);
        return held is null;
    }

    /// <summary>A folder for sockets that is ours alone.</summary>
    public static void MakeSockets(DevLayout layout)
    {
        const UnixFileMode mine = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        Directory.CreateDirectory(layout.Sockets, mine);
        try { File.SetUnixFileMode(layout.Sockets, mine); }
        catch (UnauthorizedAccessException) { throw new Cli.CliException(Cli.ExitCode.Failed, $"{layout.Sockets} belongs to another user; remove it, or choose another folder with --data."); }
        if (new DirectoryInfo(layout.Sockets).LinkTarget is not null)
            throw new Cli.CliException(Cli.ExitCode.Failed, $"{layout.Sockets} is a link; remove it.");
    }

    /// <summary>Processes of a sandbox in this folder whose supervisor is gone: they are ending by themselves; what does not in time is ended.</summary>
    public static async Task<int> EndLeftoversAsync(DevLayout layout, Action<string> say, CancellationToken cancel)
    {
        var found = Leftovers(layout);
        if (found.Count == 0)
            return 0;
        say($"{found.Count} processes of an earlier start are still ending");
        var begun = Stopwatch.GetTimestamp();
        for (var left = found; left.Count > 0; left = Leftovers(layout))
        {
            if (Stopwatch.GetElapsedTime(begun) > TimeSpan.FromSeconds(3))
            {
                foreach (var process in left)
                    ProcessTable.Kill(process.Id);
            }
            if (Stopwatch.GetElapsedTime(begun) > LeftoversMax)
                throw new Cli.CliException(Cli.ExitCode.Failed, $"These processes of an earlier start do not end: {string.Join(", ", left.Select(p => $"{p.Id} ({p.Name})"))}.");
            await Task.Delay(TimeSpan.FromMilliseconds(50), cancel);
        }
        return found.Count;
    }

    public static IReadOnlyList<ProcessRow> Leftovers(DevLayout layout) =>
        ProcessTable.Belonging(layout.MarkOf(""), Folders(layout, [layout.FolderOf("server"), .. DevRegion.All.Select(layout.FolderOf)]));

    /// <summary>The folders and what links in them point to: where a folder's parents are closed to PostgreSQL's user, its data lies elsewhere.</summary>
    public static IReadOnlyCollection<string> Folders(DevLayout layout, IEnumerable<string> folders)
    {
        var found = new HashSet<string>();
        foreach (var folder in folders.Where(Directory.Exists))
        {
            found.Add(folder);
            var within = new DirectoryInfo(folder).EnumerateFileSystemInfos("*", new EnumerationOptions { RecurseSubdirectories = true, MaxRecursionDepth = 2, IgnoreInaccessible = true, AttributesToSkip = 0 });
            foreach (var entry in within.Where(e => e.LinkTarget is not null))
            {
                if (entry.ResolveLinkTarget(returnFinalTarget: true) is DirectoryInfo target && target.FullName.Length > 4 && !layout.Data.StartsWith(target.FullName + "/", StringComparison.Ordinal))
                    found.Add(target.FullName);
            }
        }
        return found;
    }

    /// <summary>An offset at which every port is free: the one asked for, or the first that fits; says by whom a port is taken.</summary>
    public static int FreeOffset(string data, int? asked)
    {
        var listening = ListeningPorts.Read();
        if (asked is { } offset)
        {
            var taken = Taken(new DevLayout(data, offset), listening).ToList();
            if (taken.Count == 0)
                return offset;
            var (what, by) = taken[0];
            throw new Cli.CliException(Cli.ExitCode.Failed,
                $"{what} is taken by {ListeningPorts.Owner(by)}{(taken.Count > 1 ? $", and {taken.Count - 1} more ports are taken" : "")}. End it, or use other ports: --port-offset auto (or a number).");
        }
        for (var step = 1; step <= 200; step++)
        {
            if (!Taken(new DevLayout(data, step * 100), listening).Any())
                return step * 100;
        }
        throw new Cli.CliException(Cli.ExitCode.Failed, "No offset up to 20000 has all ports free.");
    }

    private static IEnumerable<(string What, long By)> Taken(DevLayout layout, Dictionary<(uint, int), long> listening) =>
        from listen in layout.Listens()
        let holder = ListeningPorts.Holder(listening, IPAddress.Parse(listen.Host), listen.Port)
        where holder is not null
        select ($"{listen.Host}:{listen.Port} ({listen.For})", holder.Value);
}
