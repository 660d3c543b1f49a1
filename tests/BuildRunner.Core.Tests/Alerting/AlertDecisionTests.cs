using BuildRunner.Core.Alerting;
using CsCheck;

namespace BuildRunner.Core.Tests.Alerting;

/// <summary>When the same trouble is the same incident, and when it is over.</summary>
public class AlertDecisionTests
{
    private static readonly DateTimeOffset Start = new(2026, 11, 27, 9, 0, 0, TimeSpan.Zero);
    private static readonly AlertRules Rules = new();
    private static readonly Alert Trouble = new("region_failure/us-east-1", AlertSeverity.Warning, "us-east-1 is unhealthy", "gateway: refused");

    [Theory]
    [InlineData(null)]
    [InlineData(IncidentState.Resolved)]
    public void Raise_NoIncidentOrAResolvedOne_OpensAnother(IncidentState? state)
    {
        var known = state is null ? null : Known();
        var open = Assert.IsType<AlertDecision.Open>(AlertDecision.Raise(known, state, Trouble, "inc-2", Start, Rules));
        Assert.Equal(("inc-2", AlertState.Firing, Start), (open.Record.Incident, open.Record.State, open.Record.RaisedAt));
    }

    [Theory]
    [InlineData(IncidentState.Open)]
    [InlineData(IncidentState.Acknowledged)]
    [InlineData(IncidentState.Mitigated)]
    public void Raise_AgainWhileTheIncidentIsNotOver_Keeps(IncidentState state) =>
        Assert.IsType<AlertDecision.Keep>(AlertDecision.Raise(Known(), state, Trouble, "inc-2", Start.AddHours(1), Rules));

    [Theory]
    [InlineData(AlertState.Clearing)]
    [InlineData(AlertState.Cleared)]
    public void Raise_BackBeforeTheIncidentIsOver_IsTheSameIncident(AlertState state)
    {
        var known = Known() with { State = state, QuietSince = Start };
        var back = Assert.IsType<AlertDecision.Return>(AlertDecision.Raise(known, IncidentState.Mitigated, Trouble, "inc-2", Start.AddSeconds(30), Rules));
        Assert.Equal(("inc-1", AlertState.Firing, null), (back.Record.Incident, back.Record.State, back.Record.QuietSince));
        Assert.Equal([Start.AddSeconds(30)], back.Record.Returns);
    }

    [Theory]
    [InlineData(AlertSeverity.Critical, true)]
    [InlineData(AlertSeverity.Info, false)]
    public void Raise_OtherSeverity_ChangesAndSaysWhetherItIsWorse(AlertSeverity severity, bool worse)
    {
        var raised = new Alert(Trouble.Key, severity, Trouble.Title, Trouble.Details);
        Assert.Equal(worse, Assert.IsType<AlertDecision.Change>(AlertDecision.Raise(Known(), IncidentState.Open, raised, "inc-2", Start, Rules)).Worse);
    }

    [Theory]
    [InlineData(29, false)]
    [InlineData(30, true)]
    public void Raise_DetailsThatMove_AreWrittenDownAtIntervals(int seconds, bool written)
    {
        var raised = new Alert(Trouble.Key, Trouble.Severity, Trouble.Title, "gateway: 7 failures");
        Assert.Equal(written, AlertDecision.Raise(Known(), IncidentState.Open, raised, "inc-2", Start.AddSeconds(seconds), Rules) is AlertDecision.Change);
    }

    [Theory]
    [InlineData(AlertState.Firing, true)]
    [InlineData(AlertState.Clearing, false)]
    [InlineData(AlertState.Cleared, false)]
    public void Clear_OnlyWhatFires_GrowsCalm(AlertState state, bool calm) => Assert.Equal(calm, AlertDecision.Clear(Known() with { State = state }, Start) is AlertDecision.Calm);

    [Fact]
    public void Clear_NothingKnown_Keeps() => Assert.IsType<AlertDecision.Keep>(AlertDecision.Clear(null, Start));

    [Theory]
    [InlineData(0, 119, false)]
    [InlineData(0, 120, true)]
    [InlineData(4, 120, true)]
    [InlineData(5, 120, false)] // it flaps
    [InlineData(5, 899, false)]
    [InlineData(5, 900, true)]
    public void Look_QuietForLongEnough_Settles(int returns, int seconds, bool settles)
    {
        var known = Known() with { State = AlertState.Clearing, QuietSince = Start, Returns = [.. Enumerable.Range(1, returns).Select(i => Start.AddMinutes(-i))] };
        Assert.Equal(settles, AlertDecision.Look(known, Start.AddSeconds(seconds), Rules) is AlertDecision.Settle);
    }

    [Fact]
    public void Look_ReturnsLongAgo_DoNotCountAsFlaps()
    {
        var known = Known() with { State = AlertState.Clearing, QuietSince = Start, Returns = [.. Enumerable.Range(1, 9).Select(i => Start.AddMinutes(-15 - i))] };
        Assert.IsType<AlertDecision.Settle>(AlertDecision.Look(known, Start.AddMinutes(2), Rules));
    }

    /// <summary>Whatever the order of raises, clears and looks: one incident until it is resolved, memory is bounded, and nothing settles before its quiet is over.</summary>
    [Fact]
    public void AnySequence_OneIncidentUntilItIsOver()
    {
        Gen.Select(Gen.Int[0, 2], Gen.Int[0, 400], Gen.Int[0, 2], Gen.Int[0, 3]).List[1, 60].Sample(steps =>
        {
            AlertRecord? known = null;
            IncidentState? incident = null;
            var (now, opened) = (Start, 0);
            foreach (var (act, seconds, severity, person) in steps)
            {
                now = now.AddSeconds(seconds);
                if (person == 0 && known is not null && known.State != AlertState.Firing)
                    incident = IncidentState.Resolved;
                var before = known;
                var over = incident is null or IncidentState.Resolved;
                var decision = act switch
                {
                    0 => AlertDecision.Raise(known, incident, new Alert("k/x", (AlertSeverity)severity, "t", "d"), $"inc-{opened + 1}", now, Rules),
                    1 => AlertDecision.Clear(known, now),
                    _ => known is null ? new AlertDecision.Keep { Reason = "" } : AlertDecision.Look(known, now, Rules),
                };
                Assert.NotNull(decision.Reason);
                Assert.Equal(act == 0 && over, decision is AlertDecision.Open);
                (known, incident) = decision switch
                {
                    AlertDecision.Open d => (d.Record, IncidentState.Open),
                    AlertDecision.Return d => (d.Record, IncidentState.Open),
                    AlertDecision.Change d => (d.Record, incident),
                    AlertDecision.Calm d => (d.Record, incident == IncidentState.Resolved ? incident : IncidentState.Mitigated),
                    AlertDecision.Settle d => (d.Record, IncidentState.Resolved),
                    _ => (known, incident),
                };
                if (decision is AlertDecision.Open)
                    opened++;
                else if (before is not null)
                    Assert.Equal(before.Incident, known!.Incident);
                if (decision is AlertDecision.Settle)
                    Assert.True(now - before!.QuietSince >= Rules.Quiet);
                if (act == 0)
                    Assert.Equal((AlertState.Firing, null), (known!.State, known.QuietSince));
                Assert.True(known is null || known.Returns.Count <= 32);
                Assert.True(known is null || (known.State == AlertState.Firing) == known.QuietSince is null);
            }
        }, iter: 2000);
    }

    private static AlertRecord Known() => Assert.IsType<AlertDecision.Open>(AlertDecision.Raise(null, null, Trouble, "inc-1", Start, Rules)).Record;
}
