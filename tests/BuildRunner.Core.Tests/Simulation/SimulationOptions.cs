namespace BuildRunner.Core.Tests.Simulation;

/// <summary>One schedule: everything in it follows from the seed.</summary>
internal sealed record SimulationOptions
{
    public required ulong Seed { get; init; }
    public Tooth Without { get; init; }

    /// <summary>Stalls of 2 s at most two of which adjoin, and nothing else: then no failover and no fence may be.</summary>
    public bool StallsOnly { get; init; }

    /// <summary>Bit n: fault n of the schedule takes place. Shrinking leaves out what the violation does not need.</summary>
    public ulong Faults { get; init; } = ulong.MaxValue;

    /// <summary>Gets one line for each thing that happens; null: nothing is said.</summary>
    public Action<string>? Trace { get; init; }
}

/// <summary>How a schedule ended.</summary>
/// <param name="Violated">Name of the first invariant that did not hold; null: all did.</param>
/// <param name="Detail">One sentence: when, where, what.</param>
/// <param name="Faults">The schedule's faults, as a person reads them.</param>
internal sealed record SimulationResult(ulong Seed, string? Violated, string Detail, IReadOnlyList<Fault> Faults, SimulationCounts Counts);

/// <summary>What happened in a schedule: without it nobody knows whether a schedule tried anything.</summary>
internal readonly record struct SimulationCounts(int Events, int Acknowledged, int Promotions, int Expired, int Stopped, int Fences, int Lost, int Failsafe, int RunsFailed)
{
    public static SimulationCounts operator +(SimulationCounts a, SimulationCounts b) => new(
        a.Events + b.Events, a.Acknowledged + b.Acknowledged, a.Promotions + b.Promotions, a.Expired + b.Expired, a.Stopped + b.Stopped, a.Fences + b.Fences, a.Lost + b.Lost,
        a.Failsafe + b.Failsafe, a.RunsFailed + b.RunsFailed);
}
