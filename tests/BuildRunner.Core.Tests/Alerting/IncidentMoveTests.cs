using BuildRunner.Core.Alerting;
using CsCheck;

namespace BuildRunner.Core.Tests.Alerting;

/// <summary>What people and alerts can make of an incident.</summary>
public class IncidentMoveTests
{
    private static readonly DateTimeOffset Start = new(2026, 11, 27, 9, 0, 0, TimeSpan.Zero);

    public static Incident New(string id = "inc-1", IncidentState state = IncidentState.Open, AlertSeverity severity = AlertSeverity.Warning, int minutes = 0, params string[] regions) => new()
    {
        Id = id, Title = "t", Severity = severity, State = state, OpenedAt = Start.AddMinutes(minutes), Alert = "k/x", Regions = regions,
        ResolvedAt = state == IncidentState.Resolved ? Start.AddMinutes(minutes + 1) : null, ResolvedBy = state == IncidentState.Resolved ? "ada" : null,
    };

    public static AlertRecord Alert(AlertSeverity severity = AlertSeverity.Warning) =>
        new() { Key = "k/x", State = AlertState.Firing, Severity = severity, Title = "worse", Details = "d", Incident = "inc-1", RaisedAt = Start, ChangedAt = Start, Regions = ["us-east-1"] };

    [Theory]
    [InlineData(IncidentState.Open, IncidentState.Acknowledged)]
    [InlineData(IncidentState.Mitigated, IncidentState.Mitigated)]
    public void Acknowledge_NobodyHasIt_IsTheActors(IncidentState before, IncidentState after)
    {
        var changed = Assert.IsType<IncidentMove.Changed>(IncidentMove.Acknowledge(New(state: before), "ada", Start.AddMinutes(3)));
        Assert.Equal((after, "ada", Start.AddMinutes(3)), (changed.Incident.State, changed.Incident.AcknowledgedBy, changed.Incident.AcknowledgedAt));
        Assert.Contains("ada", Assert.IsType<IncidentMove.Nothing>(IncidentMove.Acknowledge(changed.Incident, "bob", Start.AddMinutes(4))).Reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null, false, true)]
    [InlineData("the alert still fires", false, false)]
    [InlineData("the alert still fires", true, true)]
    public void Resolve_WhileTheAlertFires_NeedsForce(string? firing, bool force, bool resolved) =>
        Assert.Equal(resolved, IncidentMove.Resolve(New(), "ada", firing, force, Start) is IncidentMove.Changed { Incident.State: IncidentState.Resolved });

    [Theory]
    [InlineData(false, IncidentState.Open)]
    [InlineData(true, IncidentState.Acknowledged)]
    public void Worsen_AfterMitigation_IsOpenAgainOrStillInHand(bool acknowledged, IncidentState expected)
    {
        var incident = New();
        if (acknowledged)
            incident = Changed(IncidentMove.Acknowledge(incident, "ada", Start));
        incident = Changed(IncidentMove.Mitigate(incident, Start.AddMinutes(1), "well"));
        incident = Changed(IncidentMove.Worsen(incident, Alert(AlertSeverity.Critical), "back"));
        Assert.Equal((expected, null, AlertSeverity.Critical), (incident.State, incident.MitigatedAt, incident.Severity));
        Assert.Equal(AlertSeverity.Critical, Changed(IncidentMove.Worsen(incident, Alert(AlertSeverity.Info), "less")).Severity); // the worst that it was
    }

