namespace BuildRunner.Core.Databases;

/// <summary>That a copy receives nothing from an epoch, or promises it nothing any more, by the word of a run.</summary>
public static class CutMark
{
    /// <summary>Whether a run takes it back: its own, or one that nobody's name is kept of. A run that ended long ago does not take back what a newer one needs.</summary>
    public static bool Lift(long? epoch, string? by, string run) => epoch is null || by is null || by == run;

    /// <summary>
    /// Copies that are still cut off, or still refuse, an epoch that is open: the run that did it gave up, and its word to take it back did not arrive. Each
    /// with that run.
    /// </summary>
    public static IReadOnlyList<(string Region, string Run)> LeftBehind(EpochRecord record, IReadOnlyDictionary<string, DatabaseReading> copies) =>
        record.State != EpochState.Open ? [] :
        [
            .. copies.Where(c => c.Key != record.Primary && c.Value.Database == record.Database)
                .SelectMany(c => new (string Region, long? Epoch, string? Run)[] { (c.Key, c.Value.CutEpoch, c.Value.CutRun), (c.Key, c.Value.RefusedEpoch, c.Value.RefusedRun) })
                .Where(m => m.Epoch >= record.Epoch).Select(m => (m.Region, m.Run ?? "")).Distinct().OrderBy(m => m.Region, StringComparer.Ordinal),
        ];
}
