using BuildRunner.Core.Databases;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Routing;

namespace BuildRunner.Core.Tests.Routing;

public class RoutingTableBuilderTests
{
    private static readonly EpochRecord Record = new() { Database = "main", Epoch = 4, State = EpochState.Open, Primary = "a", Candidates = ["a", "b"], At = TestTable.Now };

    private static RegionInput Region(string code, DatabaseReading? reading, HealthState health = HealthState.Healthy, bool heard = true) => new()
    {
        Code = code, Name = code, Role = RegionRole.Standby, Location = new GeoPoint(0, 0), Endpoint = $"http://{code}", HasDatabase = true, Health = health, DatabaseHealth = health, Reading = reading, Heard = heard,
    };

    private static DatabaseReading Reading(DatabaseState state, double? lag = null, long? marker = 4) => new() { Database = "main", State = state, AcceptsConnections = true, LagSeconds = lag, MarkerEpoch = marker };

    private static RoutingInputs Inputs(RegionInput a, RegionInput b, bool settled = true, params InstanceInput[] instances) => new()
    {
        DefaultRegion = "a",
        Regions = [a, b],
        Services = [new ServiceInput { Name = "api", Database = "main", Routes = [], Instances = instances }],
        Databases = [new DatabaseInput("main", Record, null)],
        Settled = settled,
    };

    [Theory]
    [InlineData(0.0, 0.0)]
    [InlineData(0.2, 1.0)]
    [InlineData(1.0, 1.0)]
    [InlineData(4.9, 5.0)]
    [InlineData(7.0, 10.0)]
    public void Build_LagTrembles_TheTableStands(double lag, double row) =>
        Assert.Equal(row, RoutingTableBuilder.Build(Inputs(Region("a", Reading(DatabaseState.Primary)), Region("b", Reading(DatabaseState.Standby, lag))), null).Regions[1].LagSeconds);

    [Fact]
    public void Build_LagUnknown_StaysUnknown() =>
        Assert.Null(RoutingTableBuilder.Build(Inputs(Region("a", Reading(DatabaseState.Primary)), Region("b", Reading(DatabaseState.Standby))), null).Regions[1].LagSeconds);

    [Theory]
    [InlineData(4L, true)]
    [InlineData(3L, false)] // still on the timeline before: what it holds may have been lost
    [InlineData(null, true)]
    public void Build_CopyOfAnOlderEpoch_ServesNoReads(long? marker, bool serves) =>
        Assert.Equal(serves, RoutingTableBuilder.Build(Inputs(Region("a", Reading(DatabaseState.Primary)), Region("b", Reading(DatabaseState.Standby, 0, marker))), null).Regions[1].ServesReads);

    [Theory]
    [InlineData(DatabaseState.Primary, HealthState.Unhealthy, true)] // its own agent is believed first
    [InlineData(DatabaseState.Fenced, HealthState.Healthy, false)]
    [InlineData(DatabaseState.Starting, HealthState.Healthy, false)]
    [InlineData(null, HealthState.Healthy, true)]
    [InlineData(null, HealthState.Unknown, true)] // nobody could look: no reason to refuse
    [InlineData(null, HealthState.Unhealthy, false)]
    public void IsWritable_ByAgentThenObservers(DatabaseState? state, HealthState health, bool writable) =>
        Assert.Equal(writable, RoutingTableBuilder.IsWritable(Record, Region("a", state is { } s ? Reading(s) : null, health)));

    [Theory]
    [InlineData(EpochState.Open, null, null)]
    [InlineData(EpochState.Open, "drill", "drill")]
    [InlineData(EpochState.Closing, null, "run")] // the record came before the hold
    [InlineData(EpochState.Closing, "run", "run")]
    [InlineData(EpochState.Moving, null, "run")]
    public void Build_ARunMovesTheEpoch_WritesWait(EpochState state, string? hold, string? expected)
    {
        var inputs = Inputs(Region("a", Reading(DatabaseState.Primary)), Region("b", Reading(DatabaseState.Standby)));
        inputs = inputs with { Databases = [new DatabaseInput("main", Record with { State = state, Run = state == EpochState.Open ? null : "run" }, hold)] };
        Assert.Equal(expected, RoutingTableBuilder.Build(inputs, null).Databases[0].HoldId);
    }

    /// <summary>The marker is written before the epoch opens: a standby's reading without it was taken before the promotion.</summary>
    [Theory]
    [InlineData(-1, true)]
    [InlineData(0, false)]
    public void IsWritable_ReadBeforeTheEpochOpened_IsNoNewsOfIt(int marker, bool writable) =>
        Assert.Equal(writable, RoutingTableBuilder.IsWritable(Record, Region("a", Reading(DatabaseState.Standby, 0, Record.Epoch + marker))));

    [Theory]
    [InlineData(100, 119, 100)] // under a fifth
    [InlineData(100, 121, 121)]
    [InlineData(10, 14.9, 10)] // under 5 ms
    [InlineData(10, 15.1, 15.1)]
    public void Build_LatencyTrembles_TheTableStands(double before, double now, double row)
    {
        var inputs = Inputs(Region("a", null), Region("b", null));
        var first = RoutingTableBuilder.Build(inputs with { Latencies = [new("a", "b", before)] }, null);
        var second = RoutingTableBuilder.Build(inputs with { Latencies = [new("a", "b", now)] }, first);
        Assert.Equal(row, second.Latencies.Single().Milliseconds);
        Assert.Equal(row, RoutingTableBuilder.Build(inputs, second).Latencies.Single().Milliseconds);
    }

    [Fact]
    public void Build_ServerJustStarted_KeepsWhatNobodyHasReported()
    {
        var instance = new InstanceInput("b", "api-1", "http://b:1/", "v1", "stable", HealthState.Healthy, HealthState.Healthy);
        var before = RoutingTableBuilder.Build(Inputs(Region("a", Reading(DatabaseState.Primary)), Region("b", Reading(DatabaseState.Standby, 0)), true, instance), null);
        Assert.Equal("http://b:1", before.Services[0].Instances.Single().Address);

        var silent = Inputs(Region("a", null, HealthState.Unknown, heard: false), Region("b", null, HealthState.Unknown, heard: false), settled: false);
        var young = RoutingTableBuilder.Build(silent, before);
        Assert.Equal(before.Regions, young.Regions);
        Assert.Equal(before.Services[0].Instances, young.Services[0].Instances);

        var old = RoutingTableBuilder.Build(silent with { Settled = true }, before);
        Assert.All(old.Regions, r => Assert.Equal(HealthState.Unknown, r.Health));
        Assert.Equal(HealthState.Unknown, old.Services[0].Instances.Single().Health);
    }

    [Fact]
    public void Build_AgentSaysInstancesAreGone_TheyAreGone()
    {
        var instance = new InstanceInput("b", "api-1", "http://b:1", "v1", "stable", HealthState.Healthy, HealthState.Healthy);
        var before = RoutingTableBuilder.Build(Inputs(Region("a", null), Region("b", null), true, instance), null);
        Assert.Empty(RoutingTableBuilder.Build(Inputs(Region("a", null), Region("b", null)), before).Services[0].Instances);
    }
}
