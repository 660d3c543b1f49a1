using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Agent;

/// <summary>
/// Takes away what killed agents and guards left behind: permits in memory, and folders under /var/tmp whose data folder was deleted. Each
/// such folder bears a file `owner` with the path it belongs to; where a process works nothing is touched, and a database only where a sandbox
/// made it: a path that is not there may lie on a volume that is not mounted yet.
/// </summary>
internal sealed partial class Leftovers(AgentOptions options, TimeProvider time, ILogger<Leftovers> logger)
{
    public const string Owner = "owner";
    public const string Elsewhere = "/var/tmp";
    public const string ElsewherePrefix = "buildrunner-";
    public const string SandboxMark = "sandbox";
    private const string Gone = ".gone-";

    /// <summary>A folder this young may be one that another agent is just making.</summary>
    private static readonly TimeSpan YoungMax = TimeSpan.FromMinutes(1);

    /// <summary>Called at an agent's start, before it asks anything of its database.</summary>
    public void Sweep(string data, string? ownPermit)
    {
        if (ownPermit is not null && Directory.Exists(ownPermit) && !IsHeld(ownPermit))
        {
            // Whoever had the right to run this data is gone; the right is given anew or not at all.
            File.Delete(Path.Combine(ownPermit, "permit.conf"));
            if (!Works(data))
                Remove(ownPermit, "no guard holds it");
        }
        if (Directory.Exists(options.PermitRoot))
        {
            foreach (var system in Directory.GetDirectories(options.PermitRoot))
                Try(() => SweepSystem(system));
        }
        foreach (var place in Directory.GetDirectories(options.ElsewhereRoot, ElsewherePrefix + "*"))
            Try(() => SweepPlace(place));
    }

    private void SweepSystem(string system)
    {
        foreach (var folder in Directory.GetDirectories(system))
        {
            var owner = Path.Combine(folder, Owner);
            if (IsHalfRemoved(folder))
                Directory.Delete(folder, recursive: true);
            else if (File.Exists(owner) && File.ReadAllText(owner) is { Length: > 0 } data && !Directory.Exists(data) && !IsHeld(folder))
                Remove(folder, $"{data} is gone");
            else if (IsEmptyAndOld(folder))
                Directory.Delete(folder);
        }
        if (IsEmptyAndOld(system))
            Directory.Delete(system);
    }

    private void SweepPlace(string place)
    {
        if (IsHalfRemoved(place))
        {
            Directory.Delete(place, recursive: true);
            return;
        }
        var owner = Path.Combine(place, Owner);
        if (!File.Exists(owner) || File.ReadAllText(owner) is not { Length: > 0 } link)
            return;
        var led = new DirectoryInfo(link).LinkTarget;
        if (led == place || !IsOld(place) || Works(place) || IsKept(place))
            return;
        Remove(place, $"{link} is gone");
    }

    /// <summary>
    /// Removes a folder that nobody needs any more. It is renamed first: of several that remove it at once one does, and what a killed one leaves
    /// bears a name that says so.
    /// </summary>
    public void Discard(string folder, bool mustBeOld = false)
    {
        var gone = $"{folder}{Gone}{Guid.NewGuid():N}";
        try { Directory.Move(folder, gone); }
        catch (DirectoryNotFoundException) { return; } // another agent was quicker
        if (mustBeOld && !IsOld(gone))
        {
            Directory.Move(gone, folder); // its owner has made it anew since it was looked at
            return;
        }
        Try(() => Directory.Delete(gone, recursive: true));
    }

    /// <summary>A database that no sandbox made: only a person removes it.</summary>
    public static bool IsKept(string place) => File.Exists($"{place}/data/PG_VERSION") && !File.Exists($"{place}/{SandboxMark}");

    private void Remove(string folder, string why)
    {
        Discard(folder, mustBeOld: Path.GetFileName(folder).StartsWith(ElsewherePrefix, StringComparison.Ordinal));
        var above = Path.GetDirectoryName(folder)!;
        if (Path.GetDirectoryName(above) == Path.GetFullPath(options.PermitRoot) && !Directory.EnumerateFileSystemEntries(above).Any())
            Directory.Delete(above);
        LogRemoved(logger, folder, why);
    }

    private void Try(Action sweep)
    {
        try { sweep(); }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException) { LogKept(logger, error.Message); } // another user's, or just going
    }

    /// <summary>A guard lives as long as it holds its lock.</summary>
    private static bool IsHeld(string permitFolder)
    {
        var path = Path.Combine(permitFolder, "guard.lock");
        if (!File.Exists(path))
            return false;
        try
        {
            using var held = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
            return false;
        }
        catch (IOException) { return true; }
    }

    private bool IsHalfRemoved(string folder) => Path.GetFileName(folder).Contains(Gone, StringComparison.Ordinal) && IsOld(folder);

    private bool IsEmptyAndOld(string folder) => !Directory.EnumerateFileSystemEntries(folder).Any() && IsOld(folder);

    private bool IsOld(string folder) => time.GetUtcNow() - Directory.GetLastWriteTimeUtc(folder) > YoungMax;

    /// <summary>A process has its working directory there, as every one of PostgreSQL's has.</summary>
    public static bool Works(string folder)
    {
        foreach (var process in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(process.AsSpan()), NumberStyles.None, CultureInfo.InvariantCulture, out _))
                continue;
            try
            {
                if (new FileInfo($"{process}/cwd").LinkTarget is { } at && (at == folder || at.StartsWith(folder + '/', StringComparison.Ordinal)))
                    return true;
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException) { } // ended, or another user's
        }
        return false;
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "A leftover was removed: {Folder}; {Reason}.")]
    private static partial void LogRemoved(ILogger logger, string folder, string reason);

    [LoggerMessage(Level = LogLevel.Debug, Message = "A leftover was kept: {Reason}")]
    private static partial void LogKept(ILogger logger, string reason);
}
