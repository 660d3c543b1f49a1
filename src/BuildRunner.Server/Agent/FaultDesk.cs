using System.Diagnostics;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Agent;

/// <summary>
/// Breaks this host for a drill, and mends it. The fault is on the disk before it acts, so that an agent that starts again neither mends it
/// too early nor forgets it; it ends by itself at its limit, whatever became of the server. What is held (freeze, slow, partition, full disk) is kept up by a
/// process of its own, which mends it when the agent lifts it, ends, or the time is up.
/// </summary>
internal sealed partial class FaultDesk(AgentOptions options, AgentStateFile state, GuardClient guard, PostgresHome home, DatabaseKeeper keeper, TimeProvider time, ILogger<FaultDesk> logger) : IHostedService, IDisposable
{
    private const int OthersShown = 3;
    private static readonly TimeSpan HeldMax = TimeSpan.FromSeconds(6);
    private static readonly TimeSpan MendMax = TimeSpan.FromSeconds(7);
    private readonly Lock _gate = new();
    private Holding? _holding;

    /// <summary>A former agent's holder has mended its fault when that agent ended; a fault that it was killed over is mended here.</summary>
    public Task StartAsync(CancellationToken cancellationToken)
    {
        if (state.Current.Fault is not { } left || !left.Kind.IsHeld())
            return Task.CompletedTask;
        Thaw(left.Processes ?? []);
        state.Change(s => s with { Fault = null, LiftedFault = left.Run });
        LogMended(logger, left.Run);
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public async Task<FaultResult> InjectAsync(FaultOrder order, CancellationToken cancel)
    {
        if (state.Current.Fault is { } other && other.Run != order.Run && other.Until > time.GetUtcNow())
            throw new OrderRefusedException($"{options.Region} is broken by {other.Run} until {other.Until:HH:mm:ss} UTC already: one fault at a time.");
        if (state.Current.LiftedFault == order.Run)
            throw new OrderRefusedException($"{order.Run} has lifted its fault already: what comes late breaks nothing.");
        if (order.MaxSeconds < 1 || order.MaxSeconds > FaultKinds.DurationMax.TotalSeconds)
            throw new OrderRefusedException($"A fault of {order.MaxSeconds} s is refused: from 1 to {FaultKinds.DurationMax.TotalSeconds:0} s.");
        if (order.Kind.IsHeld())
            return await HoldAsync(order, cancel);
        if (await RunningAsync(cancel) is not { } before)
        {
            return state.Current.Fault?.Run == order.Run
                ? new FaultResult(false, $"it is down already ({FaultKinds.Word(order.Kind)})")
                : throw new InvalidOperationException($"PostgreSQL does not run in {options.Region}: there is nothing to break.");
        }
        Note(order);
        if (order.Kind == FaultKind.Kill)
        {
            // The kernel sends PostgreSQL its signal when the guard dies; the postmaster gets none to answer itself.
            _ = AgentNative.Kill(before.Postmaster, AgentNative.SigKill);
            _ = AgentNative.Kill(before.Guard, AgentNative.SigKill);
        }
        else
        {
            await guard.StopAsync(TimeSpan.Zero, cancel);
        }
        keeper.Look();
        return new FaultResult(true, order.Kind == FaultKind.Kill
            ? $"SIGKILL to guard {before.Guard} and postmaster {before.Postmaster}"
            : $"postmaster {before.Postmaster} stopped at once");
    }

    public async Task<FaultResult> LiftAsync(FaultOrder order, CancellationToken cancel)
    {
        Holding? holding;
        lock (_gate)
            holding = _holding?.Run == order.Run ? _holding : null;
        if (holding is not null)
            await EndAsync(holding, cancel);
        var effect = holding is not null;
        state.Change(s =>
        {
            effect |= s.Fault?.Run == order.Run;
            return s with { Fault = s.Fault?.Run == order.Run ? null : s.Fault, LiftedFault = order.Run };
        });
        if (effect)
            LogMended(logger, order.Run);
        keeper.Look();
        return new FaultResult(effect, effect ? "it is mended" : "nothing was broken by this run");
    }

    public void Dispose()
    {
        Holding? left;
        lock (_gate)
            (left, _holding) = (_holding, null);
        left?.Holder.StandardInput.Close(); // its end is the holder's word to mend
    }

    private async Task<GuardAnswer?> RunningAsync(CancellationToken cancel) =>
        options.DatabasePort > 0 && home.IsPrepared && await guard.StatusAsync(cancel) is { Running: true } running ? running : null;

    private async Task<FaultResult> HoldAsync(FaultOrder order, CancellationToken cancel)
    {
        lock (_gate)
        {
            if (_holding?.Run == order.Run)
                return new FaultResult(false, $"it is so already ({FaultKinds.Say(order.Kind, order.Part)})");
        }
        var hold = await PlanAsync(order, cancel);
        Note(order, hold.Processes);
        Holding holding;
        string? said;
        try
        {
            holding = Start(hold);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            limit.CancelAfter(HeldMax);
            said = await holding.Holder.StandardOutput.ReadLineAsync(limit.Token);
        }
        catch (Exception error) when (error is System.ComponentModel.Win32Exception or OperationCanceledException)
        {
            Dispose();
            state.Change(s => s with { Fault = null });
            throw new InvalidOperationException($"{options.Region} was not broken: its holder did not begin ({error.Message}).", error);
        }
        if (said?.StartsWith("held: ", StringComparison.Ordinal) != true)
        {
            state.Change(s => s with { Fault = null });
            throw new InvalidOperationException($"{options.Region} was not broken: {said ?? "its holder ended without a word"}");
        }
        return new FaultResult(true, said["held: ".Length..]);
    }

    /// <summary>What its holder is told; refuses what this host cannot do, or must not.</summary>
    private async Task<FaultHold> PlanAsync(FaultOrder order, CancellationToken cancel)
    {
        var hold = new FaultHold { Kind = order.Kind, Region = options.Region, Run = order.Run, Limit = TimeSpan.FromSeconds(order.MaxSeconds), Isolates = FaultKinds.Isolates(order.Kind, order.Part) };
        if (order.Kind == FaultKind.Partition)
            return FaultNetwork.WhyNot() is { } why ? throw new OrderRefusedException($"{options.Region} cannot be cut off: {why}.") : hold;
        if (order.Kind == FaultKind.FillDisk)
        {
            if (Volumes.MountOf(home.Data) is not "/" and var mount)
                return WhyNotFilled(mount, await RunningAsync(cancel)) is { } why ? throw new OrderRefusedException($"The volume {mount} of {options.Region} is not filled: {why}. Give PostgreSQL a volume of its own.") : hold with { Folder = mount };
            throw new OrderRefusedException($"The data of {options.Region} lies on the machine's root volume, which a full disk would take down with everything else: give PostgreSQL a volume of its own.");
        }
        var part = order.Part ?? FaultPart.Postgres;
        var running = await RunningAsync(cancel);
        if (running is null && part != FaultPart.Agent)
            throw new InvalidOperationException($"PostgreSQL does not run in {options.Region}: there is nothing to break.");
        return hold with
        {
            Processes = part switch
            {
                FaultPart.Postgres => [running!.Postmaster],
                FaultPart.Database => [running!.Guard, running.Postmaster],
                FaultPart.Guard => [running!.Guard],
                FaultPart.Agent => [Environment.ProcessId],
                _ => [Environment.ProcessId, running!.Guard, running.Postmaster],
            },
            WithChildren = part is FaultPart.Database or FaultPart.Region || (part == FaultPart.Postgres && order.Kind == FaultKind.Slow),
        };
    }

    /// <summary>A full disk is to meet this PostgreSQL, not the machine's memory nor others.</summary>
    private static string? WhyNotFilled(string mount, GuardAnswer? running)
    {
        if (Volumes.TypeOf(mount) is ("tmpfs" or "ramfs") and var kind)
            return $"it lies in memory ({kind})";
        var own = running is null ? [] : HostProcesses.Tree([running.Guard, running.Postmaster]).Select(p => p.Id).ToHashSet();
        var others = Volumes.Users(mount).Where(p => p.Id != Environment.ProcessId && !own.Contains(p.Id)).Take(OthersShown).Select(p => $"{p.Name} (process {p.Id})").ToList();
        return others.Count > 0 ? $"others have files there too: {string.Join(", ", others)}" : null;
    }

    private void Note(FaultOrder order, IReadOnlyList<int>? processes = null)
    {
        state.Change(s => s with { Fault = new FaultNote(order.Kind, order.Run, time.GetUtcNow().AddSeconds(order.MaxSeconds), order.Part, processes) });
        LogBroken(logger, FaultKinds.Say(order.Kind, order.Part), order.Run, order.MaxSeconds);
    }

    private Holding Start(FaultHold hold)
    {
        var start = new ProcessStartInfo(options.Executable) { RedirectStandardInput = true, RedirectStandardOutput = true };
        foreach (var argument in hold.Arguments())
            start.ArgumentList.Add(argument);
        var process = new Process { StartInfo = start, EnableRaisingEvents = true };
        var holding = new Holding(hold, process);
        process.Exited += (_, _) => Ended(holding);
        process.Start();
        lock (_gate)
            _holding = holding;
        return holding;
    }

    private async Task EndAsync(Holding holding, CancellationToken cancel)
    {
        holding.Holder.StandardInput.Close();
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(MendMax);
        try { await holding.Holder.WaitForExitAsync(limit.Token); }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            HostProcesses.Kill(holding.Holder.Id);
            await holding.Holder.WaitForExitAsync(cancel);
        }
        Ended(holding);
    }

    /// <summary>Its holder has ended: by its limit, by the agent's word, or killed. What may be frozen still is thawed in any case.</summary>
    private void Ended(Holding holding)
    {
        lock (_gate)
        {
            if (_holding != holding)
                return;
            _holding = null;
        }
        if (holding.Hold.Kind.TakesPart())
            Thaw(holding.Hold.Processes);
        state.Change(s => s.Fault?.Run == holding.Run ? s with { Fault = null, LiftedFault = holding.Run } : s);
        keeper.Look();
    }

    private static void Thaw(IEnumerable<int> roots)
    {
        foreach (var process in HostProcesses.Tree(roots))
            HostProcesses.Thaw(process.Id);
    }

    private sealed record Holding(FaultHold Hold, Process Holder)
    {
        public string Run => Hold.Run;
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Broken for a drill: {Kind} by {Run}, for at most {Seconds} s.")]
    private static partial void LogBroken(ILogger logger, string kind, string run, int seconds);

    [LoggerMessage(Level = LogLevel.Information, Message = "Mended after the drill {Run}.")]
    private static partial void LogMended(ILogger logger, string run);
}
