using System.Text.Json;
using BuildRunner.Core.Alerting;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Alerting;
using BuildRunner.Server.Storage;
using static BuildRunner.Tests.Alerting.AlertingHouse;

namespace BuildRunner.Tests.Alerting;

/// <summary>What the event log and the journals say stands on one timeline, each line once, whatever is cut short.</summary>
[Trait("Category", "unit")]
public class TimelineTests
{
    private const int Limit = 60_000;
    private const string Run = "failover-1";
    private static readonly DateTimeOffset At = new(2026, 11, 27, 9, 5, 0, TimeSpan.Zero);
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static readonly string[] Story =
    [
        "Run failover-1 began: us-east-1 lost power",
        "Stop traffic, prove it silent: without an answer: not done within 5 s",
        "Stop traffic, prove it silent: attempt 2.",
        "Stop traffic, prove it silent: done in 1.5 s.",
        "Run failover-1 succeeded: all steps are done; writes stood still for 4.2 s.",
    ];

    [Fact(Timeout = Limit)]
    public async Task Pass_RunDuringAnIncident_IsOnItsTimelineAndAcknowledgesIt()
    {
        using var house = new AlertingHouse();
        await house.Timeline.RunOnceAsync(Cancel);
        await house.Alerts.RaiseAsync(Trouble(), Cancel);
        await TellAsync(house);
        for (var pass = 0; pass < 3; pass++)
            await house.Timeline.RunOnceAsync(Cancel);

        var incident = await house.OnlyAsync(Cancel);
        Assert.Equal((IncidentState.Acknowledged, "ada"), (incident.State, incident.AcknowledgedBy));
        Assert.Equal([new IncidentRun(Run, 7, true)], incident.Runs);
        Assert.Equal(["us-east-1", "us-west-1"], incident.Regions);
        Assert.Equal(Story, (await house.Book.TimelineAsync(incident.Id, Cancel)).Where(l => l.Source?.StartsWith("run/", StringComparison.Ordinal) == true).Select(l => l.Text));
        Assert.Single(await house.LinesAsync(incident.Id, Cancel), "the cable is cut");
        Assert.DoesNotContain(await house.LinesAsync(incident.Id, Cancel), l => l.Contains("token", StringComparison.Ordinal)); // not everything is everybody's
    }

    [Fact(Timeout = Limit)]
    public async Task Pass_CutShortAnywhere_EachLineStandsOnce()
    {
        for (var writes = 0; writes < 30; writes++)
        {
            using var house = new AlertingHouse();
            await house.Timeline.RunOnceAsync(Cancel);
            await house.Alerts.RaiseAsync(Trouble(), Cancel);
            await TellAsync(house);
            house.Store.CutAfter(writes);
            try { await house.Timeline.RunOnceAsync(Cancel); }
            catch (StoreException) { } // the server is gone
            house.Store.CutAfter(null);
            house.Boot();
            await house.Timeline.RunOnceAsync(Cancel);
            await house.Timeline.RunOnceAsync(Cancel);

            var incident = await house.OnlyAsync(Cancel);
            Assert.Equal(Story, (await house.Book.TimelineAsync(incident.Id, Cancel)).Where(l => l.Source?.StartsWith("run/", StringComparison.Ordinal) == true).Select(l => l.Text));
            Assert.Single(await house.LinesAsync(incident.Id, Cancel), "the cable is cut");
            Assert.True(incident.Runs.Single().Finished);
        }
    }

    [Fact(Timeout = Limit)]
    public async Task Pass_FailoverWithoutAnIncident_OpensOne_MitigatedByItsGoodEnd_AndAnAlertJoinsIt()
    {
        using var house = new AlertingHouse();
        await house.Timeline.RunOnceAsync(Cancel);
        await TellAsync(house, "us-east-1");
        await house.Timeline.RunOnceAsync(Cancel);
        await house.Loop.RunOnceAsync(Cancel);
        var incident = await house.OnlyAsync(Cancel);
        Assert.Equal((IncidentState.Mitigated, "ada", Run, null), (incident.State, incident.AcknowledgedBy, incident.Run, incident.Alert));
        Assert.Equal("failover: us-east-1 lost power", incident.Title);

        await house.Alerts.RaiseAsync(Trouble(), Cancel); // the verdict came later than the person
        incident = await house.OnlyAsync(Cancel);
        Assert.Equal((IncidentState.Acknowledged, Key, incident.Id), (incident.State, incident.Alert, (await house.Book.AlertAsync(Key, Cancel))!.Incident));
    }

    [Fact(Timeout = Limit)]
    public async Task Pass_RunThatFailsWithoutAnIncident_OpensOne()
    {
        using var house = new AlertingHouse();
        await house.Timeline.RunOnceAsync(Cancel);
        await house.JournalAsync(Started("weekly-drill", "eu-west-1") with { Run = Run }, Cancel);
        await house.Events.RecordAsync("run.started", "ada", "x", new Dictionary<string, string> { ["run"] = Run }, Cancel);
        await house.Timeline.RunOnceAsync(Cancel);
        Assert.Empty(await house.Book.ListAsync(Cancel));
        await house.JournalAsync(new RunEvent.RunFinished { At = At, State = RunPhase.Failed, Reason = "no proof", Person = "Look at `br dr status`." }, Cancel);
        await house.Events.RecordAsync("run.finished", "ada", "x", new Dictionary<string, string> { ["run"] = Run }, Cancel);
        await house.Timeline.RunOnceAsync(Cancel);
        var incident = await house.OnlyAsync(Cancel);
        Assert.Equal(("weekly-drill failed", "no proof Look at `br dr status`."), (incident.Title, incident.Details));
        Assert.True(incident.Runs.Single().Finished);
    }

