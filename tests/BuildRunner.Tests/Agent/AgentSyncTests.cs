using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Agent;
using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Tests.Agent;

/// <summary>Commits that wait for a copy, over real guards and real PostgreSQL servers.</summary>
public sealed class AgentSyncTests : AgentPair
{
    private static readonly string Names = SyncSetting.First("us-west-1").Names;

    [Fact(Timeout = TestMax)]
    public async Task Told_IsInForceForEverySessionAndSaysFromWhere()
    {
        await BeginAsync();
        await East.KeepLeasesAsync();
        East.Assign(East.Duty(1, East) with { Sync = Names });
        await InForceAsync(Names);
        var from = East.Reading!.Sync!.From;
        await East.ExecuteAsync("insert into t values (1)");
        await East.UntilAsync(r => r.Replicas.Any(x => x.Region == "us-west-1" && x.Flushed >= from), "the copy has flushed what came before");
        // A newer assignment that says the same is quoted; one that says another thing takes the word back until that is in force.
        var version = East.Reading!.Sync!.Version;
        East.Assign(East.Duty(1, East) with { Sync = Names });
        await East.UntilAsync(r => r.Sync is { } sync && sync.Version > version && sync.From == from, "the newest assignment is quoted");
        East.Assign(East.Duty(1, East) with { Sync = "" });
        await InForceAsync("");
    }

    [Fact(Timeout = TestMax)]
    public async Task MemberFrozen_CommitsWaitUntilItGoesOn()
    {
        await BeginAsync();
        await East.KeepLeasesAsync();
        East.Assign(East.Duty(1, East) with { Sync = Names });
        await InForceAsync(Names);
        var frozen = West.Processes();
        foreach (var pid in frozen)
            Signal(pid, 19);
        Task write;
        try
        {
            write = East.ExecuteAsync("insert into t values (1)");
            await WaitsAsync("the commit waits for the frozen copy");
            Assert.False(write.IsCompleted);
        }
        finally
        {
            foreach (var pid in frozen)
                Signal(pid, 18);
        }
        await write;
    }

    /// <summary>The proof `cut`: a primary that is alive and hears nobody acknowledges nothing once its member is cut off, and goes on when it is given back.</summary>
    [Fact(Timeout = TestMax)]
    public async Task MemberCut_ThePrimaryAcknowledgesNothingUntilItIsGivenBack()
    {
        await BeginAsync();
        await East.KeepLeasesAsync();
        East.Assign(East.Duty(1, East) with { Sync = Names });
        await InForceAsync(Names);
        await CutAsync(West, 1);
        Assert.Equal((1, 1), (West.State.CutEpoch, West.State.RefusedEpoch));
        var write = East.ExecuteAsync("insert into t values (1)");
        await WaitsAsync("the commit waits for the copy that was cut off");
        await West.RestartAsync();
        West.Assign(West.Duty(1, East));
        await West.PassAsync();
        Assert.False(write.IsCompleted, "an agent that starts again does not follow by itself");
        // A late word of an older run takes back nothing that this one needs.
        Assert.True((await West.OrderAsync(DatabaseOrders.Uncut, 1, new CutOrder("main", 1, "run-0"), WireJson.Default.CutOrder)).Done);
        Assert.Equal((1, 1, "run-1"), (West.State.CutEpoch, West.State.RefusedEpoch, West.State.CutRun));
        Assert.True((await West.OrderAsync(DatabaseOrders.Uncut, 1, new CutOrder("main", 1, "run-1"), WireJson.Default.CutOrder)).Done);
        Assert.Null(West.State.RefusedEpoch);
        await West.FollowsAsync(1);
        await write;
    }

    /// <summary>With a copy's files comes whom its primary waits for: this very region. What receives them confirms nothing in its name.</summary>
    [Fact(Timeout = TestMax)]
    public async Task Copy_OfASynchronousPrimary_IsPromotedAndWaitsForNobody()
    {
        await BeginAsync(standby: false);
        await East.KeepLeasesAsync();
        East.Assign(East.Duty(1, East) with { Sync = Names });
        await Eventually.TrueAsync(async () => await East.ScalarAsync<string>("select current_setting('synchronous_standby_names')") == Names, "commits wait for a copy that is not there", Cancel);
        West.Assign(West.Duty(1, East) with { Sync = "" });
        await West.FollowsAsync(1);
        Assert.Equal("", File.ReadAllText(Path.Combine(West.Home.Data, "sync.conf")));
        await InForceAsync(Names);
        await East.ExecuteAsync("insert into t values (1)");
        await East.FenceAsync(1);
        await MoveWestAsync();
        Assert.Equal(1, await West.ScalarAsync<long>("select count(*) from t where n = 1"));
    }

    /// <summary>A primary that was stopped and begins the next epoch itself must not wait for the copies of the former one.</summary>
    [Fact(Timeout = TestMax)]
    public async Task Restart_AsTheNextEpoch_WaitsForNobody()
    {
        await BeginAsync();
        await East.KeepLeasesAsync();
        East.Assign(East.Duty(1, East) with { Sync = Names });
        await InForceAsync(Names);
        await East.FenceAsync(1);
        East.Assign(East.Duty(2, East, EpochState.Moving) with { Sync = "" });
        await CutAsync(West, 1);
        await East.PromoteAsync(2, DatabaseOrders.Restart);
        await East.ExecuteAsync("insert into t values (2)");
    }

    private Task InForceAsync(string names) => East.UntilAsync(r => r.Sync?.Names == names, $"'{names}' is in force");

    private Task WaitsAsync(string what) => Eventually.TrueAsync(
        async () => await PostgresSql.Local(East.Home.PermitFolder(), East.Port, "postgres").ScalarAsync<bool>("select exists (select from pg_stat_activity where wait_event = 'SyncRep' and usename = 'app')", Cancel), what, Cancel);
}
