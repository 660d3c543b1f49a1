using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Agent;
using BuildRunner.Server.Agent.Patroni;

namespace BuildRunner.Tests.Agent;

[Trait("Category", "unit")]
public class PatroniPlannerTests
{
    private static readonly (string Host, int Port) Upstream = ("10.0.0.1", 5432);
    private static readonly DatabaseAssignment Primary = new() { Name = "main", Epoch = 2, State = EpochState.Open, Duty = DatabaseDuty.Primary, Primary = "east", PrimaryHost = Upstream.Host, PrimaryPort = Upstream.Port, Patroni = ["http://10.0.0.1:8008"] };
    private static readonly DatabaseAssignment Standby = Primary with { Duty = DatabaseDuty.Standby };
    private static readonly DatabaseReading Writes = new() { Database = "main", State = DatabaseState.Primary, MarkerEpoch = 2 };
    private static readonly PatroniCluster Leading = Cluster(null, "master");
    private static readonly PatroniCluster Following = Cluster(new PatroniUpstream(Upstream.Host, Upstream.Port), "standby_leader");

    [Fact]
    public void Decide_FirstEpochWithoutMarker_IsMarked() =>
        Assert.True(Assert.IsType<PatroniStep.Adopt>(Decide(Primary with { Epoch = 1 }, Leading, Writes with { MarkerEpoch = null })).Mark);

    [Fact]
    public void Decide_PrimaryBearsTheEpochsMarker_IsTakenOverUnmarked() => Assert.False(Assert.IsType<PatroniStep.Adopt>(Decide(Primary, Leading, Writes)).Mark);

    [Theory]
    [InlineData(1L, "bears the marker of epoch 1")]
    [InlineData(3L, "bears the marker of epoch 3")]
    [InlineData(null, "bears the marker of epoch none")]
    public void Decide_DataOfAnotherEpoch_IsNotTakenOver(long? marker, string says) => Waits(Decide(Primary, Leading, Writes with { MarkerEpoch = marker }), says);

    [Fact]
    public void Decide_StandbyClusterThatShouldBePrimary_IsLeftToARun() => Waits(Decide(Primary, Following, Writes with { State = DatabaseState.Standby }), "a run promotes it");

    [Fact]
    public void Decide_EpochEndedHere_Waits() => Waits(Decide(Primary, Leading, Writes, fenced: 2), "ended here");

    [Fact]
    public void Decide_StalePrimary_IsSilencedBeforeAnythingIsAsked()
    {
        Assert.IsType<PatroniStep.Silence>(Decide(Standby, Leading, Writes with { MarkerEpoch = 1 }, new() { SeenEpoch = 2, PrimaryEpoch = 1 }));
        Assert.IsType<PatroniStep.Silence>(Decide(Standby, Leading, null, new() { SeenEpoch = 2, PrimaryEpoch = 1 })); // its PostgreSQL lets nobody look
        Assert.IsType<PatroniStep.Silence>(Decide(Standby, Leading, Writes with { MarkerEpoch = 1 }, new() { CutEpoch = 2 }));
        Waits(Decide(Standby, Leading, null), "bears no epoch's marker");
        Waits(Decide(Standby, Leading, Writes), "not before 2");
    }

    [Fact]
    public void Decide_SilencedWithTheNewOnesTimeline_GetsOneOfItsOwnFirst()
    {
        var silenced = Cluster(new PatroniUpstream(null, null), "standby_leader");
        var reading = Writes with { MarkerEpoch = 1, State = DatabaseState.Standby };
        var stale = new AgentState { Stale = 2 };
        Assert.IsType<PatroniStep.Part>(Decide(Standby, silenced, reading, stale, timelines: (new(2, Left(1)), new(2, Left(1)))));
        var follow = Assert.IsType<PatroniStep.Follow>(Decide(Standby, silenced, reading, stale, timelines: (new(3, Left(1, 2)), new(2, Left(1)))));
        Assert.Equal(("east", Upstream.Host, Upstream.Port), (follow.Region, follow.Host, follow.Port));
        Waits(Decide(Standby, silenced, reading, stale), "not known yet");
        Waits(Decide(Standby, silenced, null, stale), "not known yet");

        // A healthy copy on its primary's own timeline is none of these, whatever was noted once.
        Assert.IsType<PatroniStep.Follow>(Decide(Standby, silenced, reading, timelines: (new(2, Left(1)), new(2, Left(1)))));
        Assert.IsType<PatroniStep.Follow>(Decide(Standby, silenced, reading with { MarkerEpoch = 2 }, stale, timelines: (new(2, Left(1)), new(2, Left(1)))));
        Assert.IsType<PatroniStep.Followed>(Decide(Standby, Following, reading, stale with { Following = "east" })); // and the note goes
    }

