using System.ComponentModel;
using System.Diagnostics;
using System.Net.Sockets;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Hosting.Priority;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace BuildRunner.Server.Agent;

/// <summary>
/// Carries out the decisive orders of a run. Each looks first whether it is done already, so that it may come twice; its effect is counted
/// in the write that makes it true.
/// </summary>
internal sealed partial class DatabaseOrderDesk(
    AgentOptions options, AgentStateFile state, PostgresHome home, PostgresDriver driver, GuardClient guard, DatabaseKeeper keeper, AssignmentBook book,
    AddressWriter address, Adoption.AdoptionWork adoption, SalvageKeeper salvage, PromiseKeeper promises, ReadySession ready, ILogger<DatabaseOrderDesk> logger)
{
    private static readonly TimeSpan PromoteMax = TimeSpan.FromSeconds(30);

    /// <summary>About one promotion in thirty misses its signal and would wait a whole retry interval: it is sent again.</summary>
    private static readonly TimeSpan PromoteAgain = TimeSpan.FromMilliseconds(40);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(4);
    /// <summary>What the knowledge of the WAL's end may cost a failover.</summary>
    private static readonly TimeSpan EndMax = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan ListenMax = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan CutMax = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan CatchUpMax = TimeSpan.FromSeconds(5);

    /// <summary>How long replay must stand still, waiting for more, before a record that ends in the air counts as the end.</summary>
    private static readonly TimeSpan EndQuiet = TimeSpan.FromMilliseconds(40);

    public Task<FenceResult> FenceAsync(FenceOrder order, CancellationToken cancel) => keeper.ExclusiveAsync(DatabaseState.Fenced, async token =>
    {
        if (adoption.IsPending)
            throw new OrderRefusedException($"The PostgreSQL in {adoption.Folder} runs without a guard: {options.Region} is unfenced, and its end proves nothing.");
        var answer = home.HasData ? await guard.FenceAsync(order.Epoch, order.Run, token) : await FenceNothingAsync(order, token);
        LogFenced(logger, order.Epoch, answer.Evidence);
        address.Write();
        var end = order.EndKnown ? null : await EndAsync(token);
        return new FenceResult(
            new FenceProof { Kind = FenceProofKind.Stopped, Epoch = answer.Fence!.Epoch, Region = options.Region, Evidence = answer.Fence.Evidence, At = answer.Fence.At },
            answer.Effect, end);
    }, cancel, urgent: true);

    public Task<CutResult> CutAsync(CutOrder order, CancellationToken cancel) => keeper.ExclusiveAsync(DatabaseState.Standby, async token =>
    {
        var sql = driver.Local(Assignment.DatabaseName);
        var timeline = await sql.ScalarAsync<int?>("select received_tli from pg_stat_wal_receiver", token) ?? home.Timeline();
        var effect = state.Current.CutEpoch is not { } before || before < order.Epoch;
        state.Change(s => s with { CutEpoch = Math.Max(s.CutEpoch ?? 0, order.Epoch), CutRun = order.Run, RefusedEpoch = Math.Max(s.RefusedEpoch ?? 0, order.Epoch), RefusedRun = order.Run, Following = null });
        driver.Follow(null);
        await driver.ReloadAsync(token);

        return await EndAsync(sql, options.Region, timeline, effect, token);
    }, cancel);

    /// <summary>
    /// Before a promotion: what another copy has received and this one has not is taken from there, so that the highest position of the epoch's
    /// timeline is promoted and not merely the one that was named. Both stay cut off the primary.
    /// </summary>
    public Task<CutResult> CatchUpAsync(CatchUpOrder order, CancellationToken cancel) => keeper.ExclusiveAsync(DatabaseState.Standby, async token =>
    {
        if (state.Current.CutEpoch is not { } cut || cut < order.Epoch)
            throw new InvalidOperationException($"The copy in {options.Region} is not cut off epoch {order.Epoch} yet; it is cut before it catches up.");
        var sql = driver.Local(Assignment.DatabaseName);
        var timeline = home.Timeline();
        var effect = false;
        try
        {
            var started = Stopwatch.GetTimestamp();
            using var pace = new PeriodicTimer(Look);
            while (Lsn.Parse(await sql.ScalarAsync<string>("select pg_last_wal_replay_lsn()::text", token) ?? "0/0") is var replayed && replayed < order.Until)
            {
                if (!effect)
                {
                    driver.FollowCopy(order.Host, order.Port);
                    await driver.ReloadAsync(token);
                    effect = true;
                }
                if (Stopwatch.GetElapsedTime(started) > CatchUpMax)
                    throw new TimeoutException($"The copy in {options.Region} has reached only {replayed} of the {order.Until} that {order.From} holds, after {CatchUpMax.TotalSeconds:F0} s.");
                await pace.WaitForNextTickAsync(token);
            }
        }
        finally
        {
            if (effect)
            {
                driver.Follow(null);
                await driver.ReloadAsync(CancellationToken.None);
            }
        }
        return await EndAsync(sql, options.Region, timeline, effect, token);
    }, cancel);

    public Task<CutResult> UncutAsync(CutOrder order, CancellationToken cancel) => keeper.ExclusiveAsync(DatabaseState.Standby, async token =>
    {
        // The next pass sets whom to follow, from the assignment. That is all: a PostgreSQL that is down now follows when it is up.
        var effect = state.LiftCut(order.Run);
        try
        {
            var sql = driver.Local(Assignment.DatabaseName);
            var replayed = Lsn.Parse(await sql.ScalarAsync<string>("select pg_last_wal_replay_lsn()::text", token) ?? "0/0");
            return new CutResult(home.Timeline(), replayed, replayed, await sql.ScalarAsync<long?>("select max(epoch) from buildrunner.epoch", token), effect);
        }
        catch (Exception error) when (error is NpgsqlException or TimeoutException) { return new CutResult(home.Timeline(), default, default, null, effect); }
    }, cancel);

    /// <summary>
    /// Waits until nothing is received any more and replay waits for more. What was received may end within a record, so the position that counts
    /// is the one replayed when the startup process has come to the end.
    /// </summary>
    private static async Task<CutResult> EndAsync(PostgresSql sql, string region, int timeline, bool effect, CancellationToken cancel)
    {
        const string look = """
            select (select count(*) from pg_stat_wal_receiver), pg_last_wal_receive_lsn()::text, pg_last_wal_replay_lsn()::text, (select max(epoch) from buildrunner.epoch),
                exists (select from pg_stat_activity where backend_type = 'startup' and wait_event in ('RecoveryWalStream', 'RecoveryRetrieveRetryInterval'))
            """;
        var started = Stopwatch.GetTimestamp();
        using var pace = new PeriodicTimer(Look);
        await using var connection = await sql.OpenAsync(cancel);
        var (last, since) = (default(Lsn), started);
        while (true)
        {
            await using var command = new NpgsqlCommand(look, connection);
            await using (var row = await command.ExecuteReaderAsync(cancel))
            {
                await row.ReadAsync(cancel);
                var replayed = row.IsDBNull(2) ? default : Lsn.Parse(row.GetString(2));
                var received = row.IsDBNull(1) ? replayed : Lsn.Parse(row.GetString(1));
                if (replayed != last)
                    (last, since) = (replayed, Stopwatch.GetTimestamp());
                var atEnd = replayed >= received || (row.GetBoolean(4) && Stopwatch.GetElapsedTime(since) >= EndQuiet);
                if (row.GetInt64(0) == 0 && atEnd)
                    return new CutResult(timeline, received, replayed, row.IsDBNull(3) ? null : row.GetInt64(3), effect);
                if (Stopwatch.GetElapsedTime(started) > CutMax)
                    throw new TimeoutException($"The standby in {region} has received {received} and replayed only {replayed} after {CutMax.TotalSeconds:F0} s.");
            }
            await pace.WaitForNextTickAsync(cancel);
        }
    }

    public Task<PromoteResult> PromoteAsync(PromoteOrder order, CancellationToken cancel) => keeper.ExclusiveAsync(DatabaseState.Promoting, async token =>
    {
        var started = Stopwatch.GetTimestamp();
        Require(order.Epoch, "promote");
        // A promise binds to a primary that may still answer; one that is dead for certain needs none.
        if (order.Proof is not (FenceProofKind.Stopped or FenceProofKind.Demoted or FenceProofKind.PoweredOff or FenceProofKind.Cut) && state.Current.Promoting != order.Epoch && (order.Proof == FenceProofKind.Expired ? promises.LeftAfter(order.Epoch - 1) : promises.Left) is { Ticks: > 0 } left)
            throw new InvalidOperationException($"{options.Region} promised a primary in failsafe not to be promoted for {left.TotalSeconds:0.0} s more.");
        if (await guard.StatusAsync(token) is not { Running: true })
        {
            var current = state.Current;
            if (home.HasData && !home.IsStandby && !current.Rebuilding && !current.Initialising && (current.Promoting == order.Epoch || current.PrimaryEpoch == order.Epoch))
            {
                await driver.StartAsync(standby: false, token); // it ended in or after this very promotion
            }
            else
            {
                if (!home.HasData || !home.IsStandby || current.Rebuilding)
                    throw new InvalidOperationException($"{options.Region} has no standby to promote.");
                driver.Follow(null);
                await keeper.StartStandbyAsync(token);
            }
        }
        await using var connection = await ready.TakeAsync(Assignment.DatabaseName, token);
        if (BeginSync(order.Epoch))
            await connection.ExecuteAsync("select pg_reload_conf()", token);
        if (await connection.ScalarAsync<bool>("select pg_is_in_recovery()", token))
        {
            state.Change(s => s with { Promoting = order.Epoch });
            await PromoteAsync(connection, token);
        }
        else if (state.Current.Promoting != order.Epoch && state.Current.PrimaryEpoch != order.Epoch)
        {
            throw new InvalidOperationException($"{options.Region} is no standby: it is the primary of epoch {state.Current.PrimaryEpoch?.ToString(CultureInfo.InvariantCulture) ?? "unknown"}.");
        }
        await WriteMarkerAsync(connection, order, token);
        var effect = state.Current.PrimaryEpoch != order.Epoch;
        if (effect)
            state.Change(s => s with { PrimaryEpoch = order.Epoch, Promoting = null, CutEpoch = null, CutRun = null, Following = null, Promotions = s.Promotions + 1 });
        address.Write();
        var (timeline, fork) = await WhereAsync(connection, token);
        LogPromoted(logger, order.Epoch, timeline, fork);
        return new PromoteResult(timeline, fork, effect, Stopwatch.GetElapsedTime(started).TotalMilliseconds);
    }, cancel);

    /// <summary>A fenced primary that nobody replaced goes on at the next epoch: started, not promoted.</summary>
    public Task<PromoteResult> RestartAsync(PromoteOrder order, CancellationToken cancel) => keeper.ExclusiveAsync(DatabaseState.Starting, async token =>
    {
        var started = Stopwatch.GetTimestamp();
        Require(order.Epoch, "start");
        if (await guard.StatusAsync(token) is not { Running: true })
        {
            if (!home.HasData || home.IsStandby || state.Current.Rebuilding || state.Current.PrimaryEpoch is null)
                throw new InvalidOperationException($"{options.Region} holds no fenced primary to start again.");
            BeginSync(order.Epoch);
            await driver.StartAsync(standby: false, token);
        }
        await using var connection = await driver.Local(Assignment.DatabaseName, 30).OpenAsync(token);
        if (await connection.ScalarAsync<bool>("select pg_is_in_recovery()", token))
            throw new InvalidOperationException($"{options.Region} is a standby: promote it.");
        var before = Lsn.Parse(await connection.ScalarAsync<string>("select pg_current_wal_insert_lsn()::text", token) ?? "0/0");
        await WriteMarkerAsync(connection, order, token);
        var effect = state.Current.PrimaryEpoch != order.Epoch;
        state.Change(s => s with { PrimaryEpoch = order.Epoch, Promoting = null, CutEpoch = null, CutRun = null, Following = null });
        address.Write();
        var (timeline, _) = await WhereAsync(connection, token);
        return new PromoteResult(timeline, before, effect, Stopwatch.GetElapsedTime(started).TotalMilliseconds);
    }, cancel);

    /// <summary>
    /// The epoch that begins knows of no copy: whom the former one waited for must not be waited for here. Where there is a lease, the guard is.
    /// A repeated order leaves what was told since.
    /// </summary>
    private bool BeginSync(long epoch) => state.Current.PrimaryEpoch != epoch && driver.Sync(Assignment.Lease is null ? SyncSetting.None.Names : SyncSetting.Gate.Names);

    /// <summary>
    /// An order may have waited for another one: what was admitted when it came may stand no more. A fence at an epoch ends that epoch here
    /// for good, whatever is ordered after it.
    /// </summary>
    private void Require(long epoch, string what)
    {
        if (keeper.Fence?.Epoch >= epoch)
            throw new OrderRefusedException($"{options.Region} is fenced at epoch {keeper.Fence.Epoch} and does not {what} at epoch {epoch}.");
        if (state.Current.SeenEpoch > epoch)
            throw new OrderRefusedException($"{options.Region} has seen epoch {state.Current.SeenEpoch} and does not {what} at epoch {epoch}.");
    }

    /// <summary>Where the primary's WAL ends; null when that cannot be told at once, because a run waits for the fence.</summary>
    private async Task<Lsn?> EndAsync(CancellationToken cancel)
    {
        if (!home.HasData || state.Current.PrimaryEpoch is null)
            return null;
        // Not cancelled when it is late: it only reads, and killing it would cost more than its end.
        try { return await salvage.LastAsync(cancel).WaitAsync(EndMax, cancel); }
        catch (Exception error) when (error is TimeoutException or IOException or Win32Exception)
        {
            LogNoEnd(logger, EndMax.TotalMilliseconds);
            return null;
        }
    }

    private DatabaseAssignment Assignment => book.Current?.Database ?? throw new InvalidOperationException($"{options.Region} has no database assigned.");

    private async Task PromoteAsync(NpgsqlConnection connection, CancellationToken cancel)
    {
        var started = Stopwatch.GetTimestamp();
        using var pace = new PeriodicTimer(Look);
        var sent = 0;
        while (true)
        {
            var took = Stopwatch.GetElapsedTime(started);
            if (sent == 0 || (sent == 1 && took > PromoteAgain) || took > PromoteAgain * 25 * sent)
            {
                sent++;
                await TryPromoteAsync(connection, cancel);
            }
            if (!await connection.ScalarAsync<bool>("select pg_is_in_recovery()", cancel))
                return;
            if (took > PromoteMax)
                throw new TimeoutException($"The standby in {options.Region} still recovers {took.TotalSeconds:F0} s after the promotion was ordered.");
            await pace.WaitForNextTickAsync(cancel);
        }
    }

    private static async Task TryPromoteAsync(NpgsqlConnection connection, CancellationToken cancel)
    {
        try
        {
            // Its recovery ends in the startup process, which is gone afterwards.
            if (await connection.ScalarAsync<int?>("select (select pid from pg_stat_get_activity(null) where backend_type = 'startup' limit 1), pg_promote(false)", cancel) is { } process)
                Turns.First(process);
        }
        catch (PostgresException error) when (error.SqlState == PostgresErrorCodes.ObjectNotInPrerequisiteState) { } // the first call was enough
    }

    private Task WriteMarkerAsync(NpgsqlConnection connection, PromoteOrder order, CancellationToken cancel) => connection.ExecuteAsync(string.Create(CultureInfo.InvariantCulture,
        $"set synchronous_commit = local; insert into buildrunner.epoch (epoch, run, region) values ({order.Epoch}, {PostgresSql.Quote(order.Run)}, {PostgresSql.Quote(options.Region)}) on conflict (epoch) do nothing"), cancel);

    private async Task<(int Timeline, Lsn Fork)> WhereAsync(NpgsqlConnection connection, CancellationToken cancel)
    {
        var name = await connection.ScalarAsync<string>("select pg_walfile_name(pg_current_wal_insert_lsn())", cancel) ?? throw new InvalidOperationException("PostgreSQL named no WAL file.");
        var timeline = TimelineHistory.NumberOf(name);
        var history = Path.Combine(home.Data, "pg_wal", TimelineHistory.FileName(timeline));
        return (timeline, File.Exists(history) ? TimelineHistory.Began(await File.ReadAllTextAsync(history, cancel)) ?? default : default);
    }

    /// <summary>
    /// No data, so no process: the fence is written all the same, so that none begins. But data may lie elsewhere and this agent not know of it (an adopted
    /// one whose folder or state was lost, one that nobody told it of): where something may listen, nothing is proven.
    /// </summary>
    private async Task<GuardAnswer> FenceNothingAsync(FenceOrder order, CancellationToken cancel)
    {
        if (state.Current.Adoption is { } adopted)
            throw new InvalidOperationException($"The PostgreSQL that was adopted in {adopted.Folder} is not found by {home.Data}: whether it runs is not known, and nothing is proven.");
        if (!await IsSilentAsync(cancel))
            throw new InvalidOperationException($"There is no data in {home.Data}, and yet something may listen at {options.Host}:{options.DatabasePort}: it is not this agent's, and its end is not proven.");
        var before = keeper.Fence;
        if (before?.Epoch >= order.Epoch)
            return new GuardAnswer { Ok = true, Fence = before, Evidence = before.Evidence };
        var fence = new FenceFile { Epoch = order.Epoch, Run = order.Run, Evidence = $"there is no PostgreSQL data in {options.Region}", At = DateTimeOffset.UtcNow, Fences = (before?.Fences ?? 0) + 1 };
        AtomicFile.Write(home.FenceFile, System.Text.Json.JsonSerializer.SerializeToUtf8Bytes(fence, GuardJson.Default.FenceFile));
        return new GuardAnswer { Ok = true, Fence = fence, Evidence = fence.Evidence, Effect = true };
    }

    /// <summary>Only a refusal by the kernel says that nobody listens.</summary>
    private async Task<bool> IsSilentAsync(CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(ListenMax);
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        try
        {
            await socket.ConnectAsync(options.Host, options.DatabasePort, limit.Token);
            return false;
        }
        catch (SocketException error) { return error.SocketErrorCode == SocketError.ConnectionRefused; }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested) { return false; }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "The end of the fenced primary's WAL was not found within {Milliseconds} ms; it is left unknown.")]
    private static partial void LogNoEnd(ILogger logger, double milliseconds);

    [LoggerMessage(Level = LogLevel.Information, Message = "Fenced at epoch {Epoch}: {Evidence}.")]
    private static partial void LogFenced(ILogger logger, long epoch, string? evidence);

    [LoggerMessage(Level = LogLevel.Information, Message = "Promoted to epoch {Epoch}: timeline {Timeline} from {Fork}.")]
    private static partial void LogPromoted(ILogger logger, long epoch, int timeline, Lsn fork);
}

/// <summary>The order stands no more; it will not do so later either.</summary>
internal sealed class OrderRefusedException(string message) : InvalidOperationException(message);
