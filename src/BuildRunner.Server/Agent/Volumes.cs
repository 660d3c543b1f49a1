namespace BuildRunner.Server.Agent;

/// <summary>Which volume a folder lies on.</summary>
internal static class Volumes
{
    /// <summary>The mount point nearest above the folder, as the kernel lists them; links are followed.</summary>
    public static string MountOf(string folder) => MountOf(Real(folder), File.ReadLines("/proc/self/mountinfo"));

    internal static string MountOf(string folder, IEnumerable<string> mountInfo)
    {
        var nearest = "/";
        foreach (var line in mountInfo)
        {
            var mount = line.Split(' ') is [_, _, _, _, var point, ..] ? point.Replace("\\040", " ", StringComparison.Ordinal) : "/";
            if (mount.Length > nearest.Length && (folder == mount || folder.StartsWith(mount + "/", StringComparison.Ordinal)))
                nearest = mount;
        }
        return nearest;
    }

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
