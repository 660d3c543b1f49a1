using System.Diagnostics;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Agent;

/// <summary>Two agents over real guards and real PostgreSQL servers.</summary>
public abstract class AgentPair : IAsyncLifetime
{
    internal const int TestMax = 120_000;

    protected string Folder { get; } = AgentHost.NewFolder();
    internal AgentHost East { get; private set; } = null!;
    internal AgentHost West { get; private set; } = null!;
    protected static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync()
    {
        East = new AgentHost(Folder, "us-east-1");
        West = new AgentHost(Folder, "us-west-1");
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        await East.DisposeAsync();
        await West.DisposeAsync();
        Directory.Delete(Folder, recursive: true);
    }

    protected async Task BeginAsync(bool standby = true)
    {
        East.Assign(East.Duty(1, East, initialise: true));
        await East.BecomesPrimaryAsync(1);
        await East.ExecuteAsync("create table t (n int)");
        if (!standby)
            return;
        West.Assign(West.Duty(1, East));
        await West.FollowsAsync(1);
    }

    /// <summary>West takes epoch 2; East is told nothing.</summary>
    protected async Task<PromoteResult> MoveWestAsync()
    {
        var moved = await West.PromoteAsync(2);
        West.Assign(West.Duty(2, West, moved: moved, former: East));
        await West.ExecuteAsync("insert into t values (77)");
        return moved;
    }

    internal static async Task CutAsync(AgentHost host, long epoch)
    {
        var result = await host.OrderAsync(DatabaseOrders.Cut, epoch, new CutOrder("main", epoch, "run-1"), WireJson.Default.CutOrder);
        Assert.True(result.Done, result.Error);
    }

    /// <summary>Everything at once, as `br dev kill` does: the guard and every process of PostgreSQL.</summary>
    internal static async Task KillRegionAsync(AgentHost host)
    {
        var status = (await host.Guard.StatusAsync(Cancel))!;
        foreach (var pid in (int[])[status.Guard, .. host.Processes()])
            Signal(pid, 9);
        await Eventually.TrueAsync(() => host.Processes().Count == 0, "the region is dead", Cancel);
    }

    protected static void Signal(int pid, int signal) => Process.Start("kill", [$"-{signal}", $"{pid}"]).WaitForExit();
}
