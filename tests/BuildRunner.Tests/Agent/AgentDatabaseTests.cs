using BuildRunner.Server.Agent;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Agent;

public sealed class AgentDatabaseTests : AgentPair
{
    [Fact(Timeout = TestMax)]
    public async Task Assign_PrimaryAndStandby_Replicate()
    {
        await BeginAsync();
        await East.ExecuteAsync("insert into t select generate_series(1, 1000)");
        await Eventually.TrueAsync(async () => await West.ScalarAsync<long>("select count(*) from t") == 1000, "rows arrive", TestContext.Current.CancellationToken);

        await East.UntilAsync(r => r.Replicas.Count == 1, "the primary sees its standby");
        await West.UntilAsync(r => r.LagSeconds == 0, "no lag");
        Assert.Equal("us-west-1", East.Reading!.Replicas[0].Region);
        Assert.Equal(("us-east-1", 1, true, true), (West.Reading!.Following, West.Reading.Timeline, West.Reading.DataChecksums, West.Reading.Guarded));
        Assert.Equal((true, East.Port, 1L), (West.Address().Open, West.Address().WritePort, West.Address().Epoch));
    }

    [Fact(Timeout = TestMax)]
    public async Task Initialise_UnderWay_SaysSoAndLogsNoError()
    {
        East.Assign(East.Duty(1, East, initialise: true));
        await East.PassAsync(); // asks
        var making = East.ReconcileAsync();
        using var pace = new PeriodicTimer(TimeSpan.FromMilliseconds(10));
        var seen = new HashSet<(DatabaseState, string?)>();
        while (!making.IsCompleted)
        {
            await East.ReadAsync();
            seen.Add((East.Reading?.State ?? DatabaseState.Unknown, East.Reading?.Detail));
            await pace.WaitForNextTickAsync(Cancel);
        }
        await making;
        Assert.Contains((DatabaseState.Starting, "initdb runs"), seen);
    }

    [Fact(Timeout = TestMax)]
    public async Task Failover_AliveFormer_FencedPromotedAndRejoined()
    {
        await BeginAsync();
        var proof = await East.FenceAsync(1);
        Assert.True(proof.Effect);
        Assert.Equal((FenceProofKind.Stopped, 1L), (proof.Proof.Kind, proof.Proof.Epoch));
        Assert.Empty(East.Processes());
        Assert.False((await East.FenceAsync(1)).Effect);
        Assert.False(East.Address().Open);

        var moved = await West.PromoteAsync(2);
        Assert.Equal((2, true), (moved.Timeline, moved.Effect));
        Assert.False((await West.PromoteAsync(2)).Effect);
        Assert.Equal((true, West.Port, 2L), (West.Address().Open, West.Address().WritePort, West.Address().Epoch));
        await West.ExecuteAsync("insert into t values (77)");

        West.Assign(West.Duty(2, West, moved: moved, former: East));
        await West.BecomesPrimaryAsync(2);
        East.Assign(East.Duty(2, West, moved: moved, former: East));
        await East.FollowsAsync(2);
        Assert.Equal(1L, await East.ScalarAsync<long>("select count(*) from t where n = 77"));
        Assert.Equal((1, 1), (West.Reading!.Effects.Promotions, East.Reading!.Effects.Fences));
    }

    [Fact(Timeout = TestMax)]
    public async Task Failover_FormerKilledWithWalPastTheFork_IsSalvagedCountedAndRewound()
    {
        await BeginAsync();
        await CutAsync(West, 1);
        await using (var connection = await East.OpenAsync())
        {
            for (var i = 0; i < 25; i++)
            {
                await using var insert = new Npgsql.NpgsqlCommand($"insert into t values ({9000 + i})", connection);
                await insert.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
            }
        }
        await KillRegionAsync(East);
        var moved = await West.PromoteAsync(2);
        West.Assign(West.Duty(2, West, moved: moved, former: East));
        await West.ExecuteAsync("insert into t values (77)");

        await East.RestartAsync();
        East.Assign(East.Duty(2, West, moved: moved, former: East));
        await East.FollowsAsync(2);
        var salvage = East.Reading!.Salvage!;
        Assert.Equal((25L, 25, 1L, moved.Fork), (salvage.Commits, salvage.Transactions.Count, salvage.Epoch, salvage.Fork));
        Assert.True(salvage.Bytes > 0 && salvage.LastLost >= salvage.LastKept, $"{salvage}");
        Assert.NotEmpty(Directory.GetFiles(salvage.Folder));
        Assert.Equal(0L, await East.ScalarAsync<long>("select count(*) from t where n >= 9000"));
        Assert.Equal(1L, await East.ScalarAsync<long>("select count(*) from t where n = 77"));
    }

