using BuildRunner.Server.Agent;
using System.Diagnostics;
using BuildRunner.Core.Databases;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Agent;

/// <summary>A former primary becomes a standby again, and always says what it lost.</summary>
public sealed class AgentRejoinTests : AgentPair
{
    [Fact(Timeout = TestMax)]
    public async Task Rejoin_NothingPastTheFork_SaysZeroAndFollowsAsItIsAtOnce()
    {
        await BeginAsync();
        await CutAsync(West, 1);
        await KillRegionAsync(East);
        var moved = await MoveWestAsync();

        await East.RestartAsync();
        East.Assign(East.Duty(2, West, moved: moved, former: East));
        var started = Stopwatch.GetTimestamp();
        await East.FollowsAsync(2);
        var took = Stopwatch.GetElapsedTime(started);
        var salvage = East.Reading!.Salvage!;
        Assert.Equal((1L, moved.Fork, 0L, 0L, null), (salvage.Epoch, salvage.Fork!.Value, salvage.Bytes!.Value, salvage.Commits!.Value, salvage.Unreadable));
        var log = File.ReadAllText(East.LogFile);
        Assert.Contains("follows as it is", log, StringComparison.Ordinal);
        Assert.DoesNotContain("has not begun", log, StringComparison.Ordinal);
        Assert.True(took < TimeSpan.FromSeconds(20), $"rejoined after {took.TotalSeconds:F1} s"); // a quiet machine needs two
        TestContext.Current.SendDiagnosticMessage($"rejoined after {took.TotalSeconds:F1} s");
    }

    [Fact(Timeout = TestMax)]
    public async Task Rejoin_SegmentOfTheForkMissing_LossStaysUnknown()
    {
        await BeginAsync();
        await CutAsync(West, 1);
        await East.ExecuteAsync("insert into t values (9000)");
        await PostgresSql.Local(East.Home.PermitFolder(), East.Port, "postgres", 30).ExecuteAsync("checkpoint", Cancel);
        await KillRegionAsync(East);
        var moved = await MoveWestAsync();
        var wal = Path.Combine(East.Home.Data, "pg_wal");
        var segments = Directory.GetFiles(wal, $"*{East.Home.Wal.FileName(1, East.Home.Wal.Segment(moved.Fork))}");
        Assert.NotEmpty(segments);
        foreach (var segment in segments)
            File.Delete(segment);

        await RejoinsUnknownAsync(moved, "missing");
    }

    [Fact(Timeout = TestMax)]
    public async Task Rejoin_WalDamagedPastTheFork_LossStaysUnknown()
    {
        await BeginAsync();
        await CutAsync(West, 1);
        await East.ExecuteAsync("insert into t select generate_series(9000, 19000)"); // many pages
        await KillRegionAsync(East);
        var moved = await MoveWestAsync();
        var layout = East.Home.Wal;
        var damaged = (long)moved.Fork.Bytes + (20 * WalLayout.PageBytes);
        for (var page = 0; page < 8; page++, damaged += WalLayout.PageBytes)
        {
            await using var file = File.Open(Path.Combine(East.Home.Data, "pg_wal", layout.FileName(1, damaged / layout.SegmentBytes)), FileMode.Open);
            file.Position = damaged % layout.SegmentBytes;
            file.Write(new byte[Math.Min(WalLayout.PageBytes, layout.SegmentBytes - file.Position)]);
        }
        await RejoinsUnknownAsync(moved, "damaged");
    }

    [Fact(Timeout = TestMax)]
    public async Task Rejoin_DataGone_LossStaysUnknown()
    {
        await BeginAsync();
        await KillRegionAsync(East);
        var moved = await MoveWestAsync();
        Directory.Delete(East.Home.Data, recursive: true);
        await RejoinsUnknownAsync(moved, "gone");
    }

    [Fact(Timeout = TestMax)]
    public async Task Rejoin_RewindFails_CopiesAndStillSaysWhatWasLost()
    {
        await BeginAsync();
        await CutAsync(West, 1);
        await East.ExecuteAsync("insert into t values (9000)");
        await KillRegionAsync(East);
        var moved = await MoveWestAsync();
        // A rewind reads every file; one that it may not read ends it.
        Directory.CreateSymbolicLink(Path.Combine(East.Home.Data, "base", "loop"), "loop");

        await East.RestartAsync();
        East.Assign(East.Duty(2, West, moved: moved, former: East));
        await East.FollowsAsync(2);
        Assert.Equal((1L, null), (East.Reading!.Salvage!.Commits!.Value, East.Reading.Salvage.Unreadable));
        Assert.Contains("a fresh copy is made", File.ReadAllText(East.LogFile), StringComparison.Ordinal);
        Assert.Equal(0L, await East.ScalarAsync<long>("select count(*) from t where n >= 9000"));
    }

