using System.Buffers.Binary;
using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent;

/// <summary>
/// Reads the page headers of WAL segments. A page that was written bears its own position; a recycled one still bears its former position,
/// a fresh one zeros. So the end of the WAL shows without its records, and so does WAL behind a place that cannot be read.
/// </summary>
internal static class WalEnd
{
    public const long SegmentBytes = 16 * 1024 * 1024;
    public const int PageBytes = 8192;
    private const int PageHeader = 24;
    private const int SegmentHeader = 40;
    private const int PagesPerSegment = (int)(SegmentBytes / PageBytes);
    private const ushort FirstIsContinued = 1;

    public static string FileName(int timeline, long segment) => string.Create(CultureInfo.InvariantCulture, $"{timeline:X8}{segment / 256:X8}{segment % 256:X8}");

    /// <summary>Segments of a timeline, in order.</summary>
    public static IReadOnlyList<(long Segment, string Path)> Segments(string wal, int timeline)
    {
        var found = new List<(long Segment, string Path)>();
        foreach (var path in Directory.EnumerateFiles(wal))
        {
            var name = Path.GetFileName(path.AsSpan());
            if (name.Length == 24
                && int.TryParse(name[..8], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var line) && line == timeline
                && long.TryParse(name[8..16], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var high)
                && long.TryParse(name[16..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var low))
                found.Add(((high * 256) + low, path));
        }
        found.Sort();
        return found;
    }

    /// <summary>False for a segment that was only recycled for later use.</summary>
    public static bool IsWritten(string path, long segment)
    {
        using var file = File.OpenRead(path);
        return Header(file, segment, 0) is not null;
    }

    /// <summary>Position of the last page that was written; null: there is none.</summary>
    public static Lsn? LastPage(string wal, int timeline)
    {
        foreach (var (segment, path) in Segments(wal, timeline).Reverse())
        {
            using var file = File.OpenRead(path);
            if (Header(file, segment, 0) is null)
                continue;
            // Pages are written in order: halve until the last one is found.
            var (low, high) = (0, PagesPerSegment);
            while (high - low > 1)
            {
                var middle = (low + high) / 2;
                (low, high) = Header(file, segment, middle) is null ? (low, middle) : (middle, high);
            }
            return At(segment, low);
        }
        return null;
    }

    /// <summary>
    /// A page that was written past the end of the readable records, though it is no part of the one record that a kill cut short; null when
    /// the end is a natural one.
    /// </summary>
    public static Lsn? Beyond(string wal, int timeline, Lsn end)
    {
        var first = ((long)end.Bytes + PageBytes - 1) / PageBytes;
        var cutShort = true; // while pages only continue the record that begins at the end
        foreach (var (segment, path) in Segments(wal, timeline))
        {
            if (segment < first / PagesPerSegment)
                continue;
            using var file = File.OpenRead(path);
            for (var page = segment == first / PagesPerSegment ? (int)(first % PagesPerSegment) : 0; page < PagesPerSegment; page++)
            {
                if (Header(file, segment, page) is not { } header)
                {
                    if (page == 0)
                        break; // recycled, or not begun
                    continue;
                }
                if (!cutShort || !header.Continued)
                    return At(segment, page);
                cutShort = header.Left > PageBytes - (page == 0 ? SegmentHeader : PageHeader);
            }
        }
        return null;
    }

    private static Lsn At(long segment, int page) => new((ulong)((segment * SegmentBytes) + ((long)page * PageBytes)));

    /// <summary>Null: the page was not written as this position's.</summary>
    private static (bool Continued, long Left)? Header(FileStream file, long segment, int page)
    {
        Span<byte> header = stackalloc byte[20];
        if (RandomAccess.Read(file.SafeFileHandle, header, (long)page * PageBytes) < header.Length
            || BinaryPrimitives.ReadUInt16LittleEndian(header) == 0
            || BinaryPrimitives.ReadUInt64LittleEndian(header[8..]) != At(segment, page).Bytes)
            return null;
        return ((BinaryPrimitives.ReadUInt16LittleEndian(header[2..]) & FirstIsContinued) != 0, BinaryPrimitives.ReadUInt32LittleEndian(header[16..]));
    }
}
