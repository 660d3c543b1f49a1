using BuildRunner.Core.Alerting;
using static BuildRunner.Tests.Alerting.AlertingHouse;

namespace BuildRunner.Tests.Alerting;

/// <summary>What is raised becomes one incident of which people hear once, whatever is cut short.</summary>
[Trait("Category", "unit")]
public class AlertsTests
{
    private const int Limit = 60_000;
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = Limit)]
    public async Task Raise_AtEveryPass_IsOneIncidentAndOneNotificationAChannel()
    {
        using var house = new AlertingHouse();
        for (var pass = 0; pass < 5; pass++)
        {
            await house.Alerts.RaiseAsync(Trouble(), Cancel);
            await house.Loop.RunOnceAsync(Cancel);
            house.Time.Advance(TimeSpan.FromMinutes(1));
        }

        var incident = await house.OnlyAsync(Cancel);
        Assert.Equal((IncidentState.Open, AlertSeverity.Critical, Key), (incident.State, incident.Severity, incident.Alert));
        Assert.Equal("opened", Assert.Single(house.Page.Told).What);
        Assert.Single(await File.ReadAllLinesAsync(house.File, Cancel));
        Assert.Equal(3, (await house.LinesAsync(incident.Id, Cancel)).Count); // opened, and two channels told
        Assert.Contains(await house.Events.ListAsync(50, Cancel), e => e.Kind == "incident.opened" && e.Data!["incident"] == incident.Id);
    }

    [Fact(Timeout = Limit)]
    public async Task Clear_ThenBackWithinTheDamper_IsOneIncidentOfWhichNobodyHearsTwice()
    {
        using var house = new AlertingHouse();
        for (var flap = 0; flap < 4; flap++)
        {
            await house.Alerts.RaiseAsync(Trouble(), Cancel);
            Assert.Equal(IncidentState.Open, (await house.OnlyAsync(Cancel)).State);
            house.Time.Advance(TimeSpan.FromSeconds(60));
            await house.Alerts.ClearAsync(Key, "healthy again", Cancel);
            Assert.Equal(IncidentState.Mitigated, (await house.OnlyAsync(Cancel)).State);
            house.Time.Advance(TimeSpan.FromSeconds(60));
            await house.AlertLoop.RunOnceAsync(Cancel);
            await house.Loop.RunOnceAsync(Cancel);
        }
        Assert.Single(house.Page.Told);

        house.Time.Advance(TimeSpan.FromSeconds(60));
        await house.AlertLoop.RunOnceAsync(Cancel);
        await house.Loop.RunOnceAsync(Cancel);
        var incident = await house.OnlyAsync(Cancel);
        Assert.Equal((IncidentState.Resolved, "server"), (incident.State, incident.ResolvedBy));
        Assert.Equal(["opened", "resolved"], house.Page.Told.Select(n => n.What));
        Assert.Single(house.Page.Told.Select(n => n.Group).Distinct());

        await house.Alerts.RaiseAsync(Trouble(), Cancel);
        Assert.Equal(2, (await house.Book.ListAsync(Cancel)).Count); // after resolution it is another
    }

    [Fact(Timeout = Limit)]
    public async Task Clear_AcknowledgedByAPerson_IsHisToResolve_AndBackIsTold()
    {
        using var house = new AlertingHouse();
        await house.Alerts.RaiseAsync(Trouble(), Cancel);
        var id = (await house.OnlyAsync(Cancel)).Id;
        await house.Book.MoveAsync(id, i => IncidentMove.Acknowledge(i, "ada", house.Time.GetUtcNow()), TimelineKind.State, "acknowledged", "ada", null, null, Cancel);
        await house.Alerts.ClearAsync(Key, null, Cancel);
        house.Time.Advance(TimeSpan.FromMinutes(3));
        await house.AlertLoop.RunOnceAsync(Cancel);
        Assert.Equal(IncidentState.Mitigated, (await house.OnlyAsync(Cancel)).State);

        await house.Alerts.RaiseAsync(Trouble(), Cancel);
        await house.Loop.RunOnceAsync(Cancel);
        Assert.Equal((IncidentState.Acknowledged, null), ((await house.OnlyAsync(Cancel)).State, (await house.OnlyAsync(Cancel)).MitigatedAt));
        Assert.Equal(["opened", "returned"], house.Page.Told.Select(n => n.What));
    }

    [Fact(Timeout = Limit)]
    public async Task Raise_Worse_IsToldAgainAndKeepsTheWorst()
    {
        using var house = new AlertingHouse();
        await house.Alerts.RaiseAsync(Trouble(AlertSeverity.Warning), Cancel);
        await house.Alerts.RaiseAsync(Trouble(AlertSeverity.Critical, "us-east-1 is gone"), Cancel);
        await house.Alerts.RaiseAsync(Trouble(AlertSeverity.Info), Cancel);
        await house.Loop.RunOnceAsync(Cancel);
        Assert.Equal(AlertSeverity.Critical, (await house.OnlyAsync(Cancel)).Severity);
        Assert.Equal(["opened", "worsened"], house.Page.Told.Select(n => n.What));
    }

    [Fact(Timeout = Limit)]
    public async Task Resolve_WhileItFires_NeedsForce_AndWhatFiresOnIsAnother()
    {
        using var house = new AlertingHouse();
        await house.Alerts.RaiseAsync(Trouble(), Cancel);
        var id = (await house.OnlyAsync(Cancel)).Id;
        Assert.IsType<IncidentMove.Refused>(await house.Alerts.ResolveAsync(id, "ada", null, force: false, Cancel));
        Assert.IsType<IncidentMove.Changed>(await house.Alerts.ResolveAsync(id, "ada", "false alarm", force: true, Cancel));
        Assert.IsType<IncidentMove.Nothing>(await house.Alerts.ResolveAsync(id, "ada", null, force: false, Cancel));
        Assert.Null(await house.Alerts.ResolveAsync("nobody", "ada", null, force: false, Cancel));
        Assert.Equal(AlertState.Cleared, (await house.Book.AlertAsync(Key, Cancel))!.State);

        await house.Alerts.RaiseAsync(Trouble(), Cancel);
        Assert.Equal([IncidentState.Open, IncidentState.Resolved], (await house.Book.ListAsync(Cancel)).Select(i => i.State).Order());
    }

    /// <summary>The server dies after any of its writes; the source raises again on the next one.</summary>
    [Fact(Timeout = Limit)]
    public async Task Raise_CutShortAnywhere_AndRaisedAgain_IsOneIncidentToldOnceWithOneOpening()
    {
        var cuts = 0;
        for (var writes = 0; ; writes++)
        {
            using var house = new AlertingHouse();
            house.Store.CutAfter(writes);
            await house.Alerts.RaiseAsync(Trouble(), Cancel); // a store that fails never fails the caller
            var whole = await house.Book.AlertAsync(Key, Cancel) is not null;
            house.Store.CutAfter(null);
            house.Boot();
            house.Time.Advance(TimeSpan.FromSeconds(7));
            await house.Alerts.RaiseAsync(Trouble(), Cancel);
            await house.Loop.RunOnceAsync(Cancel);

            var incident = await house.OnlyAsync(Cancel);
            Assert.Equal(incident.Id, (await house.Book.AlertAsync(Key, Cancel))!.Incident);
            Assert.Equal("opened", Assert.Single(house.Page.Told).What);
            Assert.Single(await house.LinesAsync(incident.Id, Cancel), l => l.StartsWith("Opened", StringComparison.Ordinal));
            if (whole)
                break;
            cuts++;
        }
        Assert.True(cuts > 4, $"{cuts} cuts");
    }

    [Fact(Timeout = Limit)]
    public async Task Raise_NotLeading_DoesNothing()
    {
        using var house = new AlertingHouse { Leads = false };
        await house.Alerts.RaiseAsync(Trouble(), Cancel);
        await house.Alerts.ClearAsync(Key, null, Cancel);
        await house.AlertLoop.RunOnceAsync(Cancel);
        await house.Loop.RunOnceAsync(Cancel);
        await house.Timeline.RunOnceAsync(Cancel);
        Assert.Empty(await house.Book.ListAsync(Cancel));
        Assert.Empty(await house.Store.ListAsync("", Cancel));
    }

    [Fact(Timeout = Limit)]
    public async Task Raise_MoreThanAnybodyCanLookAfter_OpensNoMore()
    {
        using var house = new AlertingHouse();
        for (var i = 0; i < IncidentRetention.OpenMax + 3; i++)
            await house.Alerts.RaiseAsync(new Alert($"flood/{i}", AlertSeverity.Info, "t", "d"), Cancel);
        Assert.Equal(IncidentRetention.OpenMax, (await house.Book.ListAsync(Cancel)).Count);
    }
}
