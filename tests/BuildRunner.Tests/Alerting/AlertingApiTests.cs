using System.Diagnostics;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Access;
using BuildRunner.Client.Alerting;
using BuildRunner.Core.Alerting;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Alerting;
using BuildRunner.Server.Events;
using BuildRunner.Tests.Contracts;
using BuildRunner.Tests.Regions;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Tests.Alerting;

/// <summary>The API and the command line on a real server, and the one source that is wired.</summary>
public class AlertingApiTests
{
    private const int Limit = 90_000;
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = Limit)]
    public async Task PrimaryIsLost_RaisesWithTheCommand_AndClearsWhenItIsBack()
    {
        await using var house = await RegionsHouse.StartAsync(databases: true);
        using var reporting = new Timer(_ =>
        {
            house.Report("us-east-1", DatabaseState.Primary);
            house.Report("us-west-1", DatabaseState.Standby);
            house.Report("eu-west-1", DatabaseState.Standby);
        }, null, TimeSpan.Zero, TimeSpan.FromMilliseconds(200));
        await house.SettleAsync(Cancel);
        var client = new AlertingClient(house.Api);
        Assert.Empty((await client.ListAsync(open: true, 50, Cancel)).Incidents);

        house.Gateways["us-east-1"].Status = 500;
        await Eventually.TrueAsync(async () => (await client.ListAsync(true, 50, Cancel)).Incidents is [{ State: IncidentState.Open, Severity: AlertSeverity.Critical, Command: "br dr failover --target us-west-1 --reason \"us-east-1 is unhealthy\"" }], "an incident with the command", Cancel);
        var id = (await client.ListAsync(true, 50, Cancel)).Incidents[0].Id;
        await Eventually.TrueAsync(async () => (await client.ShowAsync(id, Cancel)).Deliveries is [{ Channel: "log", State: DeliveryState.Sent }], "the log is told", Cancel);

        house.Gateways["us-east-1"].Status = 200;
        await Eventually.TrueAsync(async () => (await client.ShowAsync(id, Cancel)).Incident.State == IncidentState.Mitigated, "mitigated", Cancel);
        house.Gateways["us-east-1"].Status = 500;
        await Eventually.TrueAsync(async () => (await client.ShowAsync(id, Cancel)).Incident.State == IncidentState.Open, "the same incident again", Cancel);
        Assert.Single((await client.ListAsync(false, 50, Cancel)).Incidents);
        await Eventually.TrueAsync(async () => (await client.AlertsAsync(Cancel)).Alerts is [{ State: AlertState.Firing }], "the alert fires again", Cancel);
    }

    [Fact(Timeout = Limit)]
    public async Task Api_WholeLifeOfAnIncident()
    {
        await using var server = await TestServer.StartAsync();
        var id = await RaiseAsync(server);
        var client = new AlertingClient(server.Connect());
        var operatorToken = await server.TokenAsync(AccessRole.Operator);
        var mine = new AlertingClient(server.Connect(operatorToken.Token));
        var viewer = new AlertingClient(server.Connect((await server.TokenAsync(AccessRole.Viewer)).Token));

        Assert.Equal(403, (int)(await Assert.ThrowsAsync<ApiException>(() => viewer.AcknowledgeAsync(id, null, Cancel))).Status);
        var detail = await mine.AcknowledgeAsync(id, "on it", Cancel);
        Assert.Equal(IncidentState.Acknowledged, detail.Incident.State);
        Assert.Equal(detail.Incident.AcknowledgedAt, (await client.AcknowledgeAsync(id, null, Cancel)).Incident.AcknowledgedAt); // so already
        Assert.Contains((await client.NoteAsync(id, "the cable is cut", Cancel)).Timeline, l => l is { Kind: TimelineKind.Note, Text: "the cable is cut" });
        Assert.Equal(IncidentState.Mitigated, (await client.MitigateAsync(id, null, Cancel)).Incident.State);
        detail = await client.AddActionAsync(id, new IncidentActionOrder { Text = "a second cable", Owner = "bob", Due = new DateOnly(2030, 1, 1) }, Cancel);
        Assert.Equal("bob", Assert.Single(detail.Incident.Actions).Owner);
        Assert.NotNull((await client.FinishActionAsync(id, 1, Cancel)).Incident.Actions[0].DoneAt);

        await RefusedAsync(2, () => client.NoteAsync(id, " ", Cancel));
        await RefusedAsync(2, () => client.NoteAsync(id, new string('x', 2001), Cancel));
        await RefusedAsync(2, () => client.AddActionAsync(id, new IncidentActionOrder { Text = "t", Owner = "o", Due = new DateOnly(2020, 1, 1) }, Cancel));
        await RefusedAsync(4, () => client.FinishActionAsync(id, 7, Cancel));
        await RefusedAsync(2, () => client.ShowAsync("inc-nowhere", Cancel));
        await RefusedAsync(2, () => client.ListAsync(false, 0, Cancel));
        await RefusedAsync(4, () => client.ResolveAsync(id, new IncidentResolution(), Cancel));
        Assert.Equal(IncidentState.Resolved, (await client.ResolveAsync(id, new IncidentResolution { Text = "spliced", Force = true }, Cancel)).Incident.State);
        await RefusedAsync(4, () => client.MitigateAsync(id, null, Cancel));
        Assert.Contains((await client.NoteAsync(id, "seen in the morning", Cancel)).Timeline, l => l.Text == "seen in the morning");

        var actors = (await server.Services.GetRequiredService<IEventLog>().ListAsync(200, Cancel)).Where(e => e.Data?.GetValueOrDefault("incident") == id && e.Kind.StartsWith("incident.", StringComparison.Ordinal)).ToLookup(e => e.Kind, e => e.Actor);
        Assert.Equal(["incident.opened", "incident.acknowledged", "incident.note", "incident.mitigated", "incident.action", "incident.action_done", "incident.resolved"], actors.Select(a => a.Key));
        Assert.Equal(operatorToken.Row.Name, actors["incident.acknowledged"].Single());
    }

    [Fact(Timeout = Limit)]
    public async Task CommandLine_ListAckNoteActionPostMortemResolve()
    {
        await using var server = await TestServer.StartAsync();
        using var folder = new TempFolder();
        var id = await RaiseAsync(server);

        using (var json = JsonDocument.Parse(await FineAsync(server, "incident", "list", "--output", "json")))
        {
            var row = json.RootElement.GetProperty("incidents").EnumerateArray().Single(i => i.GetProperty("id").GetString() == id);
            Assert.Equal(("open", "critical", 1), (row.GetProperty("state").GetString(), row.GetProperty("severity").GetString(), json.RootElement.GetProperty("schema_version").GetInt32()));
        }
        Assert.Contains("acknowledged", await FineAsync(server, "incident", "ack", id), StringComparison.Ordinal);
        await FineAsync(server, "incident", "note", id, "the", "cable", "is", "cut");
        Assert.Contains("due 2030-01-01: a second cable", await FineAsync(server, "incident", "action", "add", id, "--owner", "bob", "--due", "2030-01-01", "a second cable"), StringComparison.Ordinal);
        var shown = await FineAsync(server, "incident", "show", id);
        Assert.All(["br status --help", "the cable is cut", "a second cable", "acknowledged"], word => Assert.Contains(word, shown, StringComparison.Ordinal));
        Assert.Contains("test/trouble", await FineAsync(server, "alerts", "list"), StringComparison.Ordinal);

        var file = folder.File("pm.md");
        await FineAsync(server, "incident", "postmortem", id, "--out", file);
        Assert.All(["# Post-mortem: Trouble", "## Summary", "## Impact", "Requests that failed: unknown", "## Times", "## Timeline", "## What helped", "## What hindered", "| 1 | a second cable | bob | 2030-01-01 | open |"], part => Assert.Contains(part, File.ReadAllText(file), StringComparison.Ordinal));
        Assert.Equal(2, (await BrAsync(server, "incident", "postmortem", id, "--out", file)).Code); // somebody may have written in it
        Assert.Equal(4, (await BrAsync(server, "incident", "resolve", id)).Code);
        Assert.Contains("resolved", await FineAsync(server, "incident", "resolve", id, "--force"), StringComparison.Ordinal);
        Assert.Equal(2, (await BrAsync(server, "incident", "show", "no-such-incident")).Code);
        Assert.Equal(2, (await BrAsync(server, "incident", "action", "add", id, "--owner", "bob", "--due", "soon", "x")).Code);
    }

    [Fact]
    public void Formats_AsRecorded_AreWrittenAndReadTheSame()
    {
        var at = new DateTimeOffset(2026, 11, 27, 9, 0, 0, TimeSpan.Zero);
        var incident = new Incident
        {
            Id = "inc-20261127-090000-abcd", Title = "us-east-1 is unhealthy, and it takes the writes", Severity = AlertSeverity.Critical, State = IncidentState.Resolved, OpenedAt = at, AcknowledgedAt = at, AcknowledgedBy = "ada",
            MitigatedAt = at, ResolvedAt = at, ResolvedBy = "bob", Alert = "region_failure/us-east-1", Details = "gateway: refused.", Command = "br dr failover --target us-west-1", Regions = ["us-east-1"], Services = ["api"],
            Runs = [new IncidentRun("failover-1", 7, true)], Actions = [new IncidentAction { Number = 1, Text = "t", Owner = "o", Due = new DateOnly(2026, 12, 1), AddedAt = at, AddedBy = "ada", DoneAt = at, DoneBy = "o" }],
        };
        FormatTests.Form("incident.v1.json", IncidentJson.Default.Incident, incident);
        FormatTests.Form("incident-line.v1.json", IncidentJson.Default.TimelineEntry, new TimelineEntry { At = at, Kind = TimelineKind.Step, Actor = "ada", Text = "done", Source = "run/failover-1#3" });
        FormatTests.Form("alert.v1.json", IncidentJson.Default.AlertRecord, new AlertRecord
        {
            Key = "region_failure/us-east-1", State = AlertState.Clearing, Severity = AlertSeverity.Critical, Title = "t", Details = "d", Command = "c", Regions = ["us-east-1"], Incident = incident.Id, RaisedAt = at, ChangedAt = at, QuietSince = at, Returns = [at],
        });
        var delivery = new Delivery { Channel = "slack", State = DeliveryState.Failed, Attempts = 10, NextAt = at, EndedAt = at, Error = "no route", Notification = ChannelContract.Notification("inc-1/opened") };
        FormatTests.Form("delivery.v1.json", AlertingJson.Default.Delivery, delivery);
        FormatTests.ShapeIs("incident-list.v1.txt", AlertingJson.Default.IncidentList, new IncidentList { Incidents = [incident] });
        FormatTests.ShapeIs("alerts-list.v1.txt", AlertingJson.Default.AlertList, new AlertList { Alerts = [], Channels = [new ChannelItem { Name = "slack", Type = "slack", Problem = "p", LastError = "e", LastSentAt = at }] });
    }

    private static async Task<string> RaiseAsync(TestServer server)
    {
        var alerts = server.Services.GetRequiredService<IAlerts>();
        var client = new AlertingClient(server.Connect());
        string? id = null;
        await Eventually.TrueAsync(async () =>
        {
            await alerts.RaiseAsync("test/trouble", AlertSeverity.Critical, "Trouble", "Something is wrong.", "br status --help", Cancel); // nothing happens until the server leads
            id = (await client.ListAsync(true, 50, Cancel)).Incidents.FirstOrDefault(i => i.Alert == "test/trouble")?.Id;
            return id is not null;
        }, "an incident", Cancel);
        return id!;
    }

    private static async Task RefusedAsync(int code, Func<Task> act) => Assert.Equal(code, (await Assert.ThrowsAsync<ApiException>(act)).Problem.ExitCode);

    private static async Task<string> FineAsync(TestServer server, params string[] arguments)
    {
        var (code, said, error) = await BrAsync(server, arguments);
        Assert.True(code == 0, $"exit {code}\n{said}\n{error}");
        return said;
    }

    private static async Task<(int Code, string Out, string Error)> BrAsync(TestServer server, params string[] arguments)
    {
        var start = new ProcessStartInfo(BrExecutable.Path, [.. arguments, "--server", server.Address.ToString(), "--token-file", Path.Combine(server.Folder, "token")]) { RedirectStandardOutput = true, RedirectStandardError = true };
        using var process = Process.Start(start)!;
        var (said, error) = (process.StandardOutput.ReadToEndAsync(Cancel), process.StandardError.ReadToEndAsync(Cancel));
        await process.WaitForExitAsync(Cancel);
        return (process.ExitCode, await said, await error);
    }
}
