using BuildRunner.Core.Databases;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Tests.Recovery;

/// <summary>The survival kit over failover: every step fails once, loses its answer once, throws once, is done twice. (Crashes: FailoverTests.)</summary>
public class SurvivalTests
{
    private static readonly string[] Steps = [.. RunbookLibrary.Shipped(FailoverRunbook.Name).Steps.Select(s => s.Id)];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory(Timeout = 300_000)]
    [InlineData(BadLuck.Fails, true)]
    [InlineData(BadLuck.Fails, false)]
    [InlineData(BadLuck.FailsAfterActing, true)]
    [InlineData(BadLuck.FailsAfterActing, false)]
    [InlineData(BadLuck.Throws, true)]
    [InlineData(BadLuck.Throws, false)]
    [InlineData(BadLuck.IsDoneTwice, true)]
    [InlineData(BadLuck.IsDoneTwice, false)]
    public async Task Failover_EachStepOnce_EndsWithOnePrimaryAndNothingHeld(BadLuck bad, bool alive)
    {
        var ends = new Dictionary<string, RunPhase>();
        foreach (var id in Steps)
        {
            await using var house = new FailoverHouse();
            house.Power.Ready = !alive;
            await house.OpenAsync(Cancel);
            if (!alive)
                house.Break(FailoverHouse.East);
            var struck = new Unlucky.Once();
            house.Boot(null, action => new Unlucky(action, bad, struck, id));
            Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.West)));

            var run = await house.TheRunAsync(Cancel);
            var record = (await house.Epochs.GetAsync("main", Cancel))!;
            var what = $"{id} {bad}: {run.State} {run.Outcome} {run.Person}; epoch {record.Epoch} {record.State} {record.Primary}";
            Assert.True(struck.Happened, what);
            Assert.True(run.FinishedAt is not null && run.Person is null, what);
            Assert.True(record.State == EpochState.Open, what);
            Assert.True(await house.Store.GetAsync("holds/main", Cancel) is null, what);
            var (east, west) = (house.Agents[FailoverHouse.East], house.Agents[FailoverHouse.West]);
            Assert.True(west.Promotions <= 1 && east.Fences <= 1, what);
            if (run.State == RunPhase.RolledBack)
            {
                Assert.True(record.Primary == FailoverHouse.East && west.Promotions == 0, what);
                Assert.True(!alive || (east.State == DatabaseState.Primary && east.PrimaryAt == record.Epoch), what); // it takes writes again, as the epoch says
            }
            else
            {
                Assert.True(run.State == (id == "verify" && bad != BadLuck.IsDoneTwice ? RunPhase.Failed : RunPhase.Succeeded), what);
                Assert.True((record.Epoch, record.Primary, west.Promotions, west.PrimaryAt) == (2, FailoverHouse.West, 1, 2), what);
                Assert.True(alive ? east.Fences == 1 : house.Power.Effects == 1, what);
            }
            Assert.True(bad != BadLuck.IsDoneTwice || run.State == RunPhase.Succeeded, what);
            ends[id] = run.State;
        }
        TestContext.Current.TestOutputHelper?.WriteLine($"{ends.Count} cases ({bad}, {(alive ? "alive" : "killed")}): {string.Join(", ", ends.Select(e => $"{e.Key} {e.Value}"))}");
        Assert.Equal(Steps.Length, ends.Count);
    }
}
