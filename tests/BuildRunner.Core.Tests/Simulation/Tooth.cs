namespace BuildRunner.Core.Tests.Simulation;

/// <summary>A part of the protocol that is taken out of the model, to show that the simulator notices.</summary>
[Flags]
internal enum Tooth
{
    None = 0,

    /// <summary>The guard knows no deadline: it ends nothing, and its gate holds nothing back.</summary>
    GuardDeadline = 1,

    /// <summary>Commits are answered without the gate's confirmation.</summary>
    Gate = 2,

    /// <summary>The run moves the epoch as soon as renewals are withheld, without the end of the lease.</summary>
    ProofWait = 4,

    /// <summary>The target neither refuses promises nor is its last promise waited for.</summary>
    TargetPromise = 8,

    /// <summary>Agents take orders and assignments of any epoch, and start what was fenced.</summary>
    EpochRefusal = 16,

    /// <summary>A new arbiter lets leases run out from its first moment.</summary>
    NewArbiterWait = 32,

    /// <summary>The holder counts from the answer and not from before it asked.</summary>
    AskedBefore = 64,
}