    [Fact(Timeout = TestMax)]
    public async Task AgentRestart_TakesUpTheGuardAndItsPostgres()
    {
        await BeginAsync();
        var before = (await East.Guard.StatusAsync(TestContext.Current.CancellationToken))!;
        await East.RestartAsync();
        await East.BecomesPrimaryAsync(1);
        var after = (await East.Guard.StatusAsync(TestContext.Current.CancellationToken))!;
        Assert.Equal((before.Guard, before.Postmaster), (after.Guard, after.Postmaster));
    }

    [Fact(Timeout = TestMax)]
    public async Task Fenced_AgentRestartsWithItsOldAssignment_StaysDown()
    {
        await BeginAsync();
        await East.FenceAsync(1);
        await East.RestartAsync();
        for (var i = 0; i < 5; i++)
            await East.PassAsync();
        Assert.Equal(DatabaseState.Fenced, East.Reading!.State);
        Assert.Empty(East.Processes());

        var again = await East.PromoteAsync(2, DatabaseOrders.Restart);
        Assert.Equal((1, true), (again.Timeline, again.Effect));
        East.Assign(East.Duty(2, East));
        await East.BecomesPrimaryAsync(2);
    }

    [Fact(Timeout = TestMax)]
    public async Task Fence_FrozenPostmaster_LeavesNone()
    {
        await BeginAsync();
        var status = (await East.Guard.StatusAsync(TestContext.Current.CancellationToken))!;
        Signal(status.Postmaster, 19);
        await East.FenceAsync(1);
        Assert.Empty(East.Processes());
    }

    [Fact(Timeout = TestMax)]
    public async Task GuardKilled_EndsPostgres()
    {
        await BeginAsync();
        var status = (await East.Guard.StatusAsync(TestContext.Current.CancellationToken))!;
        Signal(status.Guard, 9);
        await Eventually.TrueAsync(() => East.Processes().Count == 0, "PostgreSQL ends with its guard", TestContext.Current.CancellationToken, TimeSpan.FromSeconds(5));
        await East.BecomesPrimaryAsync(1); // asked and confirmed anew
    }

    [Fact(Timeout = TestMax)]
    public async Task Order_OlderEpochOrToken_Refused()
    {
        await BeginAsync();
        East.Token = 5;
        East.Assign(East.Duty(3, West, EpochState.Moving));
        var older = await East.OrderAsync(DatabaseOrders.Promote, 2, new PromoteOrder("main", 2, "r"), WireJson.Default.PromoteOrder);
        Assert.True(older.Refused);
        var stale = await East.OrderAsync(DatabaseOrders.Fence, 3, new FenceOrder("main", 3, "r"), WireJson.Default.FenceOrder, token: 4);
        Assert.True(stale.Refused);
        Assert.NotEmpty(East.Processes());
        await East.RestartAsync();
        Assert.True((await East.OrderAsync(DatabaseOrders.Promote, 2, new PromoteOrder("main", 2, "r"), WireJson.Default.PromoteOrder)).Refused);
    }

    [Fact(Timeout = TestMax)]
    public async Task PermitMissing_PostgresDoesNotStart()
    {
        await BeginAsync();
        await East.Guard.StopAsync(TimeSpan.Zero, TestContext.Current.CancellationToken);
        await East.Guard.GoneAsync(TestContext.Current.CancellationToken);
        East.Guard.Start(East.Home.MakePermitFolder(), PostgresDoors.Of(East.Options, East.State));
        await Eventually.TrueAsync(() => East.Guard.HasEnded, "the guard ends because PostgreSQL did not start", TestContext.Current.CancellationToken);
        Assert.Empty(East.Processes());
        Assert.Contains("permit.conf", File.ReadAllText(East.Home.Log), StringComparison.Ordinal);
    }
}
