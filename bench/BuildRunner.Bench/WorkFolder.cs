namespace BuildRunner.Bench;

/// <summary>Folders of this benchmark, on the disk, named by its process; those of one that was killed go at the next start.</summary>
internal static class WorkFolder
{
    private const string Parent = "/var/tmp";
    private const string Prefix = "br-bench-";

    public static string Make(string name)
    {
        foreach (var left in Directory.EnumerateDirectories(Parent, $"{Prefix}*").Where(folder => !Directory.Exists($"/proc/{Path.GetFileName(folder)[Prefix.Length..].Split('-')[0]}")))
            Delete(left);
        return Directory.CreateDirectory(Path.Combine(Parent, $"{Prefix}{Environment.ProcessId}-{name}")).FullName;
    }

    /// <summary>With the folders that links in it point to: that is where a sandbox puts data for PostgreSQL's user.</summary>
    public static void Delete(string folder)
    {
        var within = new EnumerationOptions { RecurseSubdirectories = true, MaxRecursionDepth = 4, AttributesToSkip = 0 };
        var linked = new DirectoryInfo(folder).EnumerateFileSystemInfos("*", within)
            .Where(entry => entry.LinkTarget is not null).Select(entry => entry.ResolveLinkTarget(returnFinalTarget: true))
            .OfType<DirectoryInfo>().Where(target => target.Exists && target.Parent?.FullName == Parent).ToList();
        foreach (var target in linked)
            target.Delete(recursive: true);
        Directory.Delete(folder, recursive: true);
    }
}
