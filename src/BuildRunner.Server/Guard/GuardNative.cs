using System.Runtime.InteropServices;

namespace BuildRunner.Server.Guard;

/// <summary>The calls of the C library that the guard needs.</summary>
internal static partial class GuardNative
{
    public const int SigInt = 2;
    public const int SigQuit = 3;
    public const int SigKill = 9;
    public const int NotPermitted = 1;
    public const int AccessDenied = 13;

    private const int WriteOnlyCreateAppend = 0x1 | 0x40 | 0x400;
    private const int ReadOnlyDirectory = 0x10000;
    private const int ClockBootTime = 7;

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    public static partial int Kill(int pid, int signal);

    /// <summary>What a link points to, cut off at the buffer's length; negative: no such link, or not ours to read.</summary>
    [LibraryImport("libc", EntryPoint = "readlink", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint ReadLink(string path, Span<byte> buffer, nint length);

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(int folder, string path, int flags, uint mask, Span<byte> buffer);

    /// <summary>The user that a file or a process (its folder in /proc) belongs to; null: it is not there.</summary>
    public static uint? OwnerOf(string path)
    {
        const uint uid = 0x8; // STATX_UID; the field's place is part of the kernel's interface
        Span<byte> buffer = stackalloc byte[256];
        return Statx(-100, path, 0, uid, buffer) == 0 ? BitConverter.ToUInt32(buffer[20..24]) : null;
    }

    /// <summary>The number of a file on its volume; null: it is not there.</summary>
    public static ulong? InodeOf(string path)
    {
        const uint ino = 0x100; // STATX_INO
        Span<byte> buffer = stackalloc byte[256];
        return Statx(-100, path, 0, ino, buffer) == 0 ? BitConverter.ToUInt64(buffer[32..40]) : null;
    }

    /// <summary>A System V segment of shared memory, and how many processes are attached to it; null: there is none of that number.</summary>
    public static (int Key, uint Owner, ulong Bytes, ulong Attached)? Segment(int id)
    {
        Span<byte> buffer = stackalloc byte[256]; // shmid_ds of a 64-bit Linux
        return SharedMemoryControl(id, 2, buffer) == 0
            ? (BitConverter.ToInt32(buffer), BitConverter.ToUInt32(buffer[4..]), BitConverter.ToUInt64(buffer[48..]), BitConverter.ToUInt64(buffer[88..]))
            : null;
    }

    /// <summary>Reads a segment's beginning, without writing to it.</summary>
    public static unsafe bool ReadSegment(int id, Span<byte> into)
    {
        const int readOnly = 0x1000;
        var at = AttachSegment(id, 0, readOnly);
        if (at == -1)
            return false;
        new ReadOnlySpan<byte>((void*)at, into.Length).CopyTo(into);
        _ = DetachSegment(at);
        return true;
    }

    public static void RemoveSegment(int id) => _ = SharedMemoryControl(id, 0, []);

    [LibraryImport("libc", EntryPoint = "shmctl")]
    private static partial int SharedMemoryControl(int id, int command, Span<byte> buffer);

    [LibraryImport("libc", EntryPoint = "shmat")]
    private static partial nint AttachSegment(int id, nint at, int flags);

    [LibraryImport("libc", EntryPoint = "shmdt")]
    private static partial int DetachSegment(nint at);

    [LibraryImport("libc", EntryPoint = "setsid", SetLastError = true)]
    public static partial int NewSession();

    [LibraryImport("libc", EntryPoint = "geteuid")]
    public static partial uint UserId();

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "dup2", SetLastError = true)]
    private static partial int Dup2(int from, int to);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    private static partial int Close(int file);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Fsync(int file);

    [LibraryImport("libc", EntryPoint = "ftruncate", SetLastError = true)]
    private static partial int Truncate(int file, long length);

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    private static partial int GetTime(int clock, out Timespec time);

    private struct Timespec
    {
        public long Seconds;
        public long Nanoseconds;
    }

    /// <summary>CLOCK_BOOTTIME: goes on while the machine is suspended, as a lease does.</summary>
    public static long BootMilliseconds()
    {
        _ = GetTime(ClockBootTime, out var time);
        return (time.Seconds * 1000) + (time.Nanoseconds / 1_000_000);
    }

    /// <summary>Standard output and error, ours and our children's, go to the end of a file; standard input to nothing.</summary>
    public static void RedirectStandardStreams(string log)
    {
        var file = Open(log, WriteOnlyCreateAppend, 0x180); // 0600
        var nothing = Open("/dev/null", 0, 0);
        if (nothing >= 0)
            _ = Dup2(nothing, 0);
        if (file < 0)
            return;
        _ = Dup2(file, 1);
        _ = Dup2(file, 2);
        if (file > 2)
            _ = Close(file);
    }

    public static void EmptyStandardError() => _ = Truncate(2, 0);

    /// <summary>Writes a file whole and through to the disk, its name included: after this returns, a loss of power keeps it.</summary>
    public static void WriteDurably(string path, ReadOnlySpan<byte> content)
    {
        var next = $"{path}.next";
        using (var file = new FileStream(next, FileMode.Create, FileAccess.Write))
        {
            file.Write(content);
            file.Flush(flushToDisk: true);
        }
        File.Move(next, path, overwrite: true);
        var folder = Open(Path.GetDirectoryName(path)!, ReadOnlyDirectory, 0);
        var kept = folder >= 0 && Fsync(folder) == 0;
        if (folder >= 0)
            _ = Close(folder);
        if (!kept)
            throw new IOException($"The folder of {path} cannot be written through to the disk.");
    }

    /// <summary>The path without links, as the kernel shows a process's working directory. Never found by going there: whoever stands there is ended with PostgreSQL.</summary>
    public static string RealPath(string path)
    {
        var resolved = RealPathOf(path, 0);
        if (resolved == 0)
            return Path.GetFullPath(path);
        try { return Marshal.PtrToStringUTF8(resolved)!; }
        finally { Free(resolved); }
    }

    [LibraryImport("libc", EntryPoint = "realpath", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint RealPathOf(string path, nint buffer);

    [LibraryImport("libc", EntryPoint = "free")]
    private static partial void Free(nint memory);
}
