using System.Diagnostics;
using System.Text.Json;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Hosting.Priority;

namespace BuildRunner.Server.Guard;

/// <summary>
/// Ends every process of the server and, when asked to fence, writes the fence before saying so. A fence kills at once: its proof is that no process
/// can run its own code again, not that the kernel has taken all of them apart, which takes ten times as long while writes wait.
/// </summary>
internal sealed class GuardStop(GuardOptions options)
{
    /// <summary>What an immediate stop may take before SIGKILL: a frozen postmaster ignores SIGQUIT while its sessions go on acknowledging.</summary>
    private static readonly TimeSpan ImmediateMax = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan KillMax = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan GoneMax = TimeSpan.FromSeconds(5);
    private const int FastLookMs = 20;
    private const int GoneLookMs = 10;

    /// <summary>So long the end of what was killed waits for others; then it takes its turn, because the next start waits for it.</summary>
    private static readonly TimeSpan DeferMax = TimeSpan.FromSeconds(1);
    private readonly Lock _gate = new();
    private readonly DataProcesses _processes = new(options.Data);
    private readonly HashSet<int> _killed = [];
    private bool _finished;
    private volatile bool _urgent;

    /// <summary>After PostgreSQL's end: what a stop has not done. Done once, because the permit of the next start may lie there soon after.</summary>
    public void Finish(Process postmaster)
    {
        lock (_gate)
        {
            if (!_finished)
                Stop(postmaster, new GuardRequest { Do = "stop" });
        }
    }

    /// <summary>Without an epoch PostgreSQL may first end in its own time, <see cref="GuardRequest.FastMs"/> at most; a fence and the deadline cut that short.</summary>
    public GuardAnswer Stop(Process? postmaster, GuardRequest request)
    {
        Turns.RealTime(); // whichever thread it is: others may wait for what it holds
        if (request.FastMs == 0 || request.Epoch is not null)
            _urgent = true;
        lock (_gate)
        {
            // What comes once all have ended would take the permit of the next start, and stop that.
            if (_finished && request.Epoch is null)
                return Answer(postmaster);
            var started = Stopwatch.GetTimestamp();
            if (Directory.Exists(options.PermitFolder))
                File.Delete(options.Permit);
            var ended = postmaster is null || postmaster.HasExited;
            // Who cannot look leaves it to PostgreSQL to end its processes: its first one waits for all others before it ends.
            var atOnce = request.Epoch is not null && (ended || DataProcesses.Sees(postmaster!.Id));
            var was = ended ? "was down" : atOnce ? "was killed" : "ended by the immediate stop";
            var down = ended;
            if (!ended && request.Epoch is null && request.FastMs > 0)
            {
                _ = GuardNative.Kill(postmaster!.Id, GuardNative.SigInt);
                for (var patience = request.FastMs; !ended && patience > 0 && !_urgent; patience -= FastLookMs)
                    ended = postmaster.WaitForExit(FastLookMs);
                was = ended ? "ended by the fast stop" : was;
            }
            if (!ended && !atOnce)
            {
                _ = GuardNative.Kill(postmaster!.Id, GuardNative.SigQuit);
                ended = postmaster.WaitForExit(ImmediateMax);
                if (!ended)
                    was = "did not end by the immediate stop";
            }

            var killed = new HashSet<int>();
            if (!ended)
                Kill(postmaster!.Id, killed); // first, so that it starts no more
            int left;
            try { left = Sweep(killed); }
            catch (UnauthorizedAccessException error) when (!ended || (down && request.Epoch is not null))
            {
                return Answer(postmaster) with { Ok = false, Error = error.Message, Killed = killed.Count };
            }
            catch (UnauthorizedAccessException)
            {
                (left, was) = (0, $"{was} and had waited for its sessions, which may not be looked at");
            }
            _killed.UnionWith(killed);
            var took = Stopwatch.GetElapsedTime(started).TotalMilliseconds;
            var evidence = string.Create(CultureInfo.InvariantCulture,
                $"the guard (process {Environment.ProcessId}) saw: postmaster {postmaster?.Id ?? 0} {was}, {killed.Count} processes killed, {left} left after {took:F0} ms");
            if (left > 0)
                return Answer(postmaster) with { Ok = false, Error = $"{left} processes of PostgreSQL are left in {options.Data}", Killed = killed.Count, Left = left };

            _finished = true;
            var (fence, effect) = request.Epoch is { } epoch ? WriteFence(epoch, request.Run, evidence) : (null, false);
            return Answer(postmaster) with { Killed = killed.Count, Left = left, Evidence = evidence, Fence = fence, Effect = effect };
        }
    }

