using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Agent;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Tests.Agent;

public class AddressWriterTests
{
    private static readonly AgentOptions Options = new() { Region = "us-west-1", DataFolder = "/x", Server = new("http://127.0.0.1:1"), TokenFile = "t", Host = "127.0.2.1", DatabasePort = 5433, SecretsFolder = "/secrets" };
    private static readonly DatabaseAssignment Open = new() { Name = "main", Epoch = 1, State = EpochState.Open, Duty = DatabaseDuty.Standby, Primary = "us-east-1", PrimaryHost = "127.0.1.1", PrimaryPort = 5433 };

    [Fact]
    public void Decide_OpenElsewhere_IsReachedThroughTheNetwork()
    {
        var file = Decide(Open, new());
        Assert.Equal((true, "127.2.1.1", "us-east-1", 1L, "127.0.2.1"), (file.Open, file.WriteHost, file.WriteRegion, file.Epoch, file.ReadHost));
    }

    [Theory]
    [InlineData(EpochState.Closing, true)]
    [InlineData(EpochState.Moving, false)]
    public void Decide_ARunDecides_ClosedOnceItMoves(EpochState state, bool open) => Assert.Equal(open, Decide(Open with { State = state, Duty = DatabaseDuty.Keep }, new()).Open);

    [Fact]
    public void Decide_HigherEpochSeen_Closed() => Assert.Equal((false, 2L), (Decide(Open, new() { SeenEpoch = 2 }).Open, Decide(Open, new() { SeenEpoch = 2 }).Epoch));

    [Fact]
    public void Decide_JustPromoted_OpenHereAtOnce()
    {
        var file = Decide(Open with { State = EpochState.Closing }, new() { SeenEpoch = 2, PrimaryEpoch = 2 });
        Assert.Equal((true, "127.0.2.1", "us-west-1", 2L), (file.Open, file.WriteHost, file.WriteRegion, file.Epoch));
    }

    [Fact]
    public void Decide_FencedHere_Closed() => Assert.False(Decide(Open with { Primary = "us-west-1", PrimaryHost = "127.0.2.1" }, new() { PrimaryEpoch = 1 }, fenced: 1).Open);

    [Fact]
    public void Decide_FormerPrimary_DoesNotWriteToItself() => Assert.Equal("us-east-1", Decide(Open with { Epoch = 2 }, new() { PrimaryEpoch = 1, SeenEpoch = 2 }).WriteRegion);

    private static AddressFile Decide(DatabaseAssignment assignment, AgentState state, long? fenced = null) => AddressWriter.Decide(Options, assignment, state, fenced, hasCopy: true, new RelayNetwork(2));
}
