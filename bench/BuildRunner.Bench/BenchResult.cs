namespace BuildRunner.Bench;

/// <summary>All runs of one case under one set of settings.</summary>
internal sealed record BenchResult(string System, string Settings, string Case, IReadOnlyDictionary<string, string> SettingsInForce, IReadOnlyList<BenchRun> Runs)
{
    /// <summary>Of the runs in which the primary moved.</summary>
    public double? OutageMedianMs => Median([.. Moved.Select(run => run.OutageMs).OfType<double>().Order()]);
    public double? OutageWorstMs => Moved.Max(run => run.OutageMs);
    public double? LongestMs => Moved.Max(run => run.LongestMs);

    private IEnumerable<BenchRun> Moved => Runs.Where(run => run.Trouble is null);

    private static double? Median(double[] sorted) => sorted.Length == 0
        ? null
        : (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
}
