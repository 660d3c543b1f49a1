namespace BuildRunner.Core.Tests.Simulation;

/// <summary>FAILOVER.md 10 over random schedules. A seed that fails is printed with its shrunk faults; BR_SIMULATION_SEED runs it alone and tells all.</summary>
public sealed class FailoverSimulationTests(ITestOutputHelper output)
{
    private const string SeedVariable = "BR_SIMULATION_SEED";

    [Fact]
    public void EveryInvariantHolds() => Hold(6_000, first: 1, stallsOnly: false);

    [Fact, Trait("Category", "long")]
    public void EveryInvariantHolds_AHundredThousandSchedules() => Hold(100_000, first: 1_000_000, stallsOnly: false);

    [Fact]
    public void ShortStalls_NoFailoverAndNoFence() => Hold(500, first: 1, stallsOnly: true);

    [Theory]
    [InlineData(Tooth.GuardDeadline, 2_000)]
    [InlineData(Tooth.Gate, 2_000)]
    [InlineData(Tooth.ProofWait, 2_000)]
    [InlineData(Tooth.TargetPromise, 20_000)]
    [InlineData(Tooth.EpochRefusal, 5_000)]
    [InlineData(Tooth.NewArbiterWait, 20_000)]
    [InlineData(Tooth.AskedBefore, 20_000)]
    internal void WithoutATooth_AViolationIsFound(Tooth tooth, int schedules)
    {
        var run = Batch(1, schedules, tooth, stallsOnly: false, stopAtFirst: true, out var tried);
        Assert.True(run is not null, $"without {tooth}, {schedules} schedules show nothing");
        output.WriteLine($"without {tooth}: seed {run.Seed} after {tried} schedules: {run.Violated} {run.Detail}");
    }

    private void Hold(int schedules, ulong first, bool stallsOnly)
    {
        if (ulong.TryParse(Environment.GetEnvironmentVariable(SeedVariable), out var seed))
        {
            var one = new FailoverSimulation(new SimulationOptions { Seed = seed, StallsOnly = stallsOnly, Trace = output.WriteLine }).Run();
            Assert.True(one.Violated is null, Describe(one, stallsOnly));
            return;
        }
        var failed = Batch(first, schedules, Tooth.None, stallsOnly, stopAtFirst: false, out _);
        Assert.True(failed is null, failed is null ? "" : Describe(failed, stallsOnly));
    }

    private SimulationResult? Batch(ulong first, int schedules, Tooth without, bool stallsOnly, bool stopAtFirst, out int tried)
    {
        SimulationResult? found = null;
        var (sum, count, gate) = (default(SimulationCounts), 0, new Lock());
        var violated = new SortedDictionary<string, List<ulong>>(StringComparer.Ordinal);
        Parallel.For(0, schedules, (i, loop) =>
        {
            if (loop.ShouldExitCurrentIteration)
                return;
            var result = new FailoverSimulation(new SimulationOptions { Seed = first + (ulong)i, Without = without, StallsOnly = stallsOnly }).Run();
            lock (gate)
            {
                sum += result.Counts;
                count++;
                if (result.Violated is { } name)
                {
                    if (!violated.TryGetValue(name, out var seeds))
                        violated[name] = seeds = [];
                    seeds.Add(result.Seed);
                }
                if (result.Violated is not null && (found is null || result.Seed < found.Seed))
                    found = result;
            }
            if (result.Violated is not null && stopAtFirst)
                loop.Stop();
        });
        tried = count;
        output.WriteLine($"{count} schedules: {sum}");
        foreach (var (name, seeds) in violated)
            output.WriteLine($"{name}: {seeds.Count}, seeds {string.Join(", ", seeds.Order().Take(8))}");
        return found;
    }

    private static string Describe(SimulationResult failed, bool stallsOnly)
    {
        var kept = Shrink(failed, stallsOnly);
        return $"seed {failed.Seed}: {failed.Violated}: {failed.Detail}\nfaults that are needed:\n{string.Join('\n', failed.Faults.Where((_, i) => (kept >> i & 1) != 0))}\n{SeedVariable}={failed.Seed} runs it alone and tells all";
    }

    /// <summary>Leaves out each fault without which the same invariant still fails.</summary>
    private static ulong Shrink(SimulationResult failed, bool stallsOnly)
    {
        var kept = ulong.MaxValue;
        for (var i = 0; i < failed.Faults.Count; i++)
        {
            var fewer = kept & ~(1UL << i);
            if (new FailoverSimulation(new SimulationOptions { Seed = failed.Seed, StallsOnly = stallsOnly, Faults = fewer }).Run().Violated == failed.Violated)
                kept = fewer;
        }
        return kept;
    }
}
