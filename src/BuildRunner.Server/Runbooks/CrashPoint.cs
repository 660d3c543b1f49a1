using System.Diagnostics;

namespace BuildRunner.Server.Runbooks;

/// <summary>
/// The named crash point of the journal: with BR_CRASH_AFTER_JOURNAL=n the process ends itself by SIGKILL right after the n-th write it has
/// written since its start. Nothing is flushed or told: what the next server finds is what a real crash leaves.
/// </summary>
internal class CrashPoint
{
    public const string Variable = "BR_CRASH_AFTER_JOURNAL";

    private readonly long? _after;
    private long _lines;

    public CrashPoint(long? after) => _after = after;

    public static CrashPoint FromEnvironment() =>
        new(long.TryParse(Environment.GetEnvironmentVariable(Variable), NumberStyles.None, CultureInfo.InvariantCulture, out var after) ? after : null);

    public void Written()
    {
        if (Interlocked.Increment(ref _lines) == _after)
            Crash();
    }

    protected virtual void Crash()
    {
        using var self = Process.GetCurrentProcess();
        self.Kill();
        Thread.Sleep(Timeout.Infinite); // the signal is on its way: nothing may follow the line
    }
}
