using BuildRunner.Core.Recovery;

namespace BuildRunner.Client.Databases;

/// <summary>Faults that an agent makes on its own host for a drill. One at a time; it ends by itself when nobody lifts it.</summary>
public static class FaultOrders
{
    /// <summary><see cref="FaultOrder"/> → <see cref="FaultResult"/>: break it, and keep it broken.</summary>
    public const string Inject = "fault.inject";

    /// <summary><see cref="FaultOrder"/> → <see cref="FaultResult"/>: mend it; fine when there is none.</summary>
    public const string Lift = "fault.lift";
}

/// <param name="Kind">What is broken.</param>
/// <param name="Run">The drill's run; only it, or time, lifts the fault.</param>
/// <param name="MaxSeconds">After this the agent mends it by itself; at most 900.</param>
/// <param name="Part">Which processes are frozen or made slow; null: `postgres`.</param>
public sealed record FaultOrder(FaultKind Kind, string Run, int MaxSeconds, FaultPart? Part = null);

/// <summary>What was done, in a sentence, and whether this order did it (false: it was so already).</summary>
public sealed record FaultResult(bool Effect, string Evidence);
