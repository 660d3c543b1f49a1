using System.Net;
using System.Net.Http.Json;
using BuildRunner.Client;
using BuildRunner.Client.Access;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Recovery.BreakGlass;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;

namespace BuildRunner.Tests.Recovery;

/// <summary>A server comes back to hosts that have obeyed another one: it only reads, until it has adopted that one's journal.</summary>
public sealed class AdoptionTests : IDisposable
{
    private static readonly DateTimeOffset Now = new(2026, 11, 27, 3, 0, 0, TimeSpan.Zero);
    private readonly TempFolder _journal = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => _journal.Dispose();

    [Fact(Timeout = 120_000)]
    public async Task Server_AHostObeyedAnother_OnlyReadsUntilItHasAdopted()
    {
        await using var server = await TestServer.StartAsync();
        var api = server.Connect();
        var own = await RecordAsync(server);
        Assert.Equal(("us-east-1", 1L), (own.Primary, own.Epoch));
        var theirs = own with { Epoch = 2, Primary = "us-west-1", Candidates = ["us-west-1", "eu-west-1"], Run = "failover-1", Former = new(1, "us-east-1", Proof(), null, null), At = Now };
        var bundle = await JournalAsync(theirs);
        Assert.True(bundle.Token > BreakGlassLead);

        await ReportAsync(server, "us-west-1", seenEpoch: 2, token: bundle.Token - 1);
        var standing = server.Services.GetRequiredService<Standing>();
        await Eventually.TrueAsync(() => standing.Overtaken is not null, "the server knows that it was overtaken", Cancel);
        Assert.Null(server.Services.GetRequiredService<LeaderLease>().Acting);
        var refused = await Assert.ThrowsAsync<ApiException>(() => new RunbooksClient(api).StartAsync(
            new RunRequest { Runbook = "planned-maintenance", Inputs = new Dictionary<string, string> { ["region"] = "us-west-1" }, Reason = "test" }, Cancel));
        Assert.Equal((HttpStatusCode.Conflict, 4), (refused.Status, refused.Problem.ExitCode));
        Assert.Contains(refused.Problem.Errors!, e => e.Contains("br server adopt", StringComparison.Ordinal));

        var answer = await api.AdoptAsync(bundle, Cancel);
        Assert.False(answer.Already);
        Assert.True(answer.Token > bundle.Token);
        var record = await RecordAsync(server);
        Assert.Equal(("us-west-1", 2L, EpochState.Open), (record.Primary, record.Epoch, record.State));
        Assert.Equal(["eu-west-1", "us-east-1", "us-west-1"], record.Candidates.Order(StringComparer.Ordinal));
        await Eventually.TrueAsync(() => standing.Overtaken is null, "the server acts again", Cancel);
        Assert.NotNull(server.Services.GetRequiredService<LeaderLease>().Acting);
        Assert.Contains((await new RunbooksClient(api).RunsAsync(Cancel)).Runs, r => r.Id == "failover-1" && r.State == RunPhase.Succeeded);

        Assert.True((await api.AdoptAsync(bundle, Cancel)).Already);
        Assert.Equal(record, await RecordAsync(server) with { Candidates = record.Candidates, Sync = record.Sync });
    }

    /// <summary>A token alone says it too: nothing moved, but somebody else has told the hosts what to do.</summary>
    [Fact(Timeout = 60_000)]
    public async Task Server_AHostObeyedAHigherTokenAtTheSameEpoch_OnlyReads()
    {
        await using var server = await TestServer.StartAsync();
        await ReportAsync(server, "us-west-1", seenEpoch: 1, token: 5000);
        var standing = server.Services.GetRequiredService<Standing>();
        await Eventually.TrueAsync(() => standing.Overtaken is not null, "the server knows that it was overtaken", Cancel);
    }

    [Fact(Timeout = 60_000)]
    public async Task Adopt_AnotherHousesOrAnOpenJournal_IsRefusedAndChangesNothing()
    {
        await using var server = await TestServer.StartAsync();
        var own = await RecordAsync(server);
        var strange = await JournalAsync(own with { Epoch = 2, Lineage = "another", Primary = "us-west-1" });
        Assert.Equal(4, (await Assert.ThrowsAsync<ApiException>(() => server.Connect().AdoptAsync(strange, Cancel))).Problem.ExitCode);
        var open = strange with { Closed = false, Records = [own with { Epoch = 2, Primary = "us-west-1" }] };
        Assert.Equal(4, (await Assert.ThrowsAsync<ApiException>(() => server.Connect().AdoptAsync(open, Cancel))).Problem.ExitCode);
        Assert.Equal(own.Epoch, (await RecordAsync(server)).Epoch);
    }

