using System.Text.Json;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Agent;

/// <summary>Copies and counts the WAL that lies past a fork, before anything is done to the data that holds it.</summary>
internal sealed class SalvageKeeper(PostgresHome home, PostgresTools tools)
{
    private const int SaidMax = 300;

    /// <summary>WAL before the fork's own segment that is read for the time of the last kept commit.</summary>
    private const long BytesBack = 64 << 20;

    /// <summary>
    /// Reads the WAL past the fork. Nothing past it is a reading too, with zero commits; WAL that cannot be read to its end gives a reading
    /// that says why, and no count. A salvage made before is answered as it stands.
    /// </summary>
    public async Task<SalvageReading> SalvageAsync(long epoch, Lsn? fork, CancellationToken cancel)
    {
        var folder = Path.Combine(home.Salvage, epoch.ToString(CultureInfo.InvariantCulture));
        var file = Path.Combine(folder, "salvage.json");
        if (File.Exists(file) && JsonSerializer.Deserialize(await File.ReadAllBytesAsync(file, cancel), AgentJson.Default.SalvageReading) is { } before && (before.Fork == fork || fork is null))
            return before;

        var timeline = home.Timeline();
        var salvage = new SalvageReading { Epoch = epoch, Fork = fork, Folder = folder };
        if (fork is not { } from)
        {
            salvage = salvage with { Unreadable = $"where the new primary left timeline {timeline} is not known" };
        }
        else
        {
            var (lost, end, problem, said) = await ReadAsync(timeline, from, cancel);
            salvage = problem is not null
                ? salvage with { Unreadable = problem }
                : salvage with
                {
                    End = end,
                    Commits = lost.Commits,
                    Said = lost.Records == 0 ? said : null,
                    LastKept = lost.Commits > 0 ? await LastCommitBeforeAsync(timeline, from, cancel) : null,
                    LastLost = lost.LastCommit,
                    Transactions = lost.Transactions,
                };
        }

        Directory.CreateDirectory(folder);
        if (salvage.Bytes is not 0)
        {
            foreach (var path in Segments(timeline, fork ?? default))
                CopyDurably(path, Path.Combine(folder, Path.GetFileName(path)));
            foreach (var history in Directory.EnumerateFiles(Path.Combine(home.Data, "pg_wal"), "*.history"))
                CopyDurably(history, Path.Combine(folder, Path.GetFileName(history)));
        }
        AtomicFile.Write(file, JsonSerializer.SerializeToUtf8Bytes(salvage, AgentJson.Default.SalvageReading));
        return salvage;
    }

    /// <summary>Position after the last record at or past a position; null when there is none.</summary>
    public async Task<Lsn?> EndAsync(Lsn from, CancellationToken cancel) => (await PastAsync(home.Timeline(), from, cancel)).Dump.End;

    /// <summary>Where the WAL here ends: the last record of the last page that was written; null: not to be told.</summary>
    public async Task<Lsn?> LastAsync(CancellationToken cancel)
    {
        var timeline = home.Timeline();
        if (WalEnd.LastPage(Path.Combine(home.Data, "pg_wal"), timeline) is not { } page)
            return null;
        // A record may have begun on the page before.
        var from = home.Wal.IsSegmentStart(page) ? page : new Lsn(page.Bytes - WalLayout.PageBytes);
        return (await DumpAsync(timeline, from, null, cancel)).Dump.End;
    }

