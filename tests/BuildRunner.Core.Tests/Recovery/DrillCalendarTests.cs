using BuildRunner.Core.Alerting;
using BuildRunner.Core.Recovery;
using CsCheck;

namespace BuildRunner.Core.Tests.Recovery;

public class DrillCalendarTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 29, 3, 0, 30, TimeSpan.Zero);
    private static readonly DateTimeOffset Due = new(2026, 11, 29, 3, 0, 0, TimeSpan.Zero);
    private static readonly DrillSlot Failover = new() { Kind = "failover", Cron = "0 3 * * 0", Due = Due, Armed = true };
    private static readonly DrillCalendarFacts Well = new() { Now = Now, Slots = [Failover], Readiness = ReadinessVerdict.ReadyWithWarnings };

    [Fact]
    public void Decide_ArmedDueAndWell_Runs() => Assert.Equal(Due, Assert.IsType<DrillCalendarMove.Run>(DrillCalendar.Decide(Well)).Due);

    [Fact]
    public void Decide_NotArmed_OnlyEvaluates_WhateverStands() =>
        Assert.IsType<DrillCalendarMove.Evaluate>(DrillCalendar.Decide(Well with { Slots = [Failover with { Armed = false }], Freeze = "stocktaking", Readiness = ReadinessVerdict.NotReady }));

    [Fact]
    public void Decide_NothingDue_Waits() => Assert.IsType<DrillCalendarMove.Wait>(DrillCalendar.Decide(Well with { Slots = [Failover with { Due = null }] }));

    public static TheoryData<DrillCalendarFacts, string> Standing => new()
    {
        { Well with { Freeze = "stocktaking" }, "stocktaking" },
        { Well with { OpenIncidents = ["inc-1"] }, "inc-1 is open" },
        { Well with { Readiness = ReadinessVerdict.NotReady, ReadinessSentence = "no copy" }, "red: no copy" },
        { Well with { Readiness = ReadinessVerdict.Unknown }, "unknown" },
        { Well with { UnderWay = "drill-7" }, "drill-7 is under way" },
    };

    [Theory]
    [MemberData(nameof(Standing))]
    public void Decide_SomethingStandsAgainstIt_Waits_AndMissesItWhenItsHourIsOver(DrillCalendarFacts facts, string says)
    {
        Assert.Contains(says, Assert.IsType<DrillCalendarMove.Wait>(DrillCalendar.Decide(facts)).Reason, StringComparison.Ordinal);
        Assert.IsType<DrillCalendarMove.Wait>(DrillCalendar.Decide(facts with { Now = Due + DrillCalendar.LateMax }));
        Assert.Contains(says, Assert.IsType<DrillCalendarMove.Miss>(DrillCalendar.Decide(facts with { Now = Due + DrillCalendar.LateMax + TimeSpan.FromSeconds(1) })).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Decide_TheServerWasAway_MissesIt() =>
        Assert.Contains("the server was not there", Assert.IsType<DrillCalendarMove.Miss>(DrillCalendar.Decide(Well with { Now = Due.AddDays(2) })).Reason, StringComparison.Ordinal);

    [Fact]
    public void Decide_SwitchedOffOrNotYetPossible_MissesIt()
    {
        Assert.Equal("off", Assert.IsType<DrillCalendarMove.Miss>(DrillCalendar.Decide(Well with { SwitchedOff = "off" })).Reason);
        Assert.Equal("later", Assert.IsType<DrillCalendarMove.Miss>(DrillCalendar.Decide(Well with { Slots = [Failover with { Kind = "disaster", NotYet = "later" }] })).Reason);
    }

    [Fact]
    public void Standing_WhatADrillLeftBehind_DoesNotStandAgainstTheNext_UnlessUsersAreStillHurt()
    {
        var drill = new DrillRecord
        {
            Id = "drill-1", Type = "scheduled", Kind = "failover", Scenario = "s", StartedAt = Due, EndedAt = Due.AddMinutes(2), Outcome = "success", Notes = "", RtoObjectiveMinutes = 30, RpoObjectiveMinutes = 15, Failover = "failover-1",
        };
        Incident Of(string id, IncidentState state, double minutes, string? run = null) => new() { Id = id, Title = id, Severity = AlertSeverity.Critical, State = state, OpenedAt = Due.AddMinutes(minutes), Run = run };
        Assert.Equal(["hurts", "before", "after", "other-run"], DrillCalendar.Standing(
        [
            Of("own-run", IncidentState.Open, 1, "failover-1"), Of("own-alert", IncidentState.Mitigated, 1), Of("hurts", IncidentState.Open, 1), Of("before", IncidentState.Mitigated, -1), Of("after", IncidentState.Mitigated, 3),
            Of("other-run", IncidentState.Open, 1, "failover-2"), Of("over", IncidentState.Resolved, -9),
        ], [drill]).Select(i => i.Id));
    }

    public static TheoryData<DrillCalendarFacts, string?> ByHand => new()
    {
        { Well, null },
        { Well with { Readiness = ReadinessVerdict.Unknown }, null }, // nothing was evaluated yet: a person may
        { Well with { OpenIncidents = ["inc-1"] }, null }, // nobody is hurt any more
        { Well with { UnderWay = "drill-7" }, null }, // the desk refuses a second run, by its id
        { Well with { OpenIncidents = ["inc-1"], UnmitigatedIncidents = ["inc-1"] }, "inc-1 is open" },
        { Well with { Freeze = "stocktaking" }, "(stocktaking)" },
        { Well with { Readiness = ReadinessVerdict.NotReady, ReadinessSentence = "No copy streams." }, null }, // for a moment: what is looked at now decides
        { Well with { Readiness = ReadinessVerdict.NotReady, LastingRed = "No copy streams." }, "(No copy streams)" },
    };

    [Theory]
    [MemberData(nameof(ByHand))]
    public void WhyNotByHand_NobodyBreaksWhatIsBrokenOrFrozenOrCouldNotBeMended(DrillCalendarFacts facts, string? says)
    {
        var stands = DrillCalendar.WhyNotByHand(facts).ToList();
        if (says is null)
            Assert.Empty(stands);
        else
            Assert.Contains(says, Assert.Single(stands), StringComparison.Ordinal);
    }

    private static readonly Gen<DrillSlot> Slots = Gen.Select(Gen.Int[0, 3], Gen.Int[-1, 300], Gen.Bool, Gen.Int[0, 4], (kind, ago, armed, notYet) => new DrillSlot
    {
        Kind = new[] { "failover", "scenario", "data-recovery", "disaster" }[kind], Cron = "", Armed = armed, Due = ago < 0 ? null : Now.AddMinutes(-ago), NotYet = notYet == 0 ? "later" : null,
    });

    /// <summary>Nothing is ever done for real that was not armed, late, in a freeze, in an incident, beside another run, or where readiness is not known to be good.</summary>
    [Fact]
    public void Decide_Whatever_NeverBreaksAnythingThatItMayNot() => Gen.Select(Slots.List[0, 4], Gen.Bool, Gen.Int[0, 2], Gen.Enum<ReadinessVerdict>(), Gen.Bool, Gen.Bool).Sample((slots, frozen, incidents, verdict, busy, off) =>
    {
        var facts = new DrillCalendarFacts
        {
            Now = Now, Slots = slots, Freeze = frozen ? "f" : null, OpenIncidents = [.. Enumerable.Range(0, incidents).Select(i => $"inc-{i}")], Readiness = verdict, UnderWay = busy ? "r" : null, SwitchedOff = off ? "o" : null,
        };
        if (DrillCalendar.Decide(facts) is DrillCalendarMove.Run run)
        {
            Assert.True(run.Slot.Armed && run.Slot.NotYet is null && Now - run.Due <= DrillCalendar.LateMax);
            Assert.True(!frozen && incidents == 0 && !busy && !off && verdict is ReadinessVerdict.Ready or ReadinessVerdict.ReadyWithWarnings);
        }
        // Whatever is due is dealt with in the end: what waits is armed and blocked.
        if (DrillCalendar.Decide(facts) is DrillCalendarMove.Wait)
            Assert.All(slots.Where(s => s.Due is not null), s => Assert.True(s.Armed && DrillCalendar.WhyNot(facts) is not null));
    });
}
