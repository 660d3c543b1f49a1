using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;
using BuildRunner.Server.Databases;

namespace BuildRunner.Tests.Databases;

public class AssignmentPlannerTests
{
    private static readonly DatabaseDefinition Main = new() { Name = "main", DatabaseName = "shop", User = "app" };
    private static readonly DateTimeOffset Now = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
    private static readonly PolicyDocument Policy = new()
    {
        Regions = [Region("us-east-1", RegionRole.Primary, "127.0.1.1"), Region("us-west-1", RegionRole.Standby, "127.0.2.1"), Region("ap-south-1", RegionRole.Edge, null)],
        Services =
        [
            new() { Name = "api", Instances = 2, Command = ["shop"], PortFrom = 9101 },
            new() { Name = "elsewhere", Command = [] },
            new() { Name = "west-only", Command = ["shop"], Regions = ["us-west-1"], PortFrom = 9201 },
        ],
        Databases = [Main],
    };

    private static EpochRecord First => AssignmentPlanner.First(Policy, Main, Now)!;

    [Fact]
    public void First_Policy_PrimaryHoldsItAndEveryCopyIsACandidate()
    {
        Assert.Equal(("us-east-1", 1L, EpochState.Open), (First.Primary, First.Epoch, First.State));
        Assert.Equal(["us-east-1", "us-west-1"], First.Candidates);
    }

    [Fact]
    public void Plan_Open_PrimaryAndStandby()
    {
        var east = Plan("us-east-1", First, initialised: false, ask: "a").Database!;
        Assert.Equal((DatabaseDuty.Primary, "a", true, "shop"), (east.Duty, east.ConfirmedAsk, east.Initialise, east.DatabaseName));
        Assert.Equal(DatabaseDuty.Keep, Plan("us-west-1", First, initialised: false, ask: "b").Database!.Duty); // there is nothing to copy yet
        var west = Plan("us-west-1", First, initialised: true, ask: "b").Database!;
        Assert.Equal((DatabaseDuty.Standby, null, false, "127.0.1.1", 5433), (west.Duty, west.ConfirmedAsk, west.Initialise, west.PrimaryHost, west.PrimaryPort));
    }

    [Fact]
    public void Plan_OpenBefore_NobodyInitialisesAgain() => Assert.False(Plan("us-east-1", First, initialised: true, ask: "a").Database!.Initialise);

    [Theory]
    [InlineData(EpochState.Closing, "127.0.1.1")]
    [InlineData(EpochState.Moving, null)]
    public void Plan_ARunDecides_KeepsAndConfirmsNothing(EpochState state, string? primary)
    {
        foreach (var region in (string[])["us-east-1", "us-west-1"])
        {
            var database = Plan(region, First with { State = state }, initialised: false, ask: "a").Database!;
            Assert.Equal((DatabaseDuty.Keep, null, false, primary), (database.Duty, database.ConfirmedAsk, database.Initialise, database.PrimaryHost));
        }
    }

    /// <summary>An agent has seen a higher epoch than this server's store knows: nobody is started or made anything.</summary>
    [Fact]
    public void Plan_ServerIsBehind_EverybodyKeepsAndNothingIsConfirmed()
    {
        foreach (var region in (string[])["us-east-1", "us-west-1"])
        {
            var database = AssignmentPlanner.Plan(Policy, region, Main, First, initialised: false, "a", 7, behind: true).Database!;
            Assert.Equal((DatabaseDuty.Keep, null, false), (database.Duty, database.ConfirmedAsk, database.Initialise));
        }
    }

    [Fact]
    public void Plan_AfterAMove_FormerPrimaryIsAStandbyThatKnowsTheFork()
    {
        var record = First with { Epoch = 2, Primary = "us-west-1", Former = new(1, "us-east-1", null, Lsn.Parse("0/3000060"), 2) };
        var east = Plan("us-east-1", record, initialised: true, ask: "a").Database!;
        Assert.Equal((DatabaseDuty.Standby, "us-west-1", "127.0.2.1", Lsn.Parse("0/3000060"), 1L, "us-east-1", null),
            (east.Duty, east.Primary, east.PrimaryHost, east.Fork, east.FormerEpoch, east.FormerPrimary, east.ConfirmedAsk));
    }

    [Theory]
    [InlineData("us-east-1", "api")]
    [InlineData("us-west-1", "api,west-only")]
    [InlineData("ap-south-1", "")]
    public void Plan_Services_RunWhereThePolicySays(string region, string services) =>
        Assert.Equal(services, string.Join(',', Plan(region, First, true, null).Services.Select(s => s.Service)));

    [Fact]
    public void Plan_Edge_HasNoDatabase() => Assert.Null(Plan("ap-south-1", First, true, null).Database);

    private static Assignment Plan(string region, EpochRecord record, bool initialised, string? ask) => AssignmentPlanner.Plan(Policy, region, Main, record, initialised, ask, 7);

    private static RegionDefinition Region(string code, RegionRole role, string? host) =>
        new() { Code = code, Name = code, Role = role, Endpoint = "http://127.0.0.1:1", Location = new(0, 0), DatabaseHost = host, DatabasePort = 5433 };
}