    /// <summary>Patroni compares numbers: of timelines that are the same by chance it sees nothing.</summary>
    [Theory]
    [InlineData(1, "", 2, "1", true)]
    [InlineData(2, "1", 4, "1,2,3", true)]
    [InlineData(2, "1", 4, "1,3", true)] // passed over: Patroni rewinds
    [InlineData(5, "1,2", 4, "1,2,3", true)]
    [InlineData(4, "1,2,3", 4, "1,2,3", false)]
    [InlineData(3, "1,2@9", 4, "1,2,3", false)] // another timeline 3 than that of the other's past
    [InlineData(3, null, 4, "1,2,3", true)]
    public void IsRewoundTo_IsWhatPatroniSees(int here, string? history, int there, string? other, bool seen) =>
        Assert.Equal(seen, new PatroniTimeline(here, History(history)).IsRewoundTo(new(there, History(other))));

    [Fact]
    public void Decide_DemotedInVain_TakesWritesAgainOnceTheServerHasSaidSo()
    {
        var demoted = Cluster(new PatroniUpstream(null, null), "standby_leader");
        var note = new AgentState { Demotion = new(2, ["west"]) };
        Assert.IsType<PatroniStep.Ask>(Decide(Primary, demoted, null, note));
        Assert.IsType<PatroniStep.Restore>(Decide(Primary, demoted, null, note, confirmed: true));
        Waits(Decide(Primary, demoted, null, note, fenced: 2, confirmed: true), "ended here"); // a proof was given
        Waits(Decide(Primary with { Epoch = 3 }, demoted, null, note, confirmed: true), "a run promotes it");
        Waits(Decide(Primary, demoted, null, confirmed: true), "a run promotes it"); // by somebody else
        Assert.IsType<PatroniStep.Adopt>(Decide(Primary, Leading, Writes, new() { PrimaryEpoch = 2, Demotion = new(2, null) })); // the note is taken off
        Waits(Decide(Primary with { Duty = DatabaseDuty.Keep, State = EpochState.Closing }, demoted, null, note, confirmed: true), "a run is deciding");
    }

    [Fact]
    public void Decide_StandbyOfAnother_FollowsTheNewOne() => Assert.IsType<PatroniStep.Follow>(Decide(Standby, Cluster(new PatroniUpstream("10.9.9.9", 5432), "standby_leader"), null));

    [Fact]
    public void Decide_CutOffByARun_StaysCutOffAtThatEpochOnly()
    {
        Waits(Decide(Standby, Cluster(new PatroniUpstream(null, null), "standby_leader"), null, new() { CutEpoch = 2 }), "cut it off");
        Assert.IsType<PatroniStep.Follow>(Decide(Standby, Cluster(new PatroniUpstream(null, null), "standby_leader"), null, new() { CutEpoch = 1 }));
    }

    [Fact]
    public void Decide_FollowsAsItShould_ForgetsThatItWasAPrimary()
    {
        Assert.IsType<PatroniStep.Followed>(Decide(Standby, Following, null, new() { PrimaryEpoch = 1, Following = "east" }));
        Waits(Decide(Standby, Following, null, new() { Following = "east" }), "follows east");
    }

    [Fact]
    public void Decide_RunUnderWayPausedOrSilent_Waits()
    {
        Waits(Decide(Standby with { Duty = DatabaseDuty.Keep, State = EpochState.Closing }, Leading, null), "a run is deciding");
        Waits(Decide(Standby, Leading with { Paused = true }, null), "paused");
        Waits(Decide(Standby, null, null), "does not answer");
        Waits(Decide(Standby, Leading, null, new() { SeenEpoch = 3 }), "epoch 3 has begun");
    }

