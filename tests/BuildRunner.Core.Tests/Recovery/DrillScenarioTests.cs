using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;
using CsCheck;

namespace BuildRunner.Core.Tests.Recovery;

public class DrillScenarioTests
{
    private static readonly Gen<DrillFault> Faults =
        Gen.Select(Gen.Enum<FaultKind>(), Gen.Int[0, 2].Select(i => new[] { "us-east-1", "primary", "standby" }[i]), Gen.Enum<FaultPart>(), Gen.Int[0, 120], Gen.Int[1, 900], (kind, region, part, after, duration) =>
            new DrillFault(kind, region, kind.TakesPart() ? part : null, TimeSpan.FromSeconds(after), TimeSpan.FromSeconds(duration)));

    [Fact]
    public void Read_WhatWasWritten_IsTheSame() => Faults.List[1, 8].Sample(faults =>
    {
        Assert.Null(DrillFault.Read(DrillFault.Write(faults), out var read));
        Assert.Equal(faults, read);
    });

    [Theory]
    [InlineData("")]
    [InlineData("kill")]
    [InlineData("drown us-east-1 after 0s for 5s")]
    [InlineData("freeze us-east-1 soul after 0s for 5s")]
    [InlineData("kill us-east-1 after 0s for ever")]
    public void Read_NoFault_SaysSo(string line) => Assert.NotNull(DrillFault.Read(line, out _));

    [Theory]
    [InlineData("freeze primary postgres after 0s for 40s", true, false, "")]
    [InlineData("kill primary after 0s for 40s; slow standby database after 2s for 20s", true, false, "")]
    [InlineData("partition primary after 0s for 40s", true, false, "Nothing would prove east silent")]
    [InlineData("partition primary after 0s for 40s", true, true, "")]
    [InlineData("freeze primary database after 0s for 40s", true, false, "Nothing would prove east silent")]
    [InlineData("kill mars after 0s for 40s", true, false, "There is no region 'mars'")]
    [InlineData("kill edge after 0s for 40s", true, false, "edge has no database")]
    [InlineData("kill standby after 0s for 40s", true, false, "Nothing would break east")]
    [InlineData("kill standby after 0s for 40s", false, false, "")]
    [InlineData("kill primary after 0s for 40s", false, false, "at most 30 s")]
    [InlineData("kill primary after 0s for 20s", false, false, "")]
    [InlineData("fill_disk primary after 0s for 20s", false, false, "ends itself")]
    [InlineData("fill_disk primary after 0s for 20s", true, false, "")]
    [InlineData("fill_disk standby after 0s for 20s", false, false, "")]
    [InlineData("kill primary after 0s for 20s; slow primary after 5s for 20s", false, false, "would be broken 2 times")]
    [InlineData("kill primary after 0s for 40s; kill west after 0s for 40s", true, false, "No copy would be left")]
    [InlineData("kill primary after 0s for 20m", true, false, "lasts from 1 s to 15 min")]
    public void Problems_ByWhatIsBroken(string line, bool failover, bool lease, string says)
    {
        Assert.Null(DrillFault.Read(line, out var faults));
        var facts = Facts(lease, power: false);
        var problems = DrillPlanner.Problems(facts, DrillPlanner.Resolve(faults, facts, "west"), failover ? DrillExpectation.Failover : DrillExpectation.Endure).ToList();
        if (says.Length == 0)
            Assert.Empty(problems);
        else
            Assert.Contains(problems, p => p.Contains(says, StringComparison.Ordinal));
    }

    [Fact]
    public void Problems_APowerDriverThatWouldTurnThePrimaryOff_Refuses()
    {
        Assert.Null(DrillFault.Read("partition primary after 0s for 40s", out var faults));
        var facts = Facts(lease: true, power: true);
        Assert.Contains("cannot turn it on again", Assert.Single(DrillPlanner.Problems(facts, DrillPlanner.Resolve(faults, facts, "west"), DrillExpectation.Failover)), StringComparison.Ordinal);
    }

    [Fact]
    public void Problems_HealthyHouse_None() => Assert.Empty(DrillPlanner.Problems(Facts(false, false), null));

    [Fact]
    public void Problems_EachThingThatIsNotWell_IsNamed()
    {
        var well = Facts(false, false);
        Assert.Contains("is being moved", Assert.Single(DrillPlanner.Problems(well with { Record = null }, null)), StringComparison.Ordinal);
        Assert.Contains("east is unhealthy", Assert.Single(DrillPlanner.Problems(well with { Regions = [well.Regions[0] with { Health = HealthState.Unhealthy }, .. well.Regions.Skip(1)] }, null)), StringComparison.Ordinal);
        Assert.Contains("does not stream", Assert.Single(DrillPlanner.Problems(well with { Regions = [well.Regions[0], well.Regions[1] with { Reading = null }, well.Regions[2]] }, null)), StringComparison.Ordinal);
        var state = new DrillState { Primary = "east", Regions = [new("east", "primary", null, [], [], "healthy", "100 %", "kill by drill-1", "")], Names = [], Holds = ["holds/main"] };
        Assert.Equal(2, DrillPlanner.Problems(well, state).Count());
    }

    private static FailoverFacts Facts(bool lease, bool power) => new()
    {
        Database = "main", Rules = new RecoveryRules(), LeaseEnforced = lease, PowerReady = power,
        Record = EpochTransitions.First("main", "east", ["east", "west"], DateTimeOffset.UnixEpoch),
        Regions =
        [
            Region("east", true), Region("west", true) with { Reading = new DatabaseReading { Database = "main", State = DatabaseState.Standby, Streaming = true } }, Region("edge", false),
        ],
    };

    private static FailoverRegion Region(string code, bool database) => new() { Code = code, Role = RegionRole.Standby, HasDatabase = database, Health = HealthState.Healthy, AgentReachable = true };
}