    /// <summary>A server that finds an epoch in its store listens first: hosts that obeyed another have called in before it acts.</summary>
    [Fact(Timeout = 60_000)]
    public async Task Server_StartedAgain_ListensBeforeItActs()
    {
        using var folder = new TempFolder();
        await using (var first = await TestServer.StartAsync(folder.Path))
        {
            await RecordAsync(first);
            Assert.NotNull(first.Services.GetRequiredService<LeaderLease>().Acting); // nothing can have been done before the first epoch
        }
        await using var again = await TestServer.StartAsync(folder.Path);
        var lease = again.Services.GetRequiredService<LeaderLease>();
        Assert.Null(lease.Acting);
        Assert.NotNull(lease.Current);
        foreach (var region in new[] { "us-west-1", "eu-west-1" })
            await ReportAsync(again, region, seenEpoch: 1, token: 1);
        await Eventually.TrueAsync(() => lease.Acting is not null, "it acts", Cancel);
    }

    [Fact(Timeout = 60_000)]
    public async Task Sheet_OfAHouse_BearsItsHashAndNoSecret()
    {
        await using var server = await TestServer.StartAsync();
        await RecordAsync(server);
        var sheet = await server.Connect().SheetAsync("http://br.example:8400", Cancel);
        Assert.Contains("http://br.example:8400", sheet.Text, StringComparison.Ordinal);
        Assert.EndsWith($"  sheet {sheet.Hash[..16]}\n", sheet.Text, StringComparison.Ordinal);
        Assert.DoesNotContain(server.AdminToken, sheet.Text, StringComparison.Ordinal);
    }

    private const long BreakGlassLead = Core.Recovery.BreakGlass.TokenLead;

    private static FenceProof Proof() => new() { Kind = FenceProofKind.Stated, Epoch = 1, Region = "us-east-1", Evidence = "somebody says so", At = Now };

    private static async Task<EpochRecord> RecordAsync(TestServer server)
    {
        EpochRecord? record = null;
        await Eventually.TrueAsync(async () => (record = await server.Services.GetRequiredService<Epochs>().GetAsync("main", Cancel)) is not null, "there is an epoch", Cancel);
        return record!;
    }

    /// <summary>A journal as a failover without the server leaves it, in its own file.</summary>
    private async Task<AdoptionBundle> JournalAsync(EpochRecord ends)
    {
        using var store = SqliteStore.Open(_journal.File("state.db"), TimeProvider.System, NullLogger.Instance);
        await StandInJournal.SeedAsync(store, new StandInStart("journal-1", "host-1", "ada@host-1", Now, "main", 4, [], new Dictionary<string, string>(), []), ends, null, Cancel);
        await store.ReleaseAsync((await store.AcquireAsync(LeaderLease.Name, "stand-in", TimeSpan.FromSeconds(10), Cancel, above: 4 + BreakGlassLead))!, Cancel);
        var started = new RunEvent.RunStarted
        {
            At = Now, Run = "failover-1", Hash = "h", Actor = "ada@host-1", Reason = "the server is gone", Policy = "p", Inputs = new Dictionary<string, string>(),
            Runbook = new Runbook { Name = "failover", Title = "t", Steps = [] },
        };
        RunEvent[] lines = [started, new RunEvent.RunFinished { At = Now.AddSeconds(3), State = RunPhase.Succeeded, Reason = "done" }];
        RunState? state = null;
        foreach (var line in lines)
        {
            state = RunState.Apply(state, line);
            await store.AppendAsync(RunJournal.LogOf("failover-1"), Journal.Write(line), null, null, Cancel);
        }
        await new RunRecords(store).PutAsync(RunRecords.Of(state!, lines.Length, "database/main", null), null, Cancel);
        await StandInJournal.CloseAsync(store, Now, Cancel);
        return await StandInJournal.ReadAsync(store, _journal.Path, Cancel);
    }

    private static async Task ReportAsync(TestServer server, string region, long seenEpoch, long token)
    {
        using var http = server.Http((await server.TokenAsync(AccessRole.Agent, region)).Token);
        var report = new AgentReport
        {
            Incarnation = region, At = DateTimeOffset.UtcNow, Host = "127.0.0.1", FencingToken = token,
            Database = new DatabaseReading { Database = "main", State = DatabaseState.Standby, SeenEpoch = seenEpoch, MarkerEpoch = seenEpoch },
        };
        using var answer = await http.PostAsJsonAsync($"/v1/agents/{region}/report", report, WireJson.Default.AgentReport, Cancel);
        answer.EnsureSuccessStatusCode();
    }
}
