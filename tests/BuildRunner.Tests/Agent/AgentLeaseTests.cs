using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Agent;
using BuildRunner.Server.Hosting;
using BuildRunner.Tests.Support;
using Npgsql;
using System.Diagnostics;
using System.Text.Json;

namespace BuildRunner.Tests.Agent;

/// <summary>A lease over real guards and real PostgreSQL servers: nothing is acknowledged past its deadline, whoever is frozen or gone.</summary>
public sealed class AgentLeaseTests : IAsyncLifetime
{
    private const int TestMax = 120_000;
    private static readonly TimeSpan Ttl = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan Hold = TimeSpan.FromSeconds(2);
    private readonly string _folder = AgentHost.NewFolder();
    private FakeArbiter _arbiter = null!;
    private AgentHost _east = null!;
    private AgentHost _west = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _arbiter = await FakeArbiter.StartAsync();
        _east = new AgentHost(_folder, "us-east-1", server: _arbiter.Address);
        _west = new AgentHost(_folder, "us-west-1", server: _arbiter.Address);
    }

    public async ValueTask DisposeAsync()
    {
        await _east.DisposeAsync();
        await _west.DisposeAsync();
        await _arbiter.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact(Timeout = TestMax)]
    public async Task Gate_LetsNothingThroughBeforeTheFirstGrant_AndEverythingAfterIt()
    {
        await BeginAsync();
        var write = WriteAsync(1);
        await Eventually.TrueAsync(async () => await WaitsAsync(), "the commit waits for the gate", Cancel);
        Assert.False(write.IsCompleted);
        _arbiter.Grants();
        Assert.True(await write, "the write that waited is acknowledged");
        await Eventually.TrueAsync(() => _east.Lease is { Enforced: true } && _arbiter.Last!.Enforced, "the gate is seen to hold", Cancel);
    }

    [Fact(Timeout = TestMax)]
    public async Task Deadline_ArbiterAndCandidatesSilent_PostgreSQLEndsAndAcknowledgesNothingMore()
    {
        await BeginAsync();
        _arbiter.Grants();
        Assert.True(await WriteAsync(1));
        var silent = Stopwatch.StartNew();
        _arbiter.IsSilent();
        var last = TimeSpan.Zero;
        for (var n = 2; await WriteAsync(n); n++)
            last = silent.Elapsed;
        await Eventually.TrueAsync(() => _east.Processes().Count == 0, "the guard ended PostgreSQL at the deadline", Cancel);
        Assert.True(last < Ttl, $"the last write was acknowledged {last.TotalSeconds:0.00} s after the arbiter fell silent, a lease is {Ttl.TotalSeconds} s");
        await _east.PassAsync(confirm: false);
        Assert.Null(_east.Reading!.FencedEpoch); // it may come back when the arbiter says so
        _arbiter.Grants();
        await _east.BecomesPrimaryAsync(1);
        Assert.True(await WriteAsync(1000));
    }

    [Fact(Timeout = TestMax)]
    public async Task GuardFrozen_CommitsWait()
    {
        await BeginAsync();
        _arbiter.Grants();
        Assert.True(await WriteAsync(1));
        var guard = (await _east.Guard.StatusAsync(Cancel))!.Guard;
        Signal(guard, 19);
        try
        {
            var write = WriteAsync(2);
            await Eventually.TrueAsync(WaitsAsync, "the commit waits for the frozen guard", Cancel);
            Assert.False(write.IsCompleted);
            Signal(guard, 18);
            await write; // let through, or ended with the deadline: both are right
        }
        finally { Signal(guard, 18); }
    }

    [Fact(Timeout = TestMax)]
    public async Task PostmasterFrozen_SessionsAreEndedAtTheDeadline()
    {
        await BeginAsync();
        _arbiter.Grants();
        await using var session = await _east.OpenAsync();
        await using (var first = new NpgsqlCommand("insert into t values (1)", session))
            await first.ExecuteNonQueryAsync(Cancel);
        Signal((await _east.Guard.StatusAsync(Cancel))!.Postmaster, 19);
        _arbiter.IsSilent();
        await Eventually.TrueAsync(() => _east.Processes().Count == 0, "a frozen postmaster and its sessions are ended", Cancel);
        await using var second = new NpgsqlCommand("insert into t values (2)", session);
        await Assert.ThrowsAnyAsync<NpgsqlException>(() => second.ExecuteNonQueryAsync(Cancel));
    }

    [Fact(Timeout = TestMax)]
    public async Task Refused_IsFencedAtOnce()
    {
        await BeginAsync();
        _arbiter.Grants();
        Assert.True(await WriteAsync(1));
        _arbiter.Refuses("epoch 2 of main belongs to us-west-1");
        await Eventually.TrueAsync(async () =>
        {
            await _east.PassAsync();
            return _east.Reading is { State: DatabaseState.Fenced, FencedEpoch: 1 };
        }, "fenced at epoch 1", Cancel);
        Assert.Empty(_east.Processes());
    }

    [Fact(Timeout = TestMax)]
    public async Task Failsafe_GoesOnWhileTheCandidatePromises_AndEndsWhenItRefuses()
    {
        await BeginAsync(candidate: true);
        _arbiter.Grants();
        Assert.True(await WriteAsync(1));
        _arbiter.IsSilent();
        var silent = Stopwatch.StartNew();
        await Eventually.TrueAsync(() => _east.Lease is { ByFailsafe: true }, "the candidate's promise carries the lease", Cancel);
        for (var n = 2; silent.Elapsed < Ttl * 1.5; n++)
            Assert.True(await WriteAsync(n), $"a write {silent.Elapsed.TotalSeconds:0.0} s into the arbiter's silence");

        var refused = await _west.OrderAsync(DatabaseOrders.Refuse, 1, new RefuseOrder("main", 1, "run-1"), WireJson.Default.RefuseOrder);
        var left = refused.Data!.Value.Deserialize(WireJson.Default.RefuseResult)!.PromiseLeft;
        Assert.InRange(left, TimeSpan.FromMilliseconds(1), Ttl);
        var promised = Stopwatch.StartNew();
        var early = await _west.OrderAsync(DatabaseOrders.Promote, 2, new PromoteOrder("main", 2, "run-1", FenceProofKind.Expired), WireJson.Default.PromoteOrder).ContinueWith(t => t.Exception?.InnerException?.Message ?? t.Result.Error, TaskScheduler.Default);
        Assert.Contains("promised a primary in failsafe", early, StringComparison.Ordinal);

        var last = TimeSpan.Zero;
        for (var n = 1000; await WriteAsync(n); n++)
            last = promised.Elapsed;
        Assert.True(last < left, $"acknowledged {last.TotalSeconds:0.00} s after the refusal, the promise ran for {left.TotalSeconds:0.00} s");
        await Eventually.TrueAsync(() => _east.Processes().Count == 0, "the primary ended with its deadline", Cancel);
    }

    [Fact(Timeout = TestMax)]
    public async Task Failsafe_QuestionSignedWithAnotherSecret_IsNotAnswered()
    {
        await BeginAsync(candidate: true);
        File.WriteAllText(Path.Combine(_east.Options.SecretsFolder!, "replication"), "another");
        _arbiter.Grants();
        Assert.True(await WriteAsync(1));
        _arbiter.IsSilent();
        await Eventually.TrueAsync(() => _east.Processes().Count == 0, "no promise, so the deadline stands", Cancel);
    }

    [Fact(Timeout = TestMax)]
    public async Task Lifted_TheDeadlineAndTheGateGo()
    {
        await BeginAsync();
        _arbiter.Grants();
        Assert.True(await WriteAsync(1));
        await Eventually.TrueAsync(() => _east.Lease is { Enforced: true }, "enforced", Cancel);
        _arbiter.IsSilent();
        _east.Assign(_east.Duty(1, _east) with { Sync = "" });
        await Eventually.TrueAsync(async () => (await _east.Guard.StatusAsync(Cancel))?.DeadlineMs == GateName.NoDeadline, "the deadline is lifted", Cancel);
        await Eventually.TrueAsync(async () => await _east.ScalarAsync<string>("select current_setting('synchronous_standby_names')") == "", "the gate is lifted", Cancel);
        var lifted = Stopwatch.StartNew();
        for (var n = 2; lifted.Elapsed < Ttl; n++)
            Assert.True(await WriteAsync(n));

        // And back: the lifted deadline is none, or a lease that is called enforced would never end.
        _arbiter.Grants();
        _east.Assign(_east.Duty(1, _east) with { Lease = new LeaseAssignment(Ttl, Hold, [new("us-west-1", "127.0.0.1", 0)]), Sync = SyncSetting.Gate.Names });
        await Eventually.TrueAsync(() => _east.Lease is { Enforced: true }, "enforced again", Cancel);
        _arbiter.IsSilent();
        await Eventually.TrueAsync(() => _east.Processes().Count == 0, "PostgreSQL ends at the new deadline", Cancel);
    }

    private async Task BeginAsync(bool candidate = false)
    {
        IReadOnlyList<PeerAddress> candidates = candidate ? [new("us-west-1", "127.0.0.1", _west.Options.PeerPort)] : [new("us-west-1", "127.0.0.1", 0)];
        var lease = new LeaseAssignment(Ttl, Hold, candidates);
        var gate = SyncSetting.Gate.Names;
        _east.Assign(_east.Duty(1, _east, initialise: true) with { Lease = lease, Sync = gate });
        await _east.BecomesPrimaryAsync(1);
        await _east.ExecuteAsync("create table t (n int)"); // the loop that sets the gate does not run yet
        if (candidate)
        {
            _west.Assign(_west.Duty(1, _east) with { Lease = lease with { Candidates = [] }, Sync = gate });
            await _west.FollowsAsync(1);
            await _west.KeepLeasesAsync();
        }
        await _east.KeepLeasesAsync();
        if (_arbiter.Says(new LeaseAsk { Database = "main", Epoch = 1, Region = "x" }) is null)
        {
            // As a primary starts that had the gate before: it is in force, and no deadline was given.
            var driver = new Action(() => File.WriteAllText(Path.Combine(_east.Home.Data, "sync.conf"), PostgresConfig.Sync(gate)));
            driver();
            await ReloadAsync();
        }
    }

    private async Task ReloadAsync()
    {
        await PostgresSql.Local(_east.Home.PermitFolder(), _east.Port, "postgres").ExecuteAsync("select pg_reload_conf()", Cancel);
        await Eventually.TrueAsync(async () => (await _east.ScalarAsync<string>("select current_setting('synchronous_standby_names')")).Contains("br_gate", StringComparison.Ordinal), "the gate is in force", Cancel);
    }

    /// <summary>Whether a session waits in SyncRep.</summary>
    private async Task<bool> WaitsAsync() =>
        await PostgresSql.Local(_east.Home.PermitFolder(), _east.Port, "postgres").ScalarAsync<bool>("select exists (select from pg_stat_activity where wait_event = 'SyncRep')", Cancel);

    /// <summary>True: acknowledged; false: surely or possibly not.</summary>
    private async Task<bool> WriteAsync(int n)
    {
        try
        {
            await _east.ExecuteAsync($"insert into t values ({n})");
            return true;
        }
        catch (Exception error) when (error is NpgsqlException or IOException or TimeoutException) { return false; }
    }

    private static void Signal(int pid, int signal) => Process.Start("kill", [$"-{signal}", $"{pid}"]).WaitForExit();
}
