using System.Diagnostics;
using BuildRunner.Core.Databases;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace BuildRunner.Server.Agent;

/// <summary>
/// The only writer of `synchronous_standby_names` on this host but for a run's seal: puts what the server tells in force, and says so once it has seen
/// it for every session and every sender. That is what the server may build a claim on.
/// </summary>
internal sealed partial class SyncKeeper(PostgresDriver driver, TimeProvider time, ILogger<SyncKeeper> logger) : IAsyncDisposable
{
    /// <summary>A sender that was answering a commit while the setting changed has read it by then.</summary>
    private static readonly TimeSpan Settled = TimeSpan.FromMilliseconds(200);

    /// <summary>How long one pass tries to see a commit wait; leases are renewed after it.</summary>
    private static readonly TimeSpan SeenMax = TimeSpan.FromMilliseconds(400);

    private const string LookSql = """
        select current_setting('synchronous_standby_names'), pg_postmaster_start_time()::text, pg_current_wal_flush_lsn()::text,
            exists (select from pg_stat_replication where (coalesce(sync_priority, 0) > 0) <> (application_name = any(string_to_array($1, ','))))
        """;

    private (string Names, string Start, long At)? _first;
    private string? _waitedSince;
    private NpgsqlConnection? _connection;
    private SyncReading? _reading;
    private bool _reloaded;

    /// <summary>What is in force for certain; null: what was told last is not yet, or this is no primary.</summary>
    public SyncReading? Reading => Volatile.Read(ref _reading);

    public async ValueTask DisposeAsync() => await DropAsync();

    /// <summary>Puts a setting in force and looks whether it is.</summary>
    /// <param name="names">What the assignment says; null: it stays as it is.</param>
    /// <param name="version">Version of the assignment.</param>
    /// <param name="running">PostgreSQL runs; else its next start reads it.</param>
    /// <param name="primary">It takes writes.</param>
    /// <param name="cancel">Ends it at once; the next pass looks anew.</param>
    /// <returns>False: it is not in force yet, look again soon.</returns>
    public async Task<bool> ApplyAsync(string? names, long version, bool running, bool primary, CancellationToken cancel)
    {
        if (names is null)
        {
            Volatile.Write(ref _reading, null);
            return true;
        }
        if (driver.Sync(names) || _reading is { } old && old.Names != names)
        {
            Volatile.Write(ref _reading, null);
            (_reloaded, _first) = (false, null);
            LogSet(logger, names);
        }
        if (!running)
        {
            Volatile.Write(ref _reading, null);
            (_reloaded, _first) = (true, null);
            await DropAsync();
            return true;
        }
        try
        {
            if (!_reloaded)
                await driver.ReloadAsync(cancel);
            _reloaded = true;
            if (primary)
                return await LookAsync(names, version, cancel);
            Volatile.Write(ref _reading, null);
            return true;
        }
        catch (Exception error) when (error is NpgsqlException or TimeoutException or IOException)
        {
            await DropAsync();
            return false; // and again at the next pass
        }
    }

    private async Task<bool> LookAsync(string names, long version, CancellationToken cancel)
    {
        if (await SeeAsync(names, cancel) is not { } seen)
        {
            Volatile.Write(ref _reading, null);
            _first = null;
            return false;
        }
        if (_reading is { } known && _first is { } first && first.Start == seen.Start)
        {
            Volatile.Write(ref _reading, known with { Version = version });
            return true;
        }
        Volatile.Write(ref _reading, null);
        if (_first is not { } begun || begun.Names != names || begun.Start != seen.Start)
        {
            _first = (names, seen.Start, time.GetTimestamp());
            return false;
        }
        if (time.GetElapsedTime(begun.At) < Settled)
            return false;
        var setting = SyncSetting.Parse(names);
        if (setting.Required == 0)
            _waitedSince = null;
        else if (setting.Regions.Count > 0 && _waitedSince != seen.Start && !await SeesWaitAsync(cancel))
            return false;
        else if (setting.Regions.Count > 0)
            _waitedSince = seen.Start;
        // Read after all of that: what was acknowledged before had been flushed by then.
        if (await SeeAsync(names, cancel) is not { } after || after.Start != seen.Start)
            return false;
        Volatile.Write(ref _reading, new SyncReading(names, version, after.Flushed));
        LogInForce(logger, names, after.Flushed);
        return true;
    }

    /// <summary>The setting as this moment's session and every sender has read it; null: one of them has another.</summary>
    private async Task<(string Start, Lsn Flushed)?> SeeAsync(string names, CancellationToken cancel)
    {
        _connection ??= await driver.Local("postgres", 1).OpenAsync(cancel);
        await using var command = new NpgsqlCommand(LookSql, _connection);
        command.Parameters.Add(new NpgsqlParameter { Value = string.Join(',', SyncSetting.Parse(names).Members), NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Text });
        await using var row = await command.ExecuteReaderAsync(cancel);
        await row.ReadAsync(cancel);
        return row.GetString(0) == names && !row.GetBoolean(3) ? (row.GetString(1), Lsn.Parse(row.GetString(2))) : null;
    }

    /// <summary>
    /// Whether commits wait at all: sessions go by a flag that the checkpointer sets, perhaps late. A commit that is seen waiting is the evidence; one that
    /// was confirmed too fast to be seen is made again.
    /// </summary>
    private async Task<bool> SeesWaitAsync(CancellationToken cancel)
    {
        var started = time.GetTimestamp();
        await using var marker = await driver.Local("postgres", 1).OpenAsync(cancel);
        await using (var set = new NpgsqlCommand("set statement_timeout = 100; set synchronous_commit = on", marker))
            await set.ExecuteNonQueryAsync(cancel);
        while (time.GetElapsedTime(started) < SeenMax)
        {
            await using var commit = new NpgsqlCommand("select pg_logical_emit_message(true, 'buildrunner.sync', '')", marker);
            var made = commit.ExecuteNonQueryAsync(cancel);
            var seen = false;
            while (!seen && !made.IsCompleted)
            {
                await using var look = new NpgsqlCommand("select exists (select from pg_stat_activity where wait_event = 'SyncRep')", _connection);
                seen = await look.ExecuteScalarAsync(cancel) is true;
            }
            await made; // a wait that takes longer than the statement may is given up with a warning: this commit is nobody's
            if (seen)
                return true;
        }
        return false;
    }

    private async ValueTask DropAsync()
    {
        if (Interlocked.Exchange(ref _connection, null) is { } connection)
            await connection.DisposeAsync();
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Commits are to wait for '{Names}'.")]
    private static partial void LogSet(ILogger logger, string names);

    [LoggerMessage(Level = LogLevel.Information, Message = "Commits wait for '{Names}'; what was acknowledged before lies before {From}.")]
    private static partial void LogInForce(ILogger logger, string names, Lsn from);
}
