using System.Diagnostics;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Agent;

public sealed class AgentDatabaseTests : IAsyncLifetime
{
    private const int TestMax = 120_000;
    private readonly string _folder = AgentHost.NewFolder();
    private AgentHost _east = null!;
    private AgentHost _west = null!;

    public ValueTask InitializeAsync()
    {
        _east = new AgentHost(_folder, "us-east-1");
        _west = new AgentHost(_folder, "us-west-1");
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        await _east.DisposeAsync();
        await _west.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact(Timeout = TestMax)]
    public async Task Assign_PrimaryAndStandby_Replicate()
    {
        await BeginAsync();
        await _east.ExecuteAsync("insert into t select generate_series(1, 1000)");
        await Eventually.TrueAsync(async () => await _west.ScalarAsync<long>("select count(*) from t") == 1000, "rows arrive", TestContext.Current.CancellationToken);

        await _east.UntilAsync(r => r.Replicas.Count == 1, "the primary sees its standby");
        await _west.UntilAsync(r => r.LagSeconds == 0, "no lag");
        Assert.Equal("us-west-1", _east.Reading!.Replicas[0].Region);
        Assert.Equal(("us-east-1", 1, true, true), (_west.Reading!.Following, _west.Reading.Timeline, _west.Reading.DataChecksums, _west.Reading.Guarded));
        Assert.Equal((true, _east.Port, 1L), (_west.Address().Open, _west.Address().WritePort, _west.Address().Epoch));
    }

    [Fact(Timeout = TestMax)]
    public async Task Failover_AliveFormer_FencedPromotedAndRejoined()
    {
        await BeginAsync();
        var proof = await _east.FenceAsync(1);
        Assert.True(proof.Effect);
        Assert.Equal((FenceProofKind.Stopped, 1L), (proof.Proof.Kind, proof.Proof.Epoch));
        Assert.Empty(_east.Processes());
        Assert.False((await _east.FenceAsync(1)).Effect);
        Assert.False(_east.Address().Open);

        var moved = await _west.PromoteAsync(2);
        Assert.Equal((2, true), (moved.Timeline, moved.Effect));
        Assert.False((await _west.PromoteAsync(2)).Effect);
        Assert.Equal((true, _west.Port, 2L), (_west.Address().Open, _west.Address().WritePort, _west.Address().Epoch));
        await _west.ExecuteAsync("insert into t values (77)");

        _west.Assign(_west.Duty(2, _west, moved: moved, former: _east));
        await _west.BecomesPrimaryAsync(2);
        _east.Assign(_east.Duty(2, _west, moved: moved, former: _east));
        await _east.FollowsAsync(2);
        Assert.Equal(1L, await _east.ScalarAsync<long>("select count(*) from t where n = 77"));
        Assert.Equal((1, 1), (_west.Reading!.Effects.Promotions, _east.Reading!.Effects.Fences));
    }

    [Fact(Timeout = TestMax)]
    public async Task Failover_FormerKilledWithWalPastTheFork_IsSalvagedCountedAndRewound()
    {
        await BeginAsync();
        await CutAsync(_west, 1);
        await using (var connection = await _east.OpenAsync())
        {
            for (var i = 0; i < 25; i++)
            {
                await using var insert = new Npgsql.NpgsqlCommand($"insert into t values ({9000 + i})", connection);
                await insert.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
            }
        }
        await KillRegionAsync(_east);
        var moved = await _west.PromoteAsync(2);
        _west.Assign(_west.Duty(2, _west, moved: moved, former: _east));
        await _west.ExecuteAsync("insert into t values (77)");

        await _east.RestartAsync();
        _east.Assign(_east.Duty(2, _west, moved: moved, former: _east));
        await _east.FollowsAsync(2);
        var salvage = _east.Reading!.Salvage!;
        Assert.Equal((25L, 25, 1L, moved.Fork), (salvage.Commits, salvage.Transactions.Count, salvage.Epoch, salvage.Fork));
        Assert.True(salvage.Bytes > 0 && salvage.LastLost >= salvage.LastKept, $"{salvage}");
        Assert.NotEmpty(Directory.GetFiles(salvage.Folder));
        Assert.Equal(0L, await _east.ScalarAsync<long>("select count(*) from t where n >= 9000"));
        Assert.Equal(1L, await _east.ScalarAsync<long>("select count(*) from t where n = 77"));
    }

    [Fact(Timeout = TestMax)]
    public async Task AgentRestart_TakesUpTheGuardAndItsPostgres()
    {
        await BeginAsync();
        var before = (await _east.Guard.StatusAsync(TestContext.Current.CancellationToken))!;
        await _east.RestartAsync();
        await _east.BecomesPrimaryAsync(1);
        var after = (await _east.Guard.StatusAsync(TestContext.Current.CancellationToken))!;
        Assert.Equal((before.Guard, before.Postmaster), (after.Guard, after.Postmaster));
    }

