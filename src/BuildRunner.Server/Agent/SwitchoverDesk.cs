using System.Diagnostics;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace BuildRunner.Server.Agent;

/// <summary>
/// Orders of a planned move that come before the decisive ones (FAILOVER.md 6): look, prepare, seal, catch up. Each may come twice, and
/// <see cref="UnsealAsync"/> takes all of them back.
/// </summary>
internal sealed partial class SwitchoverDesk(AgentOptions options, AgentStateFile state, PostgresDriver driver, GuardClient guard, DatabaseKeeper keeper, AssignmentBook book, ReadySession ready, ILogger<SwitchoverDesk> logger) : IAsyncDisposable
{
    private const string SealApplication = "buildrunner-seal";
    private const int CheckpointMaxSeconds = 300;
    private const int TransactionsShown = 5;
    private const int UnloggedShown = 10;
    /// <summary>A session that was told to end is seen until it has: whoever looks next must not take it for one that goes on.</summary>
    private const int EndedWithinMs = 500;
    private static readonly TimeSpan SealMax = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(2);

    private const string TransactionsSql = """
        select pid, extract(epoch from clock_timestamp() - xact_start)::float8 * 1000, coalesce(usename::text, ''), application_name, backend_xid is not null, left(regexp_replace(query, '\s+', ' ', 'g'), 100)
        from pg_stat_activity
        where backend_type = 'client backend' and xact_start is not null and pid <> pg_backend_pid() and application_name not like 'buildrunner-%'
        order by xact_start limit 5
        """;

    private readonly ReadySession _readyMarker = new(driver, SealApplication, 0);
    private NpgsqlConnection? _marker;
    private Task? _waiting;

    public async Task<InspectResult> InspectAsync(SwitchOrder order, CancellationToken cancel)
    {
        await using var connection = await driver.Local(Database).OpenAsync(cancel);
        return await InspectAsync(connection, cancel);
    }

    /// <summary>
    /// Two checkpoints: the second is short, and what it leaves is little to do at the stop. Then what the move will need is opened and gone through
    /// once, without effect: the first time costs tens of milliseconds, and from the hold on writes wait.
    /// </summary>
    public async Task<PrepareResult> PrepareAsync(SwitchOrder order, CancellationToken cancel)
    {
        var started = Stopwatch.GetTimestamp();
        await using var connection = await driver.Local(Database, CheckpointMaxSeconds).OpenAsync(cancel);
        var found = await InspectAsync(connection, cancel);
        for (var checkpoint = 0; checkpoint < 2; checkpoint++)
            await connection.ExecuteAsync("checkpoint", cancel);
        var took = Stopwatch.GetElapsedTime(started);
        if (found.InRecovery)
        {
            driver.Moving(PostgresConfig.EagerReplay);
            await driver.ReloadAsync(cancel);
        }
        await ready.OpenAsync(Database, cancel);
        if (!found.InRecovery)
            await _readyMarker.OpenAsync(Database, cancel);
        await guard.RehearseAsync(cancel);
        var ended = order.CutOlderMs is { } limit && !found.InRecovery ? await EndOlderAsync(connection, limit, cancel) : 0;
        return new PrepareResult(took.TotalMilliseconds, ended, ended > 0 ? await InspectAsync(connection, cancel) : found);
    }

