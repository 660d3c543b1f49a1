using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Agent;

/// <summary>Which volume a folder lies on.</summary>
internal static class Volumes
{
    /// <summary>The mount point nearest above the folder, as the kernel lists them; links are followed.</summary>
    public static string MountOf(string folder) => MountOf(Real(folder), File.ReadLines("/proc/self/mountinfo"));

    /// <summary>Kind of the file system that is mounted there, as the kernel names it; empty: none is.</summary>
    public static string TypeOf(string mount) => File.ReadLines("/proc/self/mountinfo").LastOrDefault(line => Point(line) == mount) is { } line && line.Split(" - ") is [_, var rest] ? rest.Split(' ')[0] : "";

    /// <summary>Processes that have a file open on a volume, or stand in it, as far as this user may see.</summary>
    public static IEnumerable<ProcessRow> Users(string mount) => HostProcesses.All().Where(process =>
    {
        try
        {
            return Directory.EnumerateFiles($"/proc/{process.Id}/fd").Append($"/proc/{process.Id}/cwd")
                .Select(link => File.ResolveLinkTarget(link, returnFinalTarget: false)?.FullName).Any(at => at is not null && (at == mount || at.StartsWith(mount + "/", StringComparison.Ordinal)));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException) { return false; } // it ended, or is another user's
    });

    internal static string MountOf(string folder, IEnumerable<string> mountInfo)
    {
        var nearest = "/";
        foreach (var line in mountInfo)
        {
            var mount = Point(line);
            if (mount.Length > nearest.Length && (folder == mount || folder.StartsWith(mount + "/", StringComparison.Ordinal)))
                nearest = mount;
        }
        return nearest;
    }

    private static string Point(string line) => line.Split(' ') is [_, _, _, _, var point, ..] ? point.Replace("\\040", " ", StringComparison.Ordinal) : "/";

    private static string Real(string folder)
    {
        var path = Path.GetFullPath(folder);
        for (var at = path; at.Length > 1; at = Path.GetDirectoryName(at)!)
        {
            if (Directory.ResolveLinkTarget(at, returnFinalTarget: true) is { } target)
                return Real(target.FullName + path[at.Length..]);
        }
        return path;
    }
}
