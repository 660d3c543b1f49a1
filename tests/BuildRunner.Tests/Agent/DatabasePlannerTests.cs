using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Agent;
using CsCheck;

namespace BuildRunner.Tests.Agent;

public class DatabasePlannerTests
{
    private static readonly DatabaseAssignment Primary = new() { Name = "main", Epoch = 2, State = EpochState.Open, Duty = DatabaseDuty.Primary, Primary = "east", PrimaryHost = "127.0.1.1", PrimaryPort = 5433 };
    private static readonly DatabaseAssignment Standby = Primary with { Duty = DatabaseDuty.Standby, Primary = "west" };
    private static readonly DatabaseFacts Down = new() { State = new() { SeenEpoch = 2, PrimaryEpoch = 2 }, HasData = true, StandbySignal = false, Running = false };
    private static readonly DatabaseFacts DownStandby = Down with { State = new() { SeenEpoch = 2 }, StandbySignal = true };

    [Fact]
    public void Decide_PrimaryDownUnconfirmed_Asks() => Assert.IsType<DatabaseStep.Ask>(DatabasePlanner.Decide(Primary, Down));

    [Fact]
    public void Decide_PrimaryDownConfirmed_Starts() => Assert.IsType<DatabaseStep.StartPrimary>(DatabasePlanner.Decide(Primary, Down with { Confirmed = true }));

    [Fact]
    public void Decide_PrimaryDownFenced_StaysDown() => Waits(DatabasePlanner.Decide(Primary, Down with { Confirmed = true, FencedEpoch = 2 }), "fenced");

    [Fact]
    public void Decide_PrimaryFencedAtAnOlderEpoch_Starts() => Assert.IsType<DatabaseStep.StartPrimary>(DatabasePlanner.Decide(Primary, Down with { Confirmed = true, FencedEpoch = 1 }));

    [Fact]
    public void Decide_DataOfAnOlderEpoch_IsNotStarted() => Waits(DatabasePlanner.Decide(Primary, Down with { Confirmed = true, State = new() { PrimaryEpoch = 1 } }), "an order");

    [Fact]
    public void Decide_OlderAssignment_Waits() => Waits(DatabasePlanner.Decide(Primary, Down with { Confirmed = true, State = new() { SeenEpoch = 3, PrimaryEpoch = 2 } }), "epoch 3 has begun");

    [Theory]
    [InlineData(true, true, typeof(DatabaseStep.Initialise))]
    [InlineData(true, false, typeof(DatabaseStep.Ask))]
    [InlineData(false, true, typeof(DatabaseStep.Wait))]
    public void Decide_NoData_IsMadeOnlyWhereAllowedAndConfirmed(bool allowed, bool confirmed, Type step) =>
        Assert.IsType(step, DatabasePlanner.Decide(Primary with { Initialise = allowed }, Down with { HasData = false, Confirmed = confirmed }));

    [Fact]
    public void Decide_MakingWasCutShort_IsEndedOnlyOnProofThatNobodyUsedIt()
    {
        var cut = Down with { Running = true, State = new() { SeenEpoch = 2, Initialising = true } };
        Assert.IsType<DatabaseStep.Wait>(DatabasePlanner.Decide(Primary, cut)); // it does not answer: it may be in use
        Assert.IsType<DatabaseStep.StopUnfinished>(DatabasePlanner.Decide(Primary, cut with { NoDatabase = true }));
        Assert.IsType<DatabaseStep.StopUnfinished>(DatabasePlanner.Decide(Primary, cut with { Reading = new() { Database = "main", State = DatabaseState.Primary } }));
        Assert.IsType<DatabaseStep.Wait>(DatabasePlanner.Decide(Primary, cut with { Reading = new() { Database = "main", State = DatabaseState.Primary, MarkerEpoch = 2 } }));
    }

    [Fact]
    public void Decide_SomebodyElsesPostgreSql_IsLeftAlone()
    {
        var theirs = Down with { HasData = false, Unfenced = "it is not adopted yet", Confirmed = true, State = new() { SeenEpoch = 2 } };
        Waits(DatabasePlanner.Decide(Primary with { Initialise = true }, theirs), "not adopted");
        Waits(DatabasePlanner.Decide(Standby, theirs), "not adopted");
    }

    [Theory]
    [InlineData(true, 2, DatabaseDuty.Primary, false, false, typeof(DatabaseStep.Ask))]
    [InlineData(true, 2, DatabaseDuty.Primary, false, true, typeof(DatabaseStep.Adopt))]
    [InlineData(true, 2, DatabaseDuty.Primary, true, false, typeof(DatabaseStep.Adopt))]
    [InlineData(true, 1, DatabaseDuty.Primary, false, true, typeof(DatabaseStep.Wait))]
    [InlineData(true, 2, DatabaseDuty.Standby, false, true, typeof(DatabaseStep.Wait))]
    [InlineData(false, 1, DatabaseDuty.Standby, false, false, typeof(DatabaseStep.Adopt))]
    [InlineData(false, 2, DatabaseDuty.Keep, false, false, typeof(DatabaseStep.Wait))]
    public void Decide_AnAdoptionThatWasCutShort_IsEndedOnlyAsAnyStart(bool primary, long epoch, DatabaseDuty duty, bool running, bool confirmed, Type step)
    {
        var note = new AdoptionNote("/data", "run-1", epoch, primary, "127.0.0.1", [], null);
        var cut = Down with { Unfenced = "it is not adopted yet", AdoptionCut = true, Running = running, Confirmed = confirmed, State = new() { SeenEpoch = 2, Adoption = note } };
        Assert.IsType(step, DatabasePlanner.Decide(Primary with { Duty = duty }, cut));
    }

