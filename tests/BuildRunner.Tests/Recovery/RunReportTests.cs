using BuildRunner.Client.Recovery;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Recovery.Failover;

namespace BuildRunner.Tests.Recovery;

public class RunReportTests
{
    private static readonly FailoverReport Report = new() { Success = true, Database = "main", From = "us-east-1", FormerEpoch = 1, Epoch = 2, RtoObjectiveMs = 1, RtoAchieved = true };
    private static readonly DatabaseReading Streams = new() { Database = "main", State = DatabaseState.Standby, Streaming = true, MarkerEpoch = 2 };
    private static readonly SalvageReading Salvage = new() { Epoch = 1, Fork = Lsn.Parse("0/3000000"), End = Lsn.Parse("0/3000000"), Commits = 0, Folder = "/salvage/1" };

    [Fact]
    public void LostBy_StreamsAgainAndHasSaidNothing_Unknown() => Assert.Null(RunReportLoop.LostBy(Streams, Report));

    [Fact]
    public void LostBy_CountedNothing_Zero()
    {
        var lost = RunReportLoop.LostBy(Streams with { Salvage = Salvage }, Report)!;
        Assert.Equal((0L, 0d, 0L), (lost.Bytes!.Value, lost.Seconds!.Value, lost.Commits!.Value));
    }

    [Fact]
    public void LostBy_Unreadable_UnknownAndSaid()
    {
        var reading = Streams with { Salvage = Salvage with { End = null, Commits = null, Unreadable = "a segment is missing" } };
        Assert.Null(RunReportLoop.LostBy(reading, Report));
        Assert.Contains("a segment is missing", RunReportLoop.Unreadable(reading, Report)!, StringComparison.Ordinal);
    }

    [Fact]
    public void LostBy_SalvageOfAnotherEpoch_Unknown() => Assert.Null(RunReportLoop.LostBy(Streams with { Salvage = Salvage with { Epoch = 5 } }, Report));
}
