using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Core.Databases;
using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Tests.Agent;

/// <summary>A planned move's orders over real PostgreSQL: nothing acknowledged is missing, and what waits is answered when the seal comes off.</summary>
public sealed class AgentSwitchoverTests : AgentPair
{
    [Fact(Timeout = TestMax)]
    public async Task Seal_CommitsWait_AndAreAnsweredWhenItIsTakenOff()
    {
        await BeginAsync();
        var first = await SealAsync();
        Assert.True(first.Effect);
        var waiting = East.ExecuteAsync("insert into t values (1)");
        await Eventually.TrueAsync(async () => await East.ScalarAsync<long>("select count(*) from pg_stat_activity where wait_event = 'SyncRep' and usename = 'app'") == 1, "the commit waits", Cancel);
        await East.ReadAsync();
        Assert.Equal(DatabaseState.Sealed, East.Reading!.State);

        await East.RestartAsync();
        East.Assign(East.Duty(1, East));
        var again = await SealAsync();
        Assert.False(again.Effect, "who asks again finds it sealed");
        Assert.True(again.At >= first.At);
        Assert.False(waiting.IsCompleted);

        Assert.True((await UnsealAsync(East)).Effect);
        await waiting.WaitAsync(TimeSpan.FromSeconds(10), Cancel);
        await East.ExecuteAsync("insert into t values (2)");
        Assert.False((await UnsealAsync(East)).Effect);
        await East.UntilAsync(r => r.State == DatabaseState.Primary, "it takes writes");
    }

    [Fact(Timeout = TestMax)]
    public async Task Move_WhileClientsWrite_HoldsEverythingThatWasAcknowledged()
    {
        await BeginAsync();
        var acknowledged = new System.Collections.Concurrent.ConcurrentBag<int>();
        var writers = Enumerable.Range(0, 4).Select(w => WriteAsync(w, acknowledged)).ToList();
        await Eventually.TrueAsync(() => acknowledged.Count > 200, "orders flow", Cancel);

        var prepared = await DoAsync(West, DatabaseOrders.Prepare, new SwitchOrder("main", 1, "run-2"), WireJson.Default.SwitchOrder, WireJson.Default.PrepareResult);
        Assert.True(prepared.Found.InRecovery);
        Assert.Equal("0", await West.ScalarAsync<string>("select current_setting('max_standby_streaming_delay')"));
        var at = (await SealAsync()).At;
        var until = acknowledged.Count;
        var reached = await DoAsync(West, DatabaseOrders.Reach, new ReachOrder("main", 1, "run-2", at, 5000), WireJson.Default.ReachOrder, WireJson.Default.ReachResult);
        Assert.True(reached.Replayed >= at);
        Assert.True((await East.FenceAsync(1)).Effect);
        await Task.WhenAll(writers);
        Assert.Equal(until, acknowledged.Count); // nobody was answered once it was sealed

        var moved = await MoveWestAsync();
        await UnsealAsync(West, epoch: 2);
        Assert.Equal("30s", await West.ScalarAsync<string>("select current_setting('max_standby_streaming_delay')"));
        var kept = await West.ScalarAsync<int[]>("select coalesce(array_agg(n), '{}') from t");
        Assert.Empty(acknowledged.Except(kept));

        East.Assign(East.Duty(2, West, moved: moved, former: East));
        await East.FollowsAsync(2);
        Assert.Equal("", await East.ScalarAsync<string>("select current_setting('synchronous_standby_names')"));
    }

    /// <summary>Nobody took over: it starts again as the next epoch, itself, and answers commits.</summary>
    [Fact(Timeout = TestMax)]
    public async Task SealedThenFenced_StartedAgain_IsNotSealed()
    {
        await BeginAsync(standby: false);
        await SealAsync();
        await East.FenceAsync(1);
        await East.PromoteAsync(2, DatabaseOrders.Restart);
        East.Assign(East.Duty(2, East));
        await East.ExecuteAsync("insert into t values (5)");
        await East.UntilAsync(r => r.State == DatabaseState.Primary && r.MarkerEpoch == 2, "it takes writes");
    }

    [Fact(Timeout = TestMax)]
    public async Task Inspect_NamesWhatStandsInTheWay_AndPrepareEndsIt()
    {
        await BeginAsync(standby: false);
        await East.ExecuteAsync("create unlogged table scratch (n int)");
        await using var report = await East.OpenAsync();
        await using (var begin = new NpgsqlCommand("begin; insert into t values (9)", report))
            await begin.ExecuteNonQueryAsync(Cancel);
        var found = await DoAsync(East, DatabaseOrders.Inspect, new SwitchOrder("main", 0, "plan"), WireJson.Default.SwitchOrder, WireJson.Default.InspectResult);
        Assert.Equal((false, 1, 1), (found.InRecovery, found.UnloggedCount, found.Transactions.Count));
        Assert.True(found.Transactions[0] is { Writes: true, User: "app" });

        var prepared = await DoAsync(East, DatabaseOrders.Prepare, new SwitchOrder("main", 1, "run-2", CutOlderMs: 0), WireJson.Default.SwitchOrder, WireJson.Default.PrepareResult);
        Assert.Equal(1, prepared.Ended);
        Assert.Empty(prepared.Found.Transactions);
    }

    [Fact(Timeout = TestMax)]
    public async Task Seal_OfAnotherEpochOrAStandby_IsRefused()
    {
        await BeginAsync();
        Assert.True((await East.OrderAsync(DatabaseOrders.Seal, 2, new SwitchOrder("main", 2, "run-2"), WireJson.Default.SwitchOrder)).Refused);
        Assert.True((await West.OrderAsync(DatabaseOrders.Seal, 1, new SwitchOrder("main", 1, "run-2"), WireJson.Default.SwitchOrder)).Refused);
        await East.ExecuteAsync("insert into t values (1)");
    }

    private Task<SealResult> SealAsync() => DoAsync(East, DatabaseOrders.Seal, new SwitchOrder("main", 1, "run-2"), WireJson.Default.SwitchOrder, WireJson.Default.SealResult);

    private static Task<SealResult> UnsealAsync(AgentHost host, long epoch = 1) =>
        DoAsync(host, DatabaseOrders.Unseal, new SwitchOrder("main", epoch, "run-2"), WireJson.Default.SwitchOrder, WireJson.Default.SealResult);

    private static async Task<TResult> DoAsync<TOrder, TResult>(AgentHost host, string kind, TOrder order, System.Text.Json.Serialization.Metadata.JsonTypeInfo<TOrder> type, System.Text.Json.Serialization.Metadata.JsonTypeInfo<TResult> resultType)
    {
        var epoch = order switch { SwitchOrder s => s.Epoch, ReachOrder r => r.Epoch, _ => throw new ArgumentException(kind, nameof(order)) };
        OrderResult result = await host.OrderAsync(kind, epoch, order, type);
        Assert.True(result.Done, result.Error);
        return result.Data!.Value.Deserialize(resultType)!;
    }

    /// <summary>Writes until its connection ends; counts what was answered.</summary>
    private async Task WriteAsync(int writer, System.Collections.Concurrent.ConcurrentBag<int> acknowledged)
    {
        await using var connection = await East.OpenAsync();
        try
        {
            for (var n = writer * 1_000_000; ; n++)
            {
                await using var insert = new NpgsqlCommand($"insert into t values ({n})", connection);
                await insert.ExecuteNonQueryAsync(CancellationToken.None);
                acknowledged.Add(n);
            }
        }
        catch (NpgsqlException) { } // stopped: what was under way is not acknowledged
    }
}
