using System.Runtime.InteropServices;
using System.Text;

namespace BuildRunner.Server.Hosting.Priority;

/// <summary>
/// Who goes first on a host whose processors are all taken: whoever ends a primary must not queue behind its load, and what was killed must not be
/// taken apart before the successor has begun. Needs root or CAP_SYS_NICE; without it everything takes its turn, only later.
/// Linux shares out processors by session (sched(7), autogroup) where no control group does, so both a process's own weight and its session's count.
/// </summary>
internal static partial class Turns
{
    private const int Preceding = -15;
    private const int Trailing = 19;
    private const int ByTurns = 2; // SCHED_RR
    private const int ResetOnFork = 0x40000000;
    private const int Raised = -10;
    private const int WriteOnly = 1;
    private static volatile bool _may;

    /// <summary>
    /// The calling thread goes before everything that is no real-time work, as a watchdog does; the kernel keeps 5 % for others however it behaves.
    /// What it starts does not inherit that; where real time is not allowed, it gets a higher weight, which is inherited.
    /// </summary>
    public static void RealTime()
    {
        var priority = 1;
        _may |= SetScheduler(0, ByTurns | ResetOnFork, ref priority) == 0 || SetPriority(0, 0, Raised) == 0;
    }

    /// <summary>A process of one thread: others wait for it. Its session too, when it leads one.</summary>
    public static void First(int process) => Set(process, Preceding);

    /// <summary>
    /// A process of one thread: it waits for others. Its session too, when it leads one. Only for who has been allowed <see cref="RealTime"/>: anybody
    /// may lower his own processes, and only some may take that back.
    /// </summary>
    public static void Last(int process)
    {
        if (_may)
            Set(process, Trailing);
    }

    /// <summary>As it was.</summary>
    public static void Even(int process) => Set(process, 0);

    private static void Set(int process, int nice)
    {
        _ = SetPriority(0, (uint)process, nice);
        if (SessionOf(process) == process)
            WriteGroup(process, nice);
    }

    private static void WriteGroup(int process, int nice)
    {
        var file = Open(string.Create(CultureInfo.InvariantCulture, $"/proc/{process}/autogroup"), WriteOnly, 0);
        if (file < 0)
            return; // gone, or a kernel without it
        var text = Encoding.ASCII.GetBytes(nice.ToString(CultureInfo.InvariantCulture));
        _ = Write(file, text, text.Length);
        _ = Close(file);
    }

    [LibraryImport("libc", EntryPoint = "sched_setscheduler")]
    private static partial int SetScheduler(int thread, int policy, ref int priority);

    [LibraryImport("libc", EntryPoint = "setpriority")]
    private static partial int SetPriority(int which, uint who, int nice);

    [LibraryImport("libc", EntryPoint = "getsid")]
    private static partial int SessionOf(int process);

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "write")]
    private static partial nint Write(int file, ReadOnlySpan<byte> bytes, nint length);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int file);
}
