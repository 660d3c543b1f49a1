using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent;

/// <summary>How a cluster's WAL lies in files. The size of a segment is fixed when the cluster is made (`initdb --wal-segsize`): 1 MB to 1 GB, a power of two.</summary>
internal readonly record struct WalLayout(long SegmentBytes)
{
    public const int PageBytes = 8192;
    public const int PageHeader = 24;
    public const int SegmentHeader = 40;
    private const long LeastBytes = 1 << 20;
    private const long MostBytes = 1 << 30;

    /// <summary>PostgreSQL's own default.</summary>
    public static WalLayout Default { get; } = new(16 << 20);

    public int PagesPerSegment => (int)(SegmentBytes / PageBytes);

    /// <summary>That of a `pg_wal` folder: every segment file in it is as long as a segment. The default where it holds none.</summary>
    public static WalLayout Of(string wal)
    {
        if (!Directory.Exists(wal))
            return Default;
        foreach (var path in Directory.EnumerateFiles(wal))
        {
            if (Path.GetFileName(path.AsSpan()) is { Length: 24 } name && int.TryParse(name[..8], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out _) && new FileInfo(path) is { Exists: true, Length: >= LeastBytes and <= MostBytes } file && long.IsPow2(file.Length))
                return new(file.Length);
        }
        return Default;
    }

    /// <summary>The segment that a position lies in.</summary>
    public long Segment(Lsn at) => (long)at.Bytes / SegmentBytes;

    public bool IsSegmentStart(Lsn at) => (long)at.Bytes % SegmentBytes == 0;

    public Lsn At(long segment, int page = 0) => new((ulong)((segment * SegmentBytes) + ((long)page * PageBytes)));

    /// <summary>A segment's last byte, plus one.</summary>
    public Lsn SegmentEnd(Lsn at) => At(Segment(new(at.Bytes + (ulong)SegmentBytes - 1)));

    public string FileName(int timeline, long segment) => string.Create(CultureInfo.InvariantCulture, $"{timeline:X8}{segment / PerFileId:X8}{segment % PerFileId:X8}");

    /// <summary>The segment that a file of a timeline holds; null: it is no such file.</summary>
    public long? Segment(ReadOnlySpan<char> name, int timeline) =>
        name.Length == 24
        && int.TryParse(name[..8], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var line) && line == timeline
            ? Numbered(name[8..]) : null;

    /// <summary>By the sixteen digits that follow the timeline's in a file's name; null: they are none.</summary>
    public long? Numbered(ReadOnlySpan<char> digits) =>
        digits.Length == 16
        && long.TryParse(digits[..8], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var high)
        && long.TryParse(digits[8..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var low)
            ? (high * PerFileId) + low : null;

    /// <summary>Segments in 4 GB: a file's name counts them in its last eight digits.</summary>
    private long PerFileId => (1L << 32) / SegmentBytes;
}