    [Fact(Timeout = Limit)]
    public async Task Pass_FirstEver_BeginsNow()
    {
        using var house = new AlertingHouse();
        await TellAsync(house);
        await house.Timeline.RunOnceAsync(Cancel);
        Assert.Empty(await house.Book.ListAsync(Cancel));
    }

    [Fact(Timeout = Limit)]
    public async Task AddLine_FullTimeline_TakesNoMore()
    {
        using var house = new AlertingHouse();
        await Task.WhenAll(Enumerable.Range(0, IncidentBook.LinesMax).Select(_ => house.Store.AppendAsync(IncidentBook.Prefix + "inc-1", """{"at":"2026-11-27T09:00:00Z","kind":"note","actor":"a","text":"x"}"""u8.ToArray(), null, null, Cancel)));
        await house.Book.AddLineAsync("inc-1", new TimelineEntry { At = At, Kind = TimelineKind.Note, Actor = "a", Text = "one too many" }, null, Cancel);
        Assert.Equal(IncidentBook.LinesMax, (await house.Book.TimelineAsync("inc-1", Cancel)).Count);
    }

    [Fact(Timeout = Limit)]
    public async Task PostMortem_OfARun_SaysWhatIsKnownAndWhatIsNot()
    {
        using var house = new AlertingHouse();
        await house.Timeline.RunOnceAsync(Cancel);
        await house.Alerts.RaiseAsync(Trouble(), Cancel);
        await TellAsync(house);
        await house.Timeline.RunOnceAsync(Cancel);
        await house.Loop.RunOnceAsync(Cancel);
        var id = (await house.OnlyAsync(Cancel)).Id;
        var reader = new PostMortemReader(house.Book, house.Outbox, house.Runs);
        var text = PostMortem.Write((await reader.ReadAsync(id, Cancel))!, house.Time.GetUtcNow());
        Assert.Contains("- Requests that failed: unknown.", text, StringComparison.Ordinal);
        Assert.Contains("- Commits lost: unknown; bytes of WAL: unknown.", text, StringComparison.Ordinal);
        Assert.Contains("| Trouble began | unknown | |", text, StringComparison.Ordinal);
        Assert.Contains("the old copy follows late", text, StringComparison.Ordinal);
        Assert.Contains("this is a draft", text, StringComparison.Ordinal);

        var run = (await house.Runs.GetAsync(Run, Cancel))!;
        await house.Runs.PutAsync(run with { OutageMs = 4200, Lost = new(0, 0, 0, []), Report = JsonDocument.Parse("""{"requests_failed":17}""").RootElement }, null, Cancel);
        text = PostMortem.Write((await reader.ReadAsync(id, Cancel))!, house.Time.GetUtcNow());
        Assert.Contains("- Requests that failed: 17.", text, StringComparison.Ordinal);
        Assert.Contains("- Writes stood still for: 4.2 s.", text, StringComparison.Ordinal);
        Assert.Contains("- Commits lost: 0; bytes of WAL: 0.", text, StringComparison.Ordinal);
        Assert.Null(await reader.ReadAsync("nobody", Cancel));
    }

    private static RunEvent.RunStarted Started(string runbook, string region) => new()
    {
        At = At, Run = Run, Hash = "0", Actor = "ada", Reason = "us-east-1 lost power", Inputs = new Dictionary<string, string> { ["target"] = "us-west-1", ["from"] = region },
        Runbook = new Runbook { Name = runbook, Title = "Move a primary", Steps = [new RunbookStep { Id = "fence", Title = "Stop traffic", Summary = "prove it silent", Action = "failover.fence" }] },
    };

    /// <summary>A failover, from its beginning to its end, and a person's word in between.</summary>
    private static async Task TellAsync(AlertingHouse house, string region = "")
    {
        await house.JournalAsync(Started("failover", region), Cancel);
        await house.Events.RecordAsync("run.started", "ada", "Run failover-1 began.", new Dictionary<string, string> { ["run"] = Run }, Cancel);
        await house.Events.RecordAsync("token.created", "ada", "a token", null, Cancel);
        await house.Events.RecordAsync("note", "bob", "the cable is cut", null, Cancel);
        foreach (var happened in new RunEvent[]
        {
            new RunEvent.StepStarted { At = At, Step = "fence", Attempt = 1, Key = "k" },
            new RunEvent.StepFailed { At = At, Step = "fence", Attempt = 1, Error = "not done within 5 s", Unknown = true, Milliseconds = 5000 },
            new RunEvent.StepVerified { At = At, Step = "fence", Attempt = 1, Already = false, Detail = "no" },
            new RunEvent.StepStarted { At = At, Step = "fence", Attempt = 2, Key = "k" },
            new RunEvent.StepFinished { At = At, Step = "fence", Attempt = 2, Outputs = new Dictionary<string, string>(), Milliseconds = 1500 },
            new RunEvent.RunFinished { At = At, State = RunPhase.Succeeded, Reason = "all steps are done", Report = JsonDocument.Parse("""{"outage_ms":4200,"warnings":["the old copy follows late"]}""").RootElement },
        })
            await house.JournalAsync(happened, Cancel);
        await house.Events.RecordAsync("run.finished", "ada", "Run failover-1 succeeded.", new Dictionary<string, string> { ["run"] = Run }, Cancel);
    }
}
