using BuildRunner.Client.Databases;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Agent;

/// <summary>
/// Breaks this host's database for a drill, and mends it. The fault is on the disk before it acts, so that an agent that starts again neither mends it
/// too early nor forgets it; it ends by itself at its limit, whatever became of the server.
/// </summary>
internal sealed partial class FaultDesk(AgentOptions options, AgentStateFile state, GuardClient guard, DatabaseKeeper keeper, TimeProvider time, ILogger<FaultDesk> logger)
{
    private const int SecondsMax = 3600;

    public async Task<FaultResult> InjectAsync(FaultOrder order, CancellationToken cancel)
    {
        if (state.Current.Fault is { } other && other.Run != order.Run && other.Until > time.GetUtcNow())
            throw new OrderRefusedException($"{options.Region} is broken by {other.Run} until {other.Until:HH:mm:ss} UTC already: one fault at a time.");
        if (state.Current.LiftedFault == order.Run)
            throw new OrderRefusedException($"{order.Run} has lifted its fault already: what comes late breaks nothing.");
        if (order.MaxSeconds is < 1 or > SecondsMax)
            throw new OrderRefusedException($"A fault of {order.MaxSeconds} s is refused: from 1 to {SecondsMax} s.");
        if (await guard.StatusAsync(cancel) is not { Running: true } before)
        {
            return state.Current.Fault?.Run == order.Run
                ? new FaultResult(false, $"it is down already ({order.Kind.ToString().ToLowerInvariant()})")
                : throw new InvalidOperationException($"PostgreSQL does not run in {options.Region}: there is nothing to break.");
        }
        state.Change(s => s with { Fault = new FaultNote(order.Kind, order.Run, time.GetUtcNow().AddSeconds(order.MaxSeconds)) });
        LogBroken(logger, order.Kind, order.Run, order.MaxSeconds);
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

    public Task<FaultResult> LiftAsync(FaultOrder order, CancellationToken cancel)
    {
        var effect = false;
        state.Change(s =>
        {
            effect = s.Fault?.Run == order.Run;
            return s with { Fault = effect ? null : s.Fault, LiftedFault = order.Run };
        });
        if (effect)
            LogMended(logger, order.Run);
        keeper.Look();
        return Task.FromResult(new FaultResult(effect, effect ? "it may start again" : "nothing was broken by this run"));
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Broken for a drill: {Kind} by {Run}, for at most {Seconds} s.")]
    private static partial void LogBroken(ILogger logger, FaultKind kind, string run, int seconds);

    [LoggerMessage(Level = LogLevel.Information, Message = "Mended after the drill {Run}.")]
    private static partial void LogMended(ILogger logger, string run);
}
