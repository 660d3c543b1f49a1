using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Agent;

/// <summary>Ways in which a former primary might take a write again, and does not.</summary>
public sealed class AgentSafetyTests : AgentPair
{
    [Fact(Timeout = TestMax)]
    public async Task Killed_AgentStartsWhileTheServerIsAway_SavedAssignmentAndLeftPermitStartNothing()
    {
        await BeginAsync(standby: false);
        var permit = Path.Combine(East.Home.PermitFolder(), "permit.conf");
        await KillRegionAsync(East);
        Assert.True(File.Exists(permit), "a kill leaves the permit");

        await East.RestartAsync(); // its assignment says: primary of epoch 1
        await PassesAsync(East);
        Assert.Empty(East.Processes());
        Assert.False(File.Exists(permit), "the start took it away");
        Assert.Contains("asks to start as the primary", East.Reading!.Detail!, StringComparison.Ordinal);
        Assert.False(East.Reading.Guarded);
    }

    /// <summary>PostgreSQL's user cannot enter the folder, so that the data lies elsewhere; the link to it is lost, and the agent starts again.</summary>
    [Theory(Timeout = TestMax)]
    [InlineData(true)]
    [InlineData(false)]
    public async Task LinkToTheDataIsLost_NothingIsDeletedOrCalledStopped(bool running)
    {
        if (!Environment.IsPrivilegedProcess)
            return; // then PostgreSQL's user is the agent's, and data lies elsewhere for nobody
        var closed = Directory.CreateDirectory(Path.Combine(Folder, "closed"), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute).FullName;
        await using var host = new AgentHost(closed, "eu-west-1", sandbox: running);
        host.Assign(host.Duty(1, host, initialise: true));
        await host.BecomesPrimaryAsync(1);
        var link = Path.Combine(host.Options.DataFolder, "postgres");
        var place = new DirectoryInfo(link).LinkTarget!;
        var guard = (await host.Guard.StatusAsync(Cancel))!.Guard;
        try
        {
            if (!running)
                await KillRegionAsync(host);
            File.Delete(link);
            await host.RestartAsync();
            host.Assign(host.Duty(1, host, initialise: true));
            await PassesAsync(host);
            Assert.Contains("the link to it is gone", host.Reading!.Detail!, StringComparison.Ordinal);
            Assert.True(File.Exists($"{place}/data/PG_VERSION"));
            await Assert.ThrowsAsync<IOException>(() => host.OrderAsync(DatabaseOrders.Fence, 1, new FenceOrder("main", 1, "run-1"), WireJson.Default.FenceOrder));

            File.CreateSymbolicLink(link, place);
            await host.BecomesPrimaryAsync(1);
        }
        finally
        {
            // By what the place itself says: where the test fails, the agent may not know it.
            Signal(guard, 9);
            var processes = new BuildRunner.Server.Guard.DataProcesses(Path.Combine(place, "data"));
            await Eventually.TrueAsync(() =>
            {
                processes.Running().ForEach(pid => Signal(pid, 9));
                return processes.Running().Count == 0;
            }, "nothing runs there", Cancel);
            Directory.Delete(place, recursive: true);
        }
    }

    [Fact(Timeout = TestMax)]
    public async Task ConfirmedAskOfAFormerStart_IsNoConfirmation()
    {
        await BeginAsync(standby: false);
        var saved = File.ReadAllText(Path.Combine(East.Options.DataFolder, "assignment.json"));
        Assert.Contains("confirmed_ask", saved, StringComparison.Ordinal); // kept, and worth nothing
        await KillRegionAsync(East);
        await East.RestartAsync();
        East.Assign(System.Text.Json.JsonSerializer.Deserialize(saved, WireJson.Default.Assignment)!.Database!, confirm: false);
        await PassesAsync(East);
        Assert.Empty(East.Processes());
    }

    /// <summary>The server's store is wiped: epoch 1 again, tokens and versions from the start, and it takes the old primary for the primary.</summary>
    [Theory(Timeout = TestMax)]
    [InlineData(1)]
    [InlineData(50)]
    public async Task StoreWiped_OldPrimaryThatSawEpochOneOnly_IsNotStarted(long token)
    {
        (East.Lineage, West.Lineage) = ("first", "first");
        await BeginAsync();
        await KillRegionAsync(East);
        var moved = await MoveWestAsync();
        Assert.Equal(2, moved.Timeline);

        (East.Lineage, West.Lineage) = ("second", "second");
        (East.Token, West.Token) = (token, token);
        await East.RestartAsync();
        foreach (var initialise in (bool[])[true, false])
        {
            Assert.Throws<InvalidOperationException>(() => East.Assign(East.Duty(1, East, initialise: initialise)));
            await PassesAsync(East);
        }
        Assert.Empty(East.Processes());
        Assert.Contains("counts its epochs anew", East.Reading!.Detail!, StringComparison.Ordinal);
        foreach (var kind in (string[])[DatabaseOrders.Restart, DatabaseOrders.Promote])
            Assert.True((await East.OrderAsync(kind, 5, new PromoteOrder("main", 5, "r"), WireJson.Default.PromoteOrder)).Refused);
        Assert.Empty(East.Processes());

        // The primary of epoch 2 goes on, and does not become anyone's standby.
        Assert.Throws<InvalidOperationException>(() => West.Assign(West.Duty(1, East)));
        await PassesAsync(West);
        Assert.Equal((DatabaseState.Primary, 2L), (West.Reading!.State, West.Reading.MarkerEpoch!.Value));
        await West.ExecuteAsync("insert into t values (78)");

        // With its store back the server is obeyed again.
        (East.Lineage, East.Token) = ("first", 60);
        East.Assign(East.Duty(2, West, moved: moved, former: East));
        await East.FollowsAsync(2);
    }

