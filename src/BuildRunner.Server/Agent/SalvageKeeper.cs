using System.Text.Json;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Agent;

/// <summary>Copies and counts the WAL that lies past a fork, before anything is done to the data that holds it.</summary>
internal sealed class SalvageKeeper(PostgresHome home, PostgresTools tools)
{
    private const long SegmentBytes = 16 * 1024 * 1024;

    /// <summary>Segments before the fork's own that are read for the time of the last kept commit.</summary>
    private const int SegmentsBack = 4;

    /// <summary>Reads the WAL past the fork; null when there is no record. A salvage made before is answered as it stands.</summary>
    public async Task<SalvageReading?> SalvageAsync(long epoch, Lsn fork, CancellationToken cancel)
    {
        var folder = Path.Combine(home.Salvage, epoch.ToString(CultureInfo.InvariantCulture));
        var file = Path.Combine(folder, "salvage.json");
        if (File.Exists(file))
            return JsonSerializer.Deserialize(await File.ReadAllBytesAsync(file, cancel), AgentJson.Default.SalvageReading);

        var timeline = home.Timeline();
        var lost = await DumpAsync(timeline, fork, null, cancel);
        if (lost.End is not { } end || end <= fork)
            return null;

        Directory.CreateDirectory(folder);
        foreach (var name in Segments(timeline, fork, end))
            CopyDurably(Path.Combine(home.Data, "pg_wal", name), Path.Combine(folder, name));
        foreach (var history in Directory.EnumerateFiles(Path.Combine(home.Data, "pg_wal"), "*.history"))
            CopyDurably(history, Path.Combine(folder, Path.GetFileName(history)));

        var salvage = new SalvageReading
        {
            Epoch = epoch,
            Fork = fork,
            End = end,
            Commits = lost.Commits,
            LastKept = await LastCommitBeforeAsync(timeline, fork, cancel),
            LastLost = lost.LastCommit,
            Transactions = lost.Transactions,
            Folder = folder,
        };
        AtomicFile.Write(file, JsonSerializer.SerializeToUtf8Bytes(salvage, AgentJson.Default.SalvageReading));
        return salvage;
    }

    /// <summary>Position after the last record at or past a position; null when there is none.</summary>
    public async Task<Lsn?> EndAsync(Lsn from, CancellationToken cancel) => (await DumpAsync(home.Timeline(), from, null, cancel)).End;

    private async Task<DateTimeOffset?> LastCommitBeforeAsync(int timeline, Lsn fork, CancellationToken cancel)
    {
        var segment = (long)fork.Bytes / SegmentBytes;
        for (var back = 0; back <= SegmentsBack && segment - back > 0; back++)
        {
            var start = (segment - back) * SegmentBytes;
            if (back > 0 && !File.Exists(SegmentFile(timeline, segment - back)))
                return null;
            if ((await DumpAsync(timeline, new((ulong)start), fork, cancel)).LastCommit is { } time)
                return time;
        }
        return null;
    }

    private async Task<WalDump> DumpAsync(int timeline, Lsn from, Lsn? to, CancellationToken cancel)
    {
        var dump = new WalDump();
        string[] range = to is { } end ? ["-s", from.ToString(), "-e", end.ToString()] : ["-s", from.ToString()];
        // It ends with an error where the WAL ends: that is what is being looked for.
        await tools.RunAsync("pg_waldump", ["-p", Path.Combine(home.Data, "pg_wal"), "-t", timeline.ToString(CultureInfo.InvariantCulture), .. range], home.Folder, cancel, dump.Add);
        return dump;
    }

    private IEnumerable<string> Segments(int timeline, Lsn from, Lsn to)
    {
        for (var segment = (long)from.Bytes / SegmentBytes; segment <= ((long)to.Bytes - 1) / SegmentBytes; segment++)
        {
            var path = SegmentFile(timeline, segment);
            if (File.Exists(path))
                yield return Path.GetFileName(path);
        }
    }

    private string SegmentFile(int timeline, long segment) =>
        Path.Combine(home.Data, "pg_wal", string.Create(CultureInfo.InvariantCulture, $"{timeline:X8}{segment / 256:X8}{segment % 256:X8}"));

    private static void CopyDurably(string from, string to)
    {
        File.Copy(from, to, overwrite: true);
        using var copy = new FileStream(to, FileMode.Open, FileAccess.ReadWrite);
        copy.Flush(flushToDisk: true);
    }
}
