using System.Diagnostics;
using System.Text.Json;
using System.Text.RegularExpressions;
using BuildRunner.Core.Databases;
using BuildRunner.Dev;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>The WAL that a region salvaged, read anew and from its files alone: what a report says of it must be the same.</summary>
internal static partial class SalvagedWal
{
    /// <summary>Every `salvage.json` on a region's disk, with its folder.</summary>
    public static IEnumerable<(string Folder, JsonElement Said)> Found(Sandbox sandbox, DevRegion region) =>
        All(sandbox, region).DistinctBy(s => s.Said.GetProperty("folder").GetString()); // a region's folder may also be reached by a link

    private static IEnumerable<(string Folder, JsonElement Said)> All(Sandbox sandbox, DevRegion region)
    {
        foreach (var folder in DevLock.Folders(sandbox.Layout, [sandbox.Layout.FolderOf(region)]))
        {
            foreach (var file in Directory.EnumerateFiles(folder, "salvage.json", new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true }))
                yield return (Path.GetDirectoryName(file)!, JsonDocument.Parse(File.ReadAllText(file)).RootElement);
        }
    }

    /// <summary>Ids of the transactions that were committed past the fork, by pg_waldump from the first salvaged segment's beginning.</summary>
    public static async Task<IReadOnlySet<uint>> CommitsAsync(Sandbox sandbox, DevRegion region, long epoch, CancellationToken cancel)
    {
        var (folder, said) = Found(sandbox, region).Single(s => s.Said.GetProperty("epoch").GetInt64() == epoch);
        var fork = Lsn.Parse(said.GetProperty("fork").GetString()!);
        var commits = new HashSet<uint>();
        var segments = Directory.EnumerateFiles(folder).Select(f => Path.GetFileName(f)).Where(f => f.Length == 24).Order(StringComparer.Ordinal).ToList();
        if (segments.Count == 0)
            return commits;
        using var dump = Process.Start(new ProcessStartInfo(Path.Combine(PostgresServer.Binaries, "pg_waldump"), ["-p", folder, segments[0], segments[^1]]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var errors = dump.StandardError.ReadToEndAsync(cancel);
        while (await dump.StandardOutput.ReadLineAsync(cancel) is { } line)
        {
            if (Commit().Match(line) is { Success: true } commit && Lsn.Parse(commit.Groups["at"].Value) >= fork)
                commits.Add(uint.Parse(commit.Groups["id"].Value, CultureInfo.InvariantCulture));
        }
        await dump.WaitForExitAsync(cancel);
        Assert.True(dump.ExitCode == 0 || (await errors).Contains("error in WAL record", StringComparison.Ordinal), await errors); // how it says that the WAL ends
        return commits;
    }

    [GeneratedRegex(@"^rmgr: Transaction .*tx: +(?<id>\d+), lsn: (?<at>[0-9A-F]+/[0-9A-F]+), .*desc: COMMIT \d")]
    private static partial Regex Commit();
}