    [Fact]
    public void Actions_AddedDoneAndOverdue()
    {
        var due = new DateOnly(2026, 12, 1);
        var incident = Changed(IncidentMove.AddAction(New(), "mend the cable", "bob", due, "ada", Start));
        Assert.Equal([false, false, true], new[] { due.AddDays(-1), due, due.AddDays(1) }.Select(incident.Actions[0].Overdue));
        incident = Changed(IncidentMove.FinishAction(incident, 1, "bob", Start));
        Assert.False(incident.Actions[0].Overdue(due.AddDays(1)));
        Assert.IsType<IncidentMove.Nothing>(IncidentMove.FinishAction(incident, 1, "bob", Start));
        Assert.IsType<IncidentMove.Refused>(IncidentMove.FinishAction(incident, 2, "bob", Start));
        for (var i = incident.Actions.Count; i < IncidentMove.ActionsMax; i++)
            incident = Changed(IncidentMove.AddAction(incident, "more", "bob", due, "ada", Start));
        Assert.IsType<IncidentMove.Refused>(IncidentMove.AddAction(incident, "one too many", "bob", due, "ada", Start));
    }

    /// <summary>Whatever is done in whatever order: what is resolved stays so, a state has its times, and the severity is the worst.</summary>
    [Fact]
    public void AnySequence_ResolvedIsTheEnd()
    {
        Gen.Select(Gen.Int[0, 7], Gen.Int[0, 100], Gen.Int[0, 2]).List[1, 40].Sample(steps =>
        {
            var (incident, now) = (New(), Start);
            foreach (var (act, seconds, severity) in steps)
            {
                now = now.AddSeconds(seconds);
                var before = incident;
                var move = act switch
                {
                    0 or 1 => IncidentMove.Acknowledge(incident, "ada", now),
                    2 => IncidentMove.Mitigate(incident, now, "well"),
                    3 or 4 => IncidentMove.Worsen(incident, Alert((AlertSeverity)severity), "back"),
                    5 => IncidentMove.Attach(incident, $"run-{seconds % 3}", ["eu-west-1"]),
                    6 => IncidentMove.Join(incident, Alert()),
                    _ => IncidentMove.Resolve(incident, "bob", severity == 0 ? "fires" : null, severity == 1, now),
                };
                incident = move is IncidentMove.Changed changed ? changed.Incident : incident;
                if (before.Ended && act != 5)
                    Assert.Same(before, incident);
                Assert.Equal(incident.State == IncidentState.Resolved, incident.ResolvedAt is not null);
                Assert.Equal(incident.State is IncidentState.Mitigated or IncidentState.Resolved, incident.MitigatedAt is not null);
                Assert.True(incident.State != IncidentState.Acknowledged || incident.AcknowledgedAt is not null);
                Assert.True(incident.Severity >= before.Severity && incident.Runs.Count <= IncidentMove.RunsMax);
                Assert.True(incident.Runs.Select(r => r.Id).Distinct().Count() == incident.Runs.Count);
            }
        }, iter: 2000);
    }

    [Fact]
    public void Retention_OnlyWhatIsOverGoes_OldestFirst_AndWorkLeftLast()
    {
        var work = New("work", IncidentState.Resolved, minutes: 0) with { Actions = [new IncidentAction { Number = 1, Text = "t", Owner = "o", Due = new DateOnly(2026, 12, 1), AddedAt = Start, AddedBy = "a" }] };
        Incident[] all = [New("open"), work, New("old", IncidentState.Resolved, minutes: 1), New("new", IncidentState.Resolved, minutes: 2)];
        Assert.Empty(IncidentRetention.Excess(all, 4));
        Assert.Equal(["old"], IncidentRetention.Excess(all, 3));
        Assert.Equal(["old", "new", "work"], IncidentRetention.Excess(all, 0));
    }

    [Fact]
    public void Timeline_LinesCopiedTwice_ShowOnceAndInOrder()
    {
        TimelineEntry[] lines = [Line(2, "b", "run/1#2"), Line(1, "a", "run/1#1"), Line(2, "b again", "run/1#2"), Line(3, "same", null), Line(3, "same", null)];
        Assert.Equal(["a", "b", "same", "same"], TimelineEntry.InOrder(lines).Select(l => l.Text));

        static TimelineEntry Line(int minute, string text, string? source) => new() { At = Start.AddMinutes(minute), Kind = TimelineKind.Step, Actor = "a", Text = text, Source = source };
    }

    private static Incident Changed(IncidentMove move) => Assert.IsType<IncidentMove.Changed>(move).Incident;
}
