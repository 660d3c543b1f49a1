using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent;

/// <summary>What pg_waldump's lines say about a stretch of WAL: where it ends and what it committed.</summary>
/// <param name="layout">The cluster's.</param>
/// <param name="from">Records before it are passed over.</param>
internal sealed class WalDump(WalLayout layout, Lsn from = default)
{
    public const int TransactionsMax = 10_000;
    private readonly List<uint> _transactions = [];

    /// <summary>Position after the last record; null: there was none.</summary>
    public Lsn? End { get; private set; }
    public long Records { get; private set; }
    public long Commits { get; private set; }
    public DateTimeOffset? LastCommit { get; private set; }
    public IReadOnlyList<uint> Transactions => _transactions;

    /// <summary>Takes a line such as `rmgr: Transaction len (rec/tot): 34/ 34, tx: 743, lsn: 0/0155A3F8, prev 0/0155A3C0, desc: COMMIT 2026-01-02 03:04:05.678 UTC`.</summary>
    public void Add(string line)
    {
        if (Between(line, "lsn: ", ",") is not { } at || !Lsn.TryParse(at, out var lsn) || lsn < from)
            return;
        Records++;
        if (Between(line, "len (rec/tot):", ",") is { } lengths && lengths.Split('/') is [_, var total] && long.TryParse(total.Trim(), CultureInfo.InvariantCulture, out var length))
            End = Advance(layout, lsn, length);
        // The rest of its segment is left empty.
        if (line.Contains("desc: SWITCH", StringComparison.Ordinal) && line.StartsWith("rmgr: XLOG", StringComparison.Ordinal) && End is { } end)
            End = layout.SegmentEnd(end);
        if (!line.StartsWith("rmgr: Transaction", StringComparison.Ordinal) || line.IndexOf("desc: COMMIT", StringComparison.Ordinal) is not (> 0 and var commit))
            return;
        Commits++;
        var description = line[(commit + "desc: ".Length)..];
        // A prepared transaction's own id stands in the description, the committer's in front.
        var id = description.StartsWith("COMMIT_PREPARED", StringComparison.Ordinal)
            ? Between(description, "COMMIT_PREPARED ", ":")
            : Between(line, "tx:", ",");
        if (_transactions.Count < TransactionsMax && uint.TryParse(id?.Trim(), CultureInfo.InvariantCulture, out var transaction))
            _transactions.Add(transaction);
        LastCommit = Time(description) ?? LastCommit;
    }

    /// <summary>Position after a record: it goes around page headers, and ends at a multiple of eight.</summary>
    internal static Lsn Advance(WalLayout layout, Lsn start, long length)
    {
        var at = (long)start.Bytes;
        while (length > 0)
        {
            if (at % WalLayout.PageBytes == 0)
                at += at % layout.SegmentBytes == 0 ? WalLayout.SegmentHeader : WalLayout.PageHeader;
            var part = Math.Min(length, WalLayout.PageBytes - (at % WalLayout.PageBytes));
            at += part;
            length -= part;
        }
        return new((ulong)((at + 7) & ~7L));
    }

    private static DateTimeOffset? Time(string description)
    {
        var zone = description.IndexOf(" UTC", StringComparison.Ordinal);
        if (zone < 0)
            return null;
        var start = description.LastIndexOf(' ', description.LastIndexOf(' ', zone - 1) - 1) + 1;
        return DateTimeOffset.TryParse(description.AsSpan(start, zone - start), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var time) ? time : null;
    }

    private static string? Between(string line, string before, string after)
    {
        var start = line.IndexOf(before, StringComparison.Ordinal);
        if (start < 0)
            return null;
        start += before.Length;
        var end = line.IndexOf(after, start, StringComparison.Ordinal);
        return end < 0 ? null : line[start..end];
    }
}