    [Fact]
    public void Decide_StandbyNoData_Copies() => Assert.IsType<DatabaseStep.Copy>(DatabasePlanner.Decide(Standby, DownStandby with { HasData = false }));

    [Fact]
    public void Decide_StandbyNoDataWhileARunDecides_Waits() => Waits(DatabasePlanner.Decide(Standby with { State = EpochState.Closing, Duty = DatabaseDuty.Keep }, DownStandby with { HasData = false }), "deciding");

    [Fact]
    public void Decide_HalfARewind_IsNoData() => Assert.IsType<DatabaseStep.Copy>(DatabasePlanner.Decide(Standby, Down with { State = new() { PrimaryEpoch = 1, Rebuilding = true } }));

    [Fact]
    public void Decide_FormerPrimaryDown_Rejoins() => Assert.IsType<DatabaseStep.Rejoin>(DatabasePlanner.Decide(Standby, Down with { State = new() { PrimaryEpoch = 1 } }));

    [Fact]
    public void Decide_StandbyDownWhileARunDecides_Starts() => Assert.False(Assert.IsType<DatabaseStep.StartStandby>(DatabasePlanner.Decide(Standby with { State = EpochState.Moving, Duty = DatabaseDuty.Keep }, DownStandby)).Anew);

    [Fact]
    public void Decide_StalePrimaryRuns_Stops() =>
        Assert.Equal(1, Assert.IsType<DatabaseStep.StopStale>(DatabasePlanner.Decide(Standby, Running(DatabaseState.Primary, 1))).Epoch);

    [Fact]
    public void Decide_StandbyOfAnother_Follows() => Assert.IsType<DatabaseStep.Follow>(DatabasePlanner.Decide(Standby, Running(DatabaseState.Standby, 1)));

    [Fact]
    public void Decide_CutStandby_StaysCut() => Waits(DatabasePlanner.Decide(Standby, Running(DatabaseState.Standby, 2) with { State = new() { CutEpoch = 2 } }), "cut");

    [Fact]
    public void Decide_CutFromAnOlderEpoch_Follows() => Assert.IsType<DatabaseStep.Follow>(DatabasePlanner.Decide(Standby, Running(DatabaseState.Standby, 1) with { State = new() { CutEpoch = 1 } }));

    [Theory]
    [InlineData(5, typeof(DatabaseStep.Wait))]
    [InlineData(6, typeof(DatabaseStep.Rejoin))]
    public void Decide_StandbyDoesNotCatchUp_RejoinsPastTheLimit(int seconds, Type step) =>
        Assert.IsType(step, DatabasePlanner.Decide(Standby, Running(DatabaseState.Standby, 1) with { State = new() { Following = DatabasePlanner.Target(Standby) }, Stuck = TimeSpan.FromSeconds(seconds) }));

    /// <summary>A primary starts, and data is made, only where the server confirmed this very start of the open epoch, and never past a fence.</summary>
    [Fact]
    public void Decide_Anything_NeverStartsAPrimaryUnconfirmedOrFenced() =>
        Gen.Select(Gen.Int[0, 511], Gen.Long[0, 4], Gen.Long[0, 4], Gen.Long[0, 4], Gen.Int[0, 2], Gen.Int[0, 2]).Sample((flags, seen, own, fenced, duty, state) =>
        {
            bool Flag(int bit) => (flags & (1 << bit)) != 0;
            var facts = Down with
            {
                State = new() { SeenEpoch = seen, PrimaryEpoch = Flag(0) ? own : null, Initialising = Flag(1), Rebuilding = Flag(2) },
                HasData = Flag(3),
                StandbySignal = Flag(4),
                Running = Flag(5),
                Reading = Flag(6) ? new DatabaseReading { Database = "main", State = Flag(7) ? DatabaseState.Primary : DatabaseState.Standby, MarkerEpoch = own } : null,
                FencedEpoch = Flag(7) ? fenced : null,
                Confirmed = Flag(8),
            };
            var assignment = Primary with { Duty = (DatabaseDuty)duty, State = (EpochState)state, Initialise = Flag(1) };
            return DatabasePlanner.Decide(assignment, facts) is not (DatabaseStep.StartPrimary or DatabaseStep.Initialise)
                || (facts.Confirmed && !facts.Running && assignment.Duty == DatabaseDuty.Primary && !(facts.FencedEpoch >= assignment.Epoch) && assignment.Epoch >= seen);
        });

    private static DatabaseFacts Running(DatabaseState state, long marker) => DownStandby with
    {
        Running = true,
        State = new(),
        Reading = new DatabaseReading { Database = "main", State = state, MarkerEpoch = marker, Streaming = state == DatabaseState.Standby },
    };

    private static void Waits(DatabaseStep step, string why) => Assert.Contains(why, Assert.IsType<DatabaseStep.Wait>(step).Reason, StringComparison.Ordinal);
}
