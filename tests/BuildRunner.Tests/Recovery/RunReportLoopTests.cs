using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;

namespace BuildRunner.Tests.Recovery;

/// <summary>What a failover's report learns later.</summary>
public class RunReportLoopTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 60_000)]
    public async Task Salvage_ArrivesLater_FillsInWhatWasLost_AndUntilThenItIsUnknown()
    {
        await using var house = await FailedOverAsync();
        await house.Reports.RunOnceAsync(Cancel);
        Assert.Equal(new RunLost(null, null, null, null), (await house.TheRunAsync(Cancel)).Lost); // nobody has told: unknown is not nothing

        var kept = new DateTimeOffset(2026, 11, 23, 10, 0, 0, TimeSpan.Zero);
        house.Agents[FailoverHouse.East].Salvage = new SalvageReading { Epoch = 1, Fork = new Lsn(1000), End = new Lsn(1680), Commits = 3, LastKept = kept, LastLost = kept.AddSeconds(0.25), Transactions = [7, 8, 9], Folder = "salvage/1" };
        await house.ReturnAsync(FailoverHouse.East, Cancel);
        await house.Reports.RunOnceAsync(Cancel);
        var run = await house.TheRunAsync(Cancel);
        Assert.Equal((680, 0.25, 3), (run.Lost!.Bytes, run.Lost.Seconds, run.Lost.Commits));
        Assert.Equal([7u, 8u, 9u], run.Lost.Transactions);
        Assert.Equal(680, run.Report!.Value.GetProperty("lost").GetProperty("bytes").GetInt64());
        Assert.Single(await house.Events.ListAsync(100, Cancel), e => e.Kind == "failover.lost");

        await house.Reports.RunOnceAsync(Cancel);
        Assert.Single(await house.Events.ListAsync(100, Cancel), e => e.Kind == "failover.lost"); // said once
    }

    [Fact(Timeout = 60_000)]
    public async Task Salvage_OfAnotherEpoch_TellsNothing()
    {
        await using var house = await FailedOverAsync();
        house.Agents[FailoverHouse.East].Salvage = new SalvageReading { Epoch = 7, Fork = new Lsn(1000), End = new Lsn(1680), Commits = 3, Folder = "salvage/7" };
        await house.ReturnAsync(FailoverHouse.East, Cancel);
        await house.Reports.RunOnceAsync(Cancel);
        Assert.Null((await house.TheRunAsync(Cancel)).Lost!.Commits);
    }

    private static async Task<FailoverHouse> FailedOverAsync()
    {
        var house = new FailoverHouse();
        house.Power.Ready = true;
        await house.OpenAsync(Cancel);
        house.Break(FailoverHouse.East);
        Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.West)));
        return house;
    }
}