    /// <summary>From the fork to the natural end, or why that cannot be done.</summary>
    private async Task<(WalDump Dump, Lsn End, string? Problem, string? Said)> ReadAsync(int timeline, Lsn fork, CancellationToken cancel)
    {
        var wal = Path.Combine(home.Data, "pg_wal");
        if (!Directory.Exists(wal))
            return (new(home.Wal), fork, "there is no WAL here any more", null);
        // At a segment's first byte the segment itself is there only when something was written past the fork.
        var segment = home.Wal.Segment(fork);
        if (!File.Exists(SegmentFile(timeline, segment)) && !(home.Wal.IsSegmentStart(fork) && segment > 0 && File.Exists(SegmentFile(timeline, segment - 1))))
            return (new(home.Wal), fork, $"the WAL segment {Path.GetFileName(SegmentFile(timeline, segment))} is missing", null);

        var (dump, result) = await PastAsync(timeline, fork, cancel);
        var end = dump.End ?? fork;
        if (result.Code > 1 || (result.Code == 1 && !result.Talk.Contains("pg_waldump: ", StringComparison.Ordinal)))
            return (dump, end, $"pg_waldump did not run: {result.Talk}", null);
        if (home.Checkpoint() is { } known && known.Timeline == timeline && known.At > end)
            return (dump, end, $"the WAL that is left ends at {end}, before the last checkpoint at {known.At}: some of it is missing", null);
        return WalEnd.Beyond(wal, timeline, end) is { } page
            ? (dump, end, $"the WAL is damaged or has a gap at {end}: there is more behind it, at {page}", null)
            : (dump, end, null, result.Talk[..Math.Min(result.Talk.Length, SaidMax)]);
    }

    private async Task<DateTimeOffset?> LastCommitBeforeAsync(int timeline, Lsn fork, CancellationToken cancel)
    {
        var layout = home.Wal;
        var segment = layout.Segment(fork);
        for (var back = 0; back <= BytesBack / layout.SegmentBytes && segment - back > 0; back++)
        {
            if (back > 0 && !File.Exists(SegmentFile(timeline, segment - back)))
                return null;
            if ((await DumpAsync(timeline, layout.At(segment - back), fork, cancel)).Dump.LastCommit is { } time)
                return time;
        }
        return null;
    }

    /// <summary>
    /// What lies at and past a position. That there is nothing is believed only when the records before it were read up to there: asked from the position
    /// itself, pg_waldump was seen to find no valid record where PostgreSQL replayed some.
    /// </summary>
    private async Task<(WalDump Dump, ToolResult Result)> PastAsync(int timeline, Lsn from, CancellationToken cancel)
    {
        var (dump, result) = await DumpAsync(timeline, from, null, cancel);
        if (dump.Records > 0 || result.Code > 1)
            return (dump, result);
        var layout = home.Wal;
        var page = (long)from.Bytes / WalLayout.PageBytes * WalLayout.PageBytes;
        var before = Math.Max(page - WalLayout.PageBytes, page / layout.SegmentBytes * layout.SegmentBytes);
        return await DumpAsync(timeline, new((ulong)before), null, cancel, from);
    }

    private async Task<(WalDump Dump, ToolResult Result)> DumpAsync(int timeline, Lsn from, Lsn? to, CancellationToken cancel, Lsn keepFrom = default)
    {
        var dump = new WalDump(home.Wal, keepFrom);
        string[] range = to is { } end ? ["-s", from.ToString(), "-e", end.ToString()] : ["-s", from.ToString()];
        // It ends with an error where the WAL ends: that is what is being looked for.
        var result = await tools.RunAsync("pg_waldump", ["-p", Path.Combine(home.Data, "pg_wal"), "-t", timeline.ToString(CultureInfo.InvariantCulture), .. range], home.Folder, cancel, dump.Add);
        return (dump, result);
    }

    private IEnumerable<string> Segments(int timeline, Lsn from)
    {
        var wal = Path.Combine(home.Data, "pg_wal");
        var layout = home.Wal;
        return Directory.Exists(wal) ? WalEnd.Segments(wal, layout, timeline).Where(s => s.Segment >= layout.Segment(from) && WalEnd.IsWritten(s.Path, layout, s.Segment)).Select(s => s.Path) : [];
    }

    private string SegmentFile(int timeline, long segment) => Path.Combine(home.Data, "pg_wal", home.Wal.FileName(timeline, segment));

    private static void CopyDurably(string from, string to)
    {
        File.Copy(from, to, overwrite: true);
        using var copy = new FileStream(to, FileMode.Open, FileAccess.ReadWrite);
        copy.Flush(flushToDisk: true);
    }
}
