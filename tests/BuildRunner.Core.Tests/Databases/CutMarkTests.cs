using BuildRunner.Core.Databases;

namespace BuildRunner.Core.Tests.Databases;

public class CutMarkTests
{
    private static readonly EpochRecord Open = EpochTransitions.First("main", "east", ["east", "west", "europe"], default);

    [Theory]
    [InlineData(1L, "new", "old", false)] // a late word of an older run
    [InlineData(1L, "new", "new", true)]
    [InlineData(1L, null, "old", true)] // kept by an older version, which did not write it down
    [InlineData(null, "new", "old", true)]
    public void Lift_OnlyItsOwnRunTakesItBack(long? epoch, string? by, string run, bool lifts) => Assert.Equal(lifts, CutMark.Lift(epoch, by, run));

    [Fact]
    public void LeftBehind_OpenEpoch_NamesWhoIsCutOrRefusesAndByWhom()
    {
        var copies = new Dictionary<string, DatabaseReading>
        {
            ["west"] = Reading() with { CutEpoch = 1, CutRun = "r1", RefusedEpoch = 1, RefusedRun = "r1" },
            ["europe"] = Reading() with { RefusedEpoch = 1, RefusedRun = "r2" },
            ["east"] = Reading() with { CutEpoch = 1, CutRun = "r1" }, // the primary follows nobody
        };
        Assert.Equal([("europe", "r2"), ("west", "r1")], CutMark.LeftBehind(Open, copies));
        Assert.Empty(CutMark.LeftBehind(Open with { State = EpochState.Closing, Run = "r3" }, copies)); // a run may want just that
        Assert.Empty(CutMark.LeftBehind(Open with { Epoch = 2 }, copies)); // they follow by themselves
        Assert.Empty(CutMark.LeftBehind(Open, new Dictionary<string, DatabaseReading> { ["west"] = Reading() }));
    }

    private static DatabaseReading Reading() => new() { Database = "main", State = DatabaseState.Standby };
}