    /// <summary>Two promotions that knew nothing of each other began timeline 2 both: the number alone would fool a rewind.</summary>
    [Fact(Timeout = TestMax)]
    public async Task Rejoin_SameTimelineNumberOtherMarker_CopiesAndCounts()
    {
        await BeginAsync();
        await KillRegionAsync(East);
        var first = await MoveWestAsync(); // epoch 2, timeline 2
        await KillRegionAsync(West);

        // East is taken for epoch 3 as it stands at timeline 1: as a standby it is promoted to a timeline 2 of its own.
        File.WriteAllText(East.Home.StandbySignal, "");
        Process.Start("chown", ["postgres", East.Home.StandbySignal]).WaitForExit();
        var second = await East.PromoteAsync(3);
        Assert.Equal((first.Timeline, 2), (second.Timeline, second.Timeline));
        East.Assign(East.Duty(3, East, moved: second, former: West));
        await East.BecomesPrimaryAsync(3);

        await West.RestartAsync();
        West.Assign(West.Duty(3, East, moved: second, former: West));
        await West.FollowsAsync(3);
        Assert.Contains("does not know the timeline here", File.ReadAllText(West.LogFile), StringComparison.Ordinal);
        var salvage = West.Reading!.Salvage!;
        Assert.Equal((2L, null), (salvage.Epoch, salvage.Unreadable));
        Assert.True(salvage.Commits >= 2, $"{salvage}"); // its marker and 77
        Assert.Equal(0L, await West.ScalarAsync<long>("select count(*) from t where n = 77"));
    }

    [Theory(Timeout = TestMax)]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Standby_PrimaryHasDroppedItsWal_CopiesAnew(bool slot)
    {
        await BeginAsync();
        await West.Guard.StopAsync(TimeSpan.FromSeconds(2), Cancel);
        var sql = PostgresSql.Local(East.Home.PermitFolder(), East.Port, "postgres", 30);
        await sql.ExecuteAsync($"alter system set wal_keep_size = 0", Cancel);
        await sql.ExecuteAsync($"alter system set max_slot_wal_keep_size = '1MB'", Cancel);
        await sql.ExecuteAsync("select pg_reload_conf()", Cancel);
        if (!slot)
            await Eventually.TrueAsync(async () => await sql.ScalarAsync<bool>("select bool_or(pg_drop_replication_slot(slot_name) is not null) is not null from pg_replication_slots where not active", Cancel), "the slot is dropped", Cancel);
        await Eventually.TrueAsync(async () =>
        {
            await sql.ExecuteAsync("select pg_logical_emit_message(true, 'a', 'b')", Cancel);
            await sql.ExecuteAsync("select pg_switch_wal()", Cancel);
            await sql.ExecuteAsync("checkpoint", Cancel);
            return await sql.ScalarAsync<bool>("select not exists (select from pg_ls_waldir() where name <= '000000010000000000000003')", Cancel);
        }, "the WAL that the standby needs is gone", Cancel);

        var started = Stopwatch.GetTimestamp();
        await East.PassAsync();
        var written = East.Reading!.Written; // "streaming" alone shows for a moment even where nothing can be streamed
        await West.UntilAsync(r => r.Streaming && r.Replayed >= written, "the standby holds what was written meanwhile");
        Assert.Contains("no longer has the WAL", File.ReadAllText(West.LogFile), StringComparison.Ordinal);
        Assert.Null(West.Reading!.Salvage); // a standby's copy loses nothing
        Assert.True(Stopwatch.GetElapsedTime(started) < TimeSpan.FromSeconds(25));
    }

    [Fact(Timeout = TestMax)]
    public async Task Standby_PrimaryOfAnotherCluster_ReplacesNothing()
    {
        await BeginAsync();
        await using var other = new AgentHost(Folder, "eu-west-1");
        other.Assign(other.Duty(1, other, initialise: true));
        await other.BecomesPrimaryAsync(1);
        West.Assign(West.Duty(1, other));
        await West.UntilAsync(r => r.Detail?.Contains("another database", StringComparison.Ordinal) == true, "it says why it does not follow");
        Assert.Equal(0L, await West.ScalarAsync<long>("select count(*) from t"));
    }

    private async Task RejoinsUnknownAsync(Client.Databases.PromoteResult moved, string why)
    {
        await East.RestartAsync();
        East.Assign(East.Duty(2, West, moved: moved, former: East));
        await East.FollowsAsync(2);
        var salvage = East.Reading!.Salvage!;
        Assert.Equal((1L, null, null), (salvage.Epoch, salvage.Bytes, salvage.Commits));
        Assert.Contains(why, salvage.Unreadable!, StringComparison.Ordinal);
        Assert.Equal(1L, await East.ScalarAsync<long>("select count(*) from t where n = 77"));
    }
}