    /// <summary>
    /// Commits wait for a standby that does not exist. A marker's commit that is seen waiting proves that the setting is in force for every session;
    /// what was acknowledged before had been flushed by then, so that the flushed position bounds it.
    /// </summary>
    public Task<SealResult> SealAsync(SwitchOrder order, CancellationToken cancel) => keeper.ExclusiveAsync(DatabaseState.Sealed, async token =>
    {
        var started = Stopwatch.GetTimestamp();
        if (state.Current.PrimaryEpoch != order.Epoch || keeper.Fence?.Epoch >= order.Epoch)
            throw new OrderRefusedException($"{options.Region} is not the primary of epoch {order.Epoch} (it is that of {state.Current.PrimaryEpoch?.ToString(CultureInfo.InvariantCulture) ?? "none"}) and seals nothing.");
        await using var connection = await ready.TakeAsync(Database, token);
        var effect = !await IsWaitingAsync(connection, token);
        if (effect)
        {
            driver.Moving(PostgresConfig.Sealed);
            await connection.ExecuteAsync("select pg_reload_conf()", token);
            using var pace = new PeriodicTimer(Look);
            do
            {
                if (Stopwatch.GetElapsedTime(started) > SealMax)
                    throw new TimeoutException($"PostgreSQL in {options.Region} does not hold commits back {SealMax.TotalSeconds:F0} s after it was told to.");
                await MarkAsync(order, token);
                await pace.WaitForNextTickAsync(token);
            }
            while (!await IsWaitingAsync(connection, token));
        }
        await using var where = new NpgsqlCommand("select pg_current_wal_flush_lsn()::text, substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8)", connection);
        await using var row = await where.ExecuteReaderAsync(token);
        await row.ReadAsync(token);
        var result = new SealResult(Lsn.Parse(row.GetString(0)), int.Parse(row.GetString(1), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture), effect, Stopwatch.GetElapsedTime(started).TotalMilliseconds);
        LogSealed(logger, order.Run, result.At);
        return result;
    }, cancel);