    [Fact(Timeout = TestMax)]
    public async Task Fenced_AgentRestartsWithItsOldAssignment_StaysDown()
    {
        await BeginAsync();
        await _east.FenceAsync(1);
        await _east.RestartAsync();
        for (var i = 0; i < 5; i++)
            await _east.PassAsync();
        Assert.Equal(DatabaseState.Fenced, _east.Reading!.State);
        Assert.Empty(_east.Processes());

        var again = await _east.PromoteAsync(2, DatabaseOrders.Restart);
        Assert.Equal((1, true), (again.Timeline, again.Effect));
        _east.Assign(_east.Duty(2, _east));
        await _east.BecomesPrimaryAsync(2);
    }

    [Fact(Timeout = TestMax)]
    public async Task Fence_FrozenPostmaster_LeavesNone()
    {
        await BeginAsync();
        var status = (await _east.Guard.StatusAsync(TestContext.Current.CancellationToken))!;
        Signal(status.Postmaster, 19);
        await _east.FenceAsync(1);
        Assert.Empty(_east.Processes());
    }

    [Fact(Timeout = TestMax)]
    public async Task GuardKilled_EndsPostgres()
    {
        await BeginAsync();
        var status = (await _east.Guard.StatusAsync(TestContext.Current.CancellationToken))!;
        Signal(status.Guard, 9);
        await Eventually.TrueAsync(() => _east.Processes().Count == 0, "PostgreSQL ends with its guard", TestContext.Current.CancellationToken, TimeSpan.FromSeconds(5));
        await _east.BecomesPrimaryAsync(1); // asked and confirmed anew
    }

    [Fact(Timeout = TestMax)]
    public async Task Order_OlderEpochOrToken_Refused()
    {
        await BeginAsync();
        _east.Token = 5;
        _east.Assign(_east.Duty(3, _west, EpochState.Moving));
        var older = await _east.OrderAsync(DatabaseOrders.Promote, 2, new PromoteOrder("main", 2, "r"), WireJson.Default.PromoteOrder);
        Assert.True(older.Refused);
        var stale = await _east.OrderAsync(DatabaseOrders.Fence, 3, new FenceOrder("main", 3, "r"), WireJson.Default.FenceOrder, token: 4);
        Assert.True(stale.Refused);
        Assert.NotEmpty(_east.Processes());
        await _east.RestartAsync();
        Assert.True((await _east.OrderAsync(DatabaseOrders.Promote, 2, new PromoteOrder("main", 2, "r"), WireJson.Default.PromoteOrder)).Refused);
    }

    [Fact(Timeout = TestMax)]
    public async Task PermitMissing_PostgresDoesNotStart()
    {
        await BeginAsync();
        await _east.Guard.StopAsync(TimeSpan.Zero, TestContext.Current.CancellationToken);
        _east.Guard.Start(_east.Home.PermitFolder());
        await Eventually.TrueAsync(() => _east.Guard.HasEnded, "the guard ends because PostgreSQL did not start", TestContext.Current.CancellationToken);
        Assert.Empty(_east.Processes());
        Assert.Contains("permit.conf", File.ReadAllText(_east.Home.Log), StringComparison.Ordinal);
    }

    private async Task BeginAsync()
    {
        _east.Assign(_east.Duty(1, _east, initialise: true));
        await _east.BecomesPrimaryAsync(1);
        await _east.ExecuteAsync("create table t (n int)");
        _west.Assign(_west.Duty(1, _east));
        await _west.FollowsAsync(1);
    }

    private static async Task CutAsync(AgentHost host, long epoch)
    {
        var result = await host.OrderAsync(DatabaseOrders.Cut, epoch, new CutOrder("main", epoch, "run-1"), WireJson.Default.CutOrder);
        Assert.True(result.Done, result.Error);
    }

    /// <summary>Everything at once, as `br dev kill` does: the guard and every process of PostgreSQL.</summary>
    private static async Task KillRegionAsync(AgentHost host)
    {
        var status = (await host.Guard.StatusAsync(TestContext.Current.CancellationToken))!;
        foreach (var pid in (int[])[status.Guard, .. host.Processes()])
            Signal(pid, 9);
        await Eventually.TrueAsync(() => host.Processes().Count == 0, "the region is dead", TestContext.Current.CancellationToken);
    }

    private static void Signal(int pid, int signal) => Process.Start("kill", [$"-{signal}", $"{pid}"]).WaitForExit();
}