    [Theory]
    [InlineData("standby_leader", "running", "replica", "running", true)]
    [InlineData("standby_leader", "running", "replica", "stopped", true)]
    [InlineData("standby_leader", "running", null, null, false)] // a silent member may be anything
    [InlineData("standby_leader", "running", "master", "running", false)]
    [InlineData("standby_leader", "running", "primary", "stopped", false)]
    [InlineData("standby_leader", "starting", "replica", "running", false)]
    [InlineData("demoted", "stopping", "replica", "running", false)]
    public void IsDemoted_EveryMemberSaysSo(string? leader, string? leaderState, string? other, string? otherState, bool demoted)
    {
        var cluster = new PatroniCluster([Member("a", true, leader, leaderState), Member("b", false, other, otherState)], new PatroniUpstream(null, null), false);
        Assert.Equal(demoted, cluster.IsDemoted);
        Assert.False((cluster with { Upstream = null }).IsDemoted); // it would be promoted again
    }

    /// <summary>A member whose Patroni died falls out of the list; its PostgreSQL may live on.</summary>
    [Fact]
    public void Members_ThatAreListedNoMore_AreAskedForADay()
    {
        var now = new DateTimeOffset(2026, 1, 1, 12, 0, 0, TimeSpan.Zero);
        var both = new PatroniCluster([Member("a", true, "master", "running") with { Postgres = ("10.0.0.1", 5432) }, Member("b", false, "replica", "running") with { Postgres = ("10.0.0.2", 5432) }], null, false);
        var one = both with { Members = [both.Members[1]] };
        var known = PatroniMembers.Remember([], both, now);
        Assert.Empty(PatroniMembers.Unlisted(known, both, now));
        Assert.Same(known, PatroniMembers.Remember(known, both, now.AddMinutes(59)));
        Assert.NotSame(known, PatroniMembers.Remember(known, both, now.AddMinutes(61)));

        known = PatroniMembers.Remember(known, one, now.AddHours(20));
        Assert.Equal("a at 10.0.0.1:5432", string.Join(", ", PatroniMembers.Unlisted(known, one, now.AddHours(20)).Select(m => $"{m.Name} at {m.Host}:{m.Port}")));
        Assert.Empty(PatroniMembers.Unlisted(known, one, now.AddHours(30)));
        Assert.Equal(["b"], PatroniMembers.Remember(known, one, now.AddHours(30)).Select(m => m.Name));
    }

    [Fact]
    public void Receiving_NullsOnlyWhereThereIsSomethingToTakeAway()
    {
        Assert.Equal("""{"standby_cluster":{"restore_command":"false"}}""", Leading.Receiving(null));
        Assert.Equal("""{"standby_cluster":{"restore_command":"false","host":null,"port":null,"primary_slot_name":null}}""", Following.Receiving(null));
        Assert.Equal("""{"standby_cluster":{"host":"10.0.0.1","port":5432,"create_replica_methods":["basebackup"],"primary_slot_name":null,"restore_command":null}}""", Following.Receiving(Upstream));
    }

    private static string Left(params int[] timelines) => string.Join('\n', timelines.Select(t => $"{t}\t0/{t}000000\tno recovery target specified")) + "\n";

    /// <summary>`1,2@9`: timeline 1 was left at 0/1000000, 2 at 0/9000000.</summary>
    private static string? History(string? short_) => short_ is null ? null : string.Concat(short_.Split(',', StringSplitOptions.RemoveEmptyEntries)
        .Select(t => t.Split('@')).Select(t => $"{t[0]}\t0/{t[^1]}000000\tno recovery target specified\n"));

    private static PatroniStep Decide(DatabaseAssignment assignment, PatroniCluster? cluster, DatabaseReading? reading, AgentState? state = null, long? fenced = null, (PatroniTimeline, PatroniTimeline)? timelines = null, bool confirmed = false) =>
        PatroniPlanner.Decide(assignment, state ?? new(), new PatroniFacts(cluster, reading, fenced, Upstream) { Timelines = timelines, Confirmed = confirmed });

    private static void Waits(PatroniStep step, string says) => Assert.Contains(says, Assert.IsType<PatroniStep.Wait>(step).Reason, StringComparison.Ordinal);

    private static PatroniCluster Cluster(PatroniUpstream? upstream, string role) => new([Member("a", true, role, PatroniMember.Running)], upstream, false);

    private static PatroniMember Member(string name, bool leads, string? role, string? state) => new(name, new Uri("http://10.0.0.1:8008"), leads, role, state);
}
