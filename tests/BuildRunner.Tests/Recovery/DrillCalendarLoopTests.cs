using System.Text;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Access;
using BuildRunner.Client.Recovery;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Alerting;
using BuildRunner.Server.Events;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Recovery.Drills;
using BuildRunner.Server.Recovery.Readiness;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace BuildRunner.Tests.Recovery;

/// <summary>The calendar and the evidence over the whole server; the calendar's clock is the test's.</summary>
public sealed class DrillCalendarLoopTests
{
    /// <summary>A Saturday; the weekly drill is due on Sundays at 03:00, the monthly one on the first.</summary>
    private static readonly DateTimeOffset Saturday = new(2030, 1, 5, 12, 0, 0, TimeSpan.Zero);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 60_000)]
    public async Task Calendar_NotArmed_IsEvaluatedOnce_Armed_WaitsForAGoodHour_AndIsMissedWhenThereWasNone()
    {
        await using var server = await TestServer.StartAsync();
        var time = new FakeTimeProvider(Saturday);
        using var loop = await TakeOverAsync(server, time);
        var api = server.Connect();

        await loop.RunOnceAsync(Cancel);
        Assert.Empty((await api.DrillsAsync(Cancel)).Drills);

        // Sunday: nobody armed it, and the house is not well: evaluated, refused, once.
        time.SetUtcNow(new(2030, 1, 6, 3, 0, 5, TimeSpan.Zero));
        await loop.RunOnceAsync(Cancel);
        await loop.RunOnceAsync(Cancel);
        var evaluation = Assert.Single((await api.DrillsAsync(Cancel)).Drills);
        Assert.Equal(("failover", true, "refused", "scheduled"), (evaluation.Kind, evaluation.DryRun, evaluation.Outcome, evaluation.Type));
        Assert.NotEmpty(evaluation.Notes);
        Assert.Empty((await api.DrillsAsync(Cancel)).Trends);

        // Armed, and readiness is not known: nothing is broken, and two hours later the time is missed.
        await api.ArmAsync(new ArmOrder { Kind = "failover" }, Cancel);
        time.SetUtcNow(new(2030, 1, 13, 3, 0, 5, TimeSpan.Zero));
        await loop.RunOnceAsync(Cancel);
        Assert.Equal(DrillCalendarWord.Evaluated, (await RowAsync(api, "failover")).Last!.Did);
        time.SetUtcNow(new(2030, 1, 13, 5, 0, 6, TimeSpan.Zero));
        await loop.RunOnceAsync(Cancel);
        var missed = (await RowAsync(api, "failover")).Last!;
        Assert.Equal(DrillCalendarWord.Missed, missed.Did);
        Assert.Contains("readiness is unknown", missed.Reason, StringComparison.Ordinal);
        Assert.Equal(new DateTimeOffset(2030, 1, 13, 3, 0, 0, TimeSpan.Zero), missed.Due);

        // Readiness is good: the run is asked for, and what it is refused for is kept.
        time.SetUtcNow(new(2030, 1, 20, 3, 0, 5, TimeSpan.Zero));
        await ReadyAsync(server, time);
        await loop.RunOnceAsync(Cancel);
        var refused = (await RowAsync(api, "failover")).Last!;
        Assert.Equal((DrillCalendarWord.Missed, (string?)null), (refused.Did!.Value, refused.Run));
        Assert.DoesNotContain("readiness", refused.Reason, StringComparison.Ordinal);

        // A freeze.
        time.SetUtcNow(new(2030, 1, 27, 3, 0, 5, TimeSpan.Zero));
        await ReadyAsync(server, time);
        await server.Services.GetRequiredService<PolicySource>().SetFreezeAsync(new Freeze("stocktaking", "ada", DateTimeOffset.UtcNow, DateTimeOffset.UtcNow.AddHours(1)), Cancel);
        await loop.RunOnceAsync(Cancel);
        Assert.Equal(refused.Due, (await RowAsync(api, "failover")).Last!.Due);
        Assert.Contains("stocktaking", (await api.ScheduleAsync(Cancel)).WhyNotNow, StringComparison.Ordinal);

        // The first of February: what restores from backups says that it cannot be done yet when its time comes.
        time.SetUtcNow(new(2030, 2, 15, 4, 0, 5, TimeSpan.Zero));
        for (var pass = 0; pass < 4; pass++)
            await loop.RunOnceAsync(Cancel);
        Assert.Contains("Backups", (await RowAsync(api, "disaster")).Last!.Reason, StringComparison.Ordinal);
        Assert.True((await server.Services.GetRequiredService<IEventLog>().ListAsync(100, Cancel)).Count(e => e.Kind == "drill.missed") >= 3);
    }

    [Fact(Timeout = 60_000)]
    public async Task Arm_WhoMayAndWhatMay_AndItEndsByItself()
    {
        await using var server = await TestServer.StartAsync();
        var api = server.Connect();
        var armed = await api.ArmAsync(new ArmOrder { Kind = "scenario", Until = DateTimeOffset.UtcNow.AddDays(30) }, Cancel);
        Assert.True(armed.Schedule.Single(r => r.Kind == "scenario") is { Armed: true, ArmedUntil: not null, ArmedBy: not null, Next: not null });
        Assert.False(armed.Schedule.Single(r => r.Kind == "failover").Armed);
        var book = server.Services.GetRequiredService<DrillCalendarBook>();
        Assert.Null(await book.ArmedAsync("scenario", DateTimeOffset.UtcNow.AddDays(31), Cancel));
        Assert.False((await api.ArmAsync(new ArmOrder { Kind = "scenario", Off = true }, Cancel)).Schedule.Single(r => r.Kind == "scenario").Armed);

        foreach (var bad in new[] { new ArmOrder { Kind = "disaster" }, new ArmOrder { Kind = "picnic" }, new ArmOrder { Kind = "failover", Until = DateTimeOffset.UtcNow.AddDays(-1) }, new ArmOrder { Kind = "failover", Until = DateTimeOffset.UtcNow.AddYears(2) } })
            await Assert.ThrowsAsync<ApiException>(() => api.ArmAsync(bad, Cancel));
        var viewer = server.Connect((await server.TokenAsync(AccessRole.Operator)).Token);
        Assert.Equal(System.Net.HttpStatusCode.Forbidden, (await Assert.ThrowsAsync<ApiException>(() => viewer.ArmAsync(new ArmOrder { Kind = "failover" }, Cancel))).Status);
    }

    [Fact(Timeout = 60_000)]
    public async Task Evidence_SaysWhoChangedTheObjectives_NamesItsGaps_AndIsSignedByTheServersKey()
    {
        using var folder = new TempFolder();
        byte[] file;
        EvidenceSignature key;
        await using (var server = await TestServer.StartAsync(folder.Path))
        {
            var api = server.Connect();
            var source = server.Services.GetRequiredService<PolicySource>();
            Assert.IsType<PolicyOutcome.Applied>(await source.ApplyAsync(Encoding.UTF8.GetBytes(source.Now.Text.Replace("rto_minutes: 30", "rto_minutes: 20", StringComparison.Ordinal)), "policy.yml", "ada", null, Cancel));
            file = await api.EvidenceAsync(DateTimeOffset.UtcNow.AddDays(-30), DateTimeOffset.UtcNow.AddMinutes(1), Cancel);
            key = (await api.EvidenceKeyAsync(Cancel)).Key;
            await Assert.ThrowsAsync<ApiException>(() => api.EvidenceAsync(DateTimeOffset.UtcNow, DateTimeOffset.UtcNow.AddDays(-1), Cancel));
        }
        var genuine = Assert.IsType<EvidenceVerdict.Genuine>(EvidenceFile.Verify(file, key.Fingerprint));
        Assert.True(genuine.Vouched);
        var evidence = genuine.Evidence;
        Assert.Equal(("ada", 20.0, 15.0), (evidence.Objectives[^1].By, evidence.Objectives[^1].RtoMinutes!.Value, evidence.Objectives[^1].RpoMinutes!.Value));
        Assert.Equal(evidence.Objectives[^1].From, evidence.Objectives[^2].To);
        Assert.Equal(30, evidence.Objectives[^2].RtoMinutes);
        foreach (var gap in new[] { "No drill of the kind failover succeeded", "disaster was possible", "No backup is recorded", "No restore was tried", "Nothing is known from before" })
            Assert.Contains(evidence.Gaps, g => g.Contains(gap, StringComparison.Ordinal));

        // The key is the same after a restart, and nobody else's to read.
        var path = folder.File("evidence-key.pem");
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
        Assert.Equal(key.Fingerprint, new EvidenceKey(folder.Path).Public().Fingerprint);
        File.WriteAllText(path, "rubbish");
        Assert.Contains("no private key", Assert.Throws<InvalidOperationException>(() => new EvidenceKey(folder.Path).Public()).Message, StringComparison.Ordinal);
    }

    private static async Task<ScheduleRow> RowAsync(ApiConnection api, string kind) => (await api.ScheduleAsync(Cancel)).Schedule.Single(r => r.Kind == kind);

    /// <summary>The server's own loop ends; another with the test's clock takes its place, and knows of no time before it.</summary>
    private static async Task<DrillCalendarLoop> TakeOverAsync(TestServer server, TimeProvider time)
    {
        var services = server.Services;
        var lead = services.GetRequiredService<Lead>();
        await Eventually.TrueAsync(() => lead() is not null, "the server leads", Cancel);
        await services.GetRequiredService<DrillCalendarLoop>().StopAsync(Cancel);
        await services.GetRequiredService<ReadinessLoop>().StopAsync(Cancel);
        var store = services.GetRequiredService<IStore>();
        foreach (var entry in await store.ListAsync(DrillCalendarBook.CalendarPrefix, Cancel))
            await store.DeleteAsync(entry.Key, null, null, Cancel);
        return new DrillCalendarLoop(
            services.GetRequiredService<DrillCalendarBook>(), services.GetRequiredService<DrillGround>(), services.GetRequiredService<RunDesk>(), services.GetRequiredService<IPolicySource>(), services.GetRequiredService<IEventLog>(), lead, time, NullLogger<DrillCalendarLoop>.Instance);
    }

    private static async Task ReadyAsync(TestServer server, FakeTimeProvider time) => await server.Services.GetRequiredService<ReadinessRecords>().PutAsync(
        new ReadinessReport { Verdict = ReadinessVerdict.Ready, Sentence = "well", EvaluatedAt = time.GetUtcNow() }, server.Services.GetRequiredService<Lead>()()!.Value, Cancel);
}