    /// <summary>
    /// Waits until the kernel has taken apart what was killed: PostgreSQL does not start, and its files are no one's, while a process still holds its
    /// shared memory. False: some are left after five seconds, or it cannot be told.
    /// </summary>
    public bool AwaitGone()
    {
        try
        {
            if (!IsGoneInTime())
                return false;
            SharedMemory.Release(options.Data);
            return true;
        }
        catch (UnauthorizedAccessException) { return false; }
    }

    private bool IsGoneInTime()
    {
        var started = Stopwatch.GetTimestamp();
        int[] left;
        lock (_gate)
            left = [.. _killed];
        // The few that were killed are looked at, not the whole host: writes wait for what this host does next.
        for (var even = false; Array.Exists(left, pid => !DataProcesses.IsGone(pid)) || _processes.Running().Count > 0; Thread.Sleep(GoneLookMs))
        {
            var waited = Stopwatch.GetElapsedTime(started);
            if (waited > GoneMax)
                return _processes.Running().Count == 0; // a number may have been given out anew
            if (even)
                continue;
            if (waited < DeferMax)
            {
                Defer(left);
                continue;
            }
            even = true;
            foreach (var pid in left.Where(pid => !DataProcesses.IsGone(pid)))
                Turns.Even(pid);
        }
        return true;
    }

    /// <summary>
    /// What the kernel still does for the dead waits, not those who wait for the proof. Only for those that it is taking apart: one that has yet to leave
    /// a system call may hold what the fence's own write to the disk waits for.
    /// </summary>
    private static void Defer(IEnumerable<int> killed)
    {
        foreach (var pid in killed.Where(DataProcesses.IsExiting))
            Turns.Last(pid);
    }

    /// <summary>What a stop does but for its effects.</summary>
    /// <exception cref="UnauthorizedAccessException">The stop would see nobody.</exception>
    public GuardAnswer Rehearse(Process? postmaster)
    {
        var running = _processes.Running();
        running.RemoveAll(DataProcesses.IsDying);
        _ = ReadFence();
        return Answer(postmaster);
    }

    public GuardAnswer Answer(Process? postmaster) => new()
    {
        Ok = true,
        Guard = Environment.ProcessId,
        Postmaster = postmaster?.Id ?? 0,
        Running = postmaster is { HasExited: false },
        Data = options.Data,
    };

    /// <summary>SIGKILL until two looks in a row find nobody: a fork may hide from one.</summary>
    private int Sweep(HashSet<int> killed)
    {
        var started = Stopwatch.GetTimestamp();
        for (var empty = 0; ;)
        {
            var running = _processes.Running();
            Defer(running.Where(killed.Contains));
            running.RemoveAll(pid => killed.Contains(pid) && DataProcesses.IsDying(pid));
            if (running.Count == 0 && ++empty == 2)
                return 0;
            if (running.Count > 0)
            {
                empty = 0;
                if (Stopwatch.GetElapsedTime(started) > KillMax)
                    return running.Count;
                var again = true;
                foreach (var pid in running)
                {
                    again &= killed.Contains(pid);
                    Kill(pid, killed);
                }
                if (again)
                    Thread.Sleep(1); // this thread may go before all others
            }
        }
    }

    private static void Kill(int pid, HashSet<int> killed)
    {
        _ = GuardNative.Kill(pid, GuardNative.SigKill);
        killed.Add(pid);
    }

    private FenceFile? ReadFence() => File.Exists(options.FenceFile) ? JsonSerializer.Deserialize(File.ReadAllBytes(options.FenceFile), GuardJson.Default.FenceFile) : null;

    private (FenceFile Fence, bool Effect) WriteFence(long epoch, string? run, string evidence)
    {
        var before = ReadFence();
        if (before is not null && before.Epoch >= epoch)
            return (before, false);
        var fence = new FenceFile { Epoch = epoch, Run = run, Evidence = evidence, At = DateTimeOffset.UtcNow, Fences = (before?.Fences ?? 0) + 1 };
        GuardNative.WriteDurably(options.FenceFile, JsonSerializer.SerializeToUtf8Bytes(fence, GuardJson.Default.FenceFile));
        return (fence, true);
    }
}
