using System.Buffers.Binary;
using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent;

/// <summary>
/// Reads the page headers of WAL segments. A page that was written bears its own position; a recycled one still bears its former position,
/// a fresh one zeros. So the end of the WAL shows without its records, and so does WAL behind a place that cannot be read.
/// </summary>
internal static class WalEnd
{
    private const ushort FirstIsContinued = 1;

    /// <summary>Segments of a timeline, in order.</summary>
    public static IReadOnlyList<(long Segment, string Path)> Segments(string wal, WalLayout layout, int timeline)
    {
        var found = new List<(long Segment, string Path)>();
        foreach (var path in Directory.EnumerateFiles(wal))
        {
            if (layout.Segment(Path.GetFileName(path.AsSpan()), timeline) is { } segment)
                found.Add((segment, path));
        }
        found.Sort();
        return found;
    }

    /// <summary>False for a segment that was only recycled for later use.</summary>
    public static bool IsWritten(string path, WalLayout layout, long segment)
    {
        using var file = File.OpenRead(path);
        return Header(file, layout, segment, 0) is not null;
    }

    /// <summary>Position of the last page that was written; null: there is none.</summary>
    public static Lsn? LastPage(string wal, int timeline)
    {
        var layout = WalLayout.Of(wal);
        foreach (var (segment, path) in Segments(wal, layout, timeline).Reverse())
        {
            using var file = File.OpenRead(path);
            if (Header(file, layout, segment, 0) is null)
                continue;
            // Pages are written in order: halve until the last one is found.
            var (low, high) = (0, layout.PagesPerSegment);
            while (high - low > 1)
            {
                var middle = (low + high) / 2;
                (low, high) = Header(file, layout, segment, middle) is null ? (low, middle) : (middle, high);
            }
            return layout.At(segment, low);
        }
        return null;
    }

    /// <summary>
    /// A page that was written past the end of the readable records, though it is no part of the one record that a kill cut short; null when
    /// the end is a natural one.
    /// </summary>
    public static Lsn? Beyond(string wal, int timeline, Lsn end)
    {
        var layout = WalLayout.Of(wal);
        var first = ((long)end.Bytes + WalLayout.PageBytes - 1) / WalLayout.PageBytes;
        var cutShort = true; // while pages only continue the record that begins at the end
        foreach (var (segment, path) in Segments(wal, layout, timeline))
        {
            if (segment < first / layout.PagesPerSegment)
                continue;
            using var file = File.OpenRead(path);
            for (var page = segment == first / layout.PagesPerSegment ? (int)(first % layout.PagesPerSegment) : 0; page < layout.PagesPerSegment; page++)
            {
                if (Header(file, layout, segment, page) is not { } header)
                {
                    if (page == 0)
                        break; // recycled, or not begun
                    continue;
                }
                if (!cutShort || !header.Continued)
                    return layout.At(segment, page);
                cutShort = header.Left > WalLayout.PageBytes - (page == 0 ? WalLayout.SegmentHeader : WalLayout.PageHeader);
            }
        }
        return null;
    }

    /// <summary>Null: the page was not written as this position's.</summary>
    private static (bool Continued, long Left)? Header(FileStream file, WalLayout layout, long segment, int page)
    {
        Span<byte> header = stackalloc byte[20];
        if (RandomAccess.Read(file.SafeFileHandle, header, (long)page * WalLayout.PageBytes) < header.Length
            || BinaryPrimitives.ReadUInt16LittleEndian(header) == 0
            || BinaryPrimitives.ReadUInt64LittleEndian(header[8..]) != layout.At(segment, page).Bytes)
            return null;
        return ((BinaryPrimitives.ReadUInt16LittleEndian(header[2..]) & FirstIsContinued) != 0, BinaryPrimitives.ReadUInt32LittleEndian(header[16..]));
    }
}