    [Fact(Timeout = TestMax)]
    public async Task EpochOneAgain_AgentThatSawEpochTwo_Waits()
    {
        await BeginAsync();
        await East.FenceAsync(1);
        var moved = await MoveWestAsync();
        West.Assign(West.Duty(1, East));
        await PassesAsync(West);
        Assert.Equal(DatabaseState.Primary, West.Reading!.State);
        await KillRegionAsync(West);
        await West.RestartAsync();
        West.Assign(West.Duty(1, West, initialise: true));
        await PassesAsync(West);
        Assert.Empty(West.Processes());
        Assert.Contains("epoch 2 has begun", West.Reading!.Detail!, StringComparison.Ordinal);
        Assert.True(Directory.Exists(West.Home.Data) && moved.Effect);
    }

    [Theory(Timeout = TestMax)]
    [InlineData(DatabaseOrders.Promote)]
    [InlineData(DatabaseOrders.Restart)]
    public async Task FencedAtTheEpoch_LateOrderOfThatEpoch_Refused(string kind)
    {
        await BeginAsync();
        var host = kind == DatabaseOrders.Promote ? West : East;
        await host.FenceAsync(2);
        var late = await host.OrderAsync(kind, 2, new PromoteOrder("main", 2, "r"), WireJson.Default.PromoteOrder);
        Assert.False(late.Done);
        Assert.True(late.Refused);
        Assert.Contains("fenced at epoch 2", late.Error!, StringComparison.Ordinal);
        Assert.Empty(host.Processes());
    }

    [Fact(Timeout = TestMax)]
    public async Task Promoted_KilledBeforeTheAnswer_TheSameOrderGoesOn()
    {
        await BeginAsync();
        await KillRegionAsync(East);
        var first = await West.PromoteAsync(2);
        await KillRegionAsync(West);
        await West.RestartAsync();
        await PassesAsync(West);
        Assert.Empty(West.Processes());
        var again = await West.PromoteAsync(2);
        Assert.Equal((first.Timeline, first.Fork, false), (again.Timeline, again.Fork, again.Effect));
    }

    /// <summary>Its proof was a person's word: it lives, and epoch 2 is open elsewhere.</summary>
    [Fact(Timeout = TestMax)]
    public async Task StalePrimary_AssignedAsStandby_IsStoppedAndFencedBeforeItRejoins()
    {
        await BeginAsync();
        await CutAsync(West, 1);
        await East.ExecuteAsync("insert into t values (9000)");
        var moved = await MoveWestAsync();
        East.Assign(East.Duty(2, West, moved: moved, former: East));
        await East.FollowsAsync(2);
        Assert.Equal((1L, 1), (East.Reading!.FencedEpoch!.Value, East.Reading.Effects.Fences));
        Assert.Equal(1L, East.Reading.Salvage!.Commits);
        Assert.Equal(0L, await East.ScalarAsync<long>("select count(*) from t where n = 9000"));
    }

    [Fact(Timeout = TestMax)]
    public async Task Fence_SaysWhereTheWalEnds()
    {
        await BeginAsync();
        await East.ExecuteAsync("insert into t select generate_series(1, 5000)");
        await West.UntilAsync(r => r.LagBytes == 0 && r.Replayed >= East.Reading!.Written, "the copy holds it");
        var fenced = await East.FenceAsync(1);
        if (fenced.End is not { } end)
            return; // 100 ms were not enough on this machine: unknown, which the contract allows
        await West.PassAsync();
        Assert.True(end >= West.Reading!.Replayed, $"{end} against {West.Reading.Replayed}");
        Assert.True(end - West.Reading.Replayed!.Value < 4096, $"{end} against {West.Reading.Replayed}");
    }

    private static async Task PassesAsync(AgentHost host)
    {
        for (var pass = 0; pass < 4; pass++)
            await host.PassAsync(confirm: false);
    }
}
