using System.Buffers.Binary;

namespace BuildRunner.Server.Guard;

/// <summary>
/// What a killed PostgreSQL leaves in the kernel: a System V segment, and files in /dev/shm that the segment leads to. Its next start in that folder
/// would take them away; a folder that is replaced by a copy has none, and a system keeps at most 4,096 segments. Layouts: PGShmemHeader
/// (pg_shmem.h), dsm_control_header (dsm.c), which PostgreSQL 15 to 18 share.
/// </summary>
internal static class SharedMemory
{
    private const string Folder = "/dev/shm";
    private const int HeaderBytes = 56;
    private const uint HeaderMagic = 679834894;
    private const uint ControlMagic = 0x9a503d32;
    private const int ControlBytes = 16;
    private const int ItemBytes = 40;

    /// <summary>
    /// To be called when no process of the server is left; takes away nothing that is not for certain this folder's. What is not understood stays: the
    /// next start deals with it as it always did.
    /// </summary>
    public static void Release(string data)
    {
        try
        {
            // Its seventh line is the segment's key and number; an orderly end takes the file away.
            var lines = File.ReadAllLines(Path.Combine(data, "postmaster.pid"));
            if (lines.Length < 7 || lines[6].Split(' ', StringSplitOptions.RemoveEmptyEntries) is not [var keyText, var idText]
                || !ulong.TryParse(keyText, NumberStyles.None, CultureInfo.InvariantCulture, out var key) || !int.TryParse(idText, NumberStyles.None, CultureInfo.InvariantCulture, out var id)
                || GuardNative.Segment(id) is not { Attached: 0 } segment || segment.Key != unchecked((int)key) || segment.Owner != GuardNative.OwnerOf(data) || segment.Bytes < HeaderBytes)
                return;
            Span<byte> header = stackalloc byte[HeaderBytes];
            if (!GuardNative.ReadSegment(id, header) || UInt32(header, 0) != HeaderMagic || BinaryPrimitives.ReadUInt64LittleEndian(header[48..]) != GuardNative.InodeOf(data))
                return;
            // The segment is the only way to the files: where they are not found (another kind of dynamic memory), it is left to the next start.
            if (Files(UInt32(header, 24), segment.Owner) is not { } files)
                return;
            foreach (var file in files.Where(file => GuardNative.OwnerOf(file) == segment.Owner))
                File.Delete(file);
            GuardNative.RemoveSegment(id);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException) { } // it stays
    }

    /// <summary>The dynamic segments that were in use, and last the one that lists them; null: that is not there or not understood.</summary>
    private static List<string>? Files(uint control, uint owner)
    {
        if (control == 0)
            return [];
        var list = FileOf(control);
        if (GuardNative.OwnerOf(list) != owner)
            return null;
        var bytes = File.ReadAllBytes(list);
        if (bytes.Length < ControlBytes || UInt32(bytes, 0) != ControlMagic)
            return null;
        var (files, items) = (new List<string>(), UInt32(bytes, 4));
        if (items > (bytes.Length - ControlBytes) / ItemBytes)
            return null;
        for (var at = ControlBytes; items > 0; at += ItemBytes, items--)
        {
            // An odd handle is a piece of the main memory, and a count of zero a place that is free.
            if (UInt32(bytes, at) is var handle && handle % 2 == 0 && UInt32(bytes, at + 4) > 0)
                files.Add(FileOf(handle));
        }
        files.Add(list);
        return files;
    }

    private static string FileOf(uint handle) => string.Create(CultureInfo.InvariantCulture, $"{Folder}/PostgreSQL.{handle}");

    private static uint UInt32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);
}