    /// <summary>Also where nothing was prepared or sealed, and where PostgreSQL is down: then its next start knows nothing of the move.</summary>
    public Task<SealResult> UnsealAsync(SwitchOrder order, CancellationToken cancel) => keeper.ExclusiveAsync(DatabaseState.Starting, async token =>
    {
        var started = Stopwatch.GetTimestamp();
        var effect = driver.Moving(null);
        try { await driver.ReloadAsync(token); }
        catch (Exception error) when (error is NpgsqlException or InvalidOperationException) { LogDown(logger, order.Run, error.Message); }
        if (_waiting is { } waiting)
            await waiting.WaitAsync(SealMax, token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await DropMarkerAsync();
        return new SealResult(default, 0, effect, Stopwatch.GetElapsedTime(started).TotalMilliseconds);
    }, cancel);

    public async Task<ReachResult> ReachAsync(ReachOrder order, CancellationToken cancel)
    {
        var started = Stopwatch.GetTimestamp();
        var limit = TimeSpan.FromMilliseconds(order.LimitMs);
        var connection = await ready.TakeAsync(Database, cancel);
        try
        {
            await using var command = new NpgsqlCommand("select pg_last_wal_replay_lsn()::text", connection);
            using var pace = new PeriodicTimer(Look);
            while (true)
            {
                var replayed = await command.ExecuteScalarAsync(cancel) is string text ? Lsn.Parse(text) : default;
                if (replayed >= order.Until)
                    return new ReachResult(replayed, Stopwatch.GetElapsedTime(started).TotalMilliseconds);
                if (Stopwatch.GetElapsedTime(started) > limit)
                    throw new InvalidOperationException($"The copy in {options.Region} has replayed only {replayed} of {order.Until} after {limit.TotalMilliseconds:F0} ms.");
                await pace.WaitForNextTickAsync(cancel);
            }
        }
        finally { ready.Keep(Database, connection); } // the promotion comes next
    }

    public async ValueTask DisposeAsync()
    {
        await DropMarkerAsync();
        await _readyMarker.DisposeAsync();
    }

    private string Database => (book.Current?.Database ?? throw new InvalidOperationException($"{options.Region} has no database assigned.")).DatabaseName;

    /// <summary>A transaction that writes WAL and no table; its session waits on, and is answered when the seal is taken off or PostgreSQL ends.</summary>
    private async Task MarkAsync(SwitchOrder order, CancellationToken cancel)
    {
        if (_waiting is { IsCompleted: false })
            return;
        await DropMarkerAsync();
        _marker = await _readyMarker.TakeAsync(Database, cancel);
        _waiting = WaitAsync(_marker, order.Run);
    }

    private static async Task WaitAsync(NpgsqlConnection connection, string run)
    {
        try { await connection.ExecuteAsync($"set synchronous_commit = on; select pg_logical_emit_message(true, 'buildrunner.seal', {PostgresSql.Quote(run)})", CancellationToken.None); }
        catch (NpgsqlException) { } // PostgreSQL was stopped: that is how most of them end
    }

    /// <summary>A session that still waits is left to PostgreSQL: to close its connection would wait with it.</summary>
    private async Task DropMarkerAsync()
    {
        if (Interlocked.Exchange(ref _marker, null) is { } marker && _waiting is not { IsCompleted: false })
            await marker.DisposeAsync();
        _waiting = null;
    }

    private static async Task<bool> IsWaitingAsync(NpgsqlConnection connection, CancellationToken cancel)
    {
        await using var command = new NpgsqlCommand($"select exists (select from pg_stat_activity where application_name = '{SealApplication}' and wait_event = 'SyncRep')", connection);
        return await command.ExecuteScalarAsync(cancel) is true;
    }

    internal static async Task<int> EndOlderAsync(NpgsqlConnection connection, int limitMs, CancellationToken cancel)
    {
        await using var command = new NpgsqlCommand(string.Create(CultureInfo.InvariantCulture, $"""
            select count(*) filter (where pg_terminate_backend(pid, {EndedWithinMs}))::int from pg_stat_activity
            where backend_type = 'client backend' and pid <> pg_backend_pid() and application_name not like 'buildrunner-%'
              and clock_timestamp() - xact_start > interval '{limitMs} milliseconds'
            """), connection);
        return await command.ExecuteScalarAsync(cancel) is int ended ? ended : 0;
    }

    internal static async Task<InspectResult> InspectAsync(NpgsqlConnection connection, CancellationToken cancel)
    {
        const string facts = """
            select pg_is_in_recovery(), (select count(*)::int from pg_prepared_xacts), (select count(*)::int from pg_subscription),
                (select coalesce(string_agg(slot_name::text, ',' order by slot_name), '') from pg_replication_slots where slot_type = 'logical'),
                (select count(*)::int from pg_class where relpersistence = 'u' and relkind = 'r'),
                (select coalesce(string_agg(name, ',' order by name), '') from (select oid::regclass::text as name from pg_class where relpersistence = 'u' and relkind = 'r' order by 1 limit 10) u),
                current_setting('synchronous_standby_names')
            """;
        InspectResult result;
        await using (var command = new NpgsqlCommand(facts, connection))
        await using (var row = await command.ExecuteReaderAsync(cancel))
        {
            await row.ReadAsync(cancel);
            result = new InspectResult
            {
                InRecovery = row.GetBoolean(0),
                Prepared = row.GetInt32(1),
                Subscriptions = row.GetInt32(2),
                LogicalSlots = Split(row.GetString(3)),
                UnloggedCount = row.GetInt32(4),
                Unlogged = [.. Split(row.GetString(5)).Take(UnloggedShown)],
                SynchronousStandbys = row.GetString(6),
            };
        }
        var transactions = new List<OpenTransaction>(TransactionsShown);
        await using (var command = new NpgsqlCommand(TransactionsSql, connection))
        await using (var row = await command.ExecuteReaderAsync(cancel))
        {
            while (await row.ReadAsync(cancel))
                transactions.Add(new(row.GetInt32(0), row.GetDouble(1), row.GetString(2), row.GetString(3), row.GetBoolean(4), row.GetString(5)));
        }
        return result with { Transactions = transactions };
    }

    private static string[] Split(string list) => list.Split(',', StringSplitOptions.RemoveEmptyEntries);

    [LoggerMessage(Level = LogLevel.Information, Message = "Sealed for run {Run}: everything acknowledged lies before {At}.")]
    private static partial void LogSealed(ILogger logger, string run, Lsn at);

    [LoggerMessage(Level = LogLevel.Information, Message = "Unsealed for run {Run}; PostgreSQL was not told: {Reason}")]
    private static partial void LogDown(ILogger logger, string run, string reason);
}
