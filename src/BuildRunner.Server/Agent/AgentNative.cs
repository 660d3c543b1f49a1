using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace BuildRunner.Server.Agent;

/// <summary>The calls of the C library that the agent needs.</summary>
internal static partial class AgentNative
{
    public const int SigTerm = 15;
    public const int SigKill = 9;
    private const long TmpfsMagic = 0x01021994;

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    public static partial int Kill(int pid, int signal);

    [LibraryImport("libc", EntryPoint = "geteuid")]
    public static partial uint UserId();

    [LibraryImport("libc", EntryPoint = "chown", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ChangeOwner(string path, uint user, uint group);

    [LibraryImport("libc", EntryPoint = "statfs", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static unsafe partial int StatFs(string path, byte* buffer);

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    private static partial int Allocate(SafeFileHandle file, int mode, long offset, long length);

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    private static unsafe partial int GetTime(int clock, long* time);

    /// <summary>CLOCK_BOOTTIME, as the guard counts it: goes on while the machine is suspended, as a lease does.</summary>
    public static unsafe long BootMilliseconds()
    {
        var time = stackalloc long[2];
        _ = GetTime(7, time);
        return (time[0] * 1000) + (time[1] / 1_000_000);
    }

    public static void Chown(string path, uint user, uint group)
    {
        if (ChangeOwner(path, user, group) != 0)
            throw new IOException($"The owner of {path} cannot be changed (error {Marshal.GetLastPInvokeError()}).");
    }

    /// <summary>Takes all room that the file's volume has left; answers how many bytes.</summary>
    public static long Fill(SafeFileHandle file)
    {
        const int noSpace = 28;
        long taken = 0;
        for (var piece = 1L << 30; piece >= 4096;)
        {
            if (Allocate(file, 0, taken, piece) == 0)
                taken += piece;
            else if (Marshal.GetLastPInvokeError() == noSpace)
                piece /= 2;
            else
                throw new IOException($"The volume cannot be filled (error {Marshal.GetLastPInvokeError()}).");
        }
        return taken;
    }

    /// <summary>Whether a folder lies in memory: a permit must not outlive the machine's run.</summary>
    public static unsafe bool IsTmpfs(string folder)
    {
        var buffer = stackalloc byte[512];
        return StatFs(folder, buffer) == 0 && *(long*)buffer == TmpfsMagic;
    }
}
