using BuildRunner.Core.Databases;
using Npgsql;

namespace BuildRunner.Server.Agent;

/// <summary>Reads a PostgreSQL's role, positions and lag in one statement, on one connection that it keeps and opens again when it broke.</summary>
internal sealed class PostgresReader(TimeProvider time) : IAsyncDisposable
{
    /// <summary>How often, and how far apart, a standby is looked at that was never seen to hold everything: a moment's backlog at a start is no lag.</summary>
    private const int FirstLooks = 8;
    private static readonly TimeSpan FirstLookPace = TimeSpan.FromMilliseconds(25);

    private const string Sql = """
        select r.recovering,
               case when r.recovering then null else pg_current_wal_insert_lsn()::text end,
               case when r.recovering then null else pg_current_wal_flush_lsn()::text end,
               case when r.recovering then null else pg_walfile_name(pg_current_wal_insert_lsn()) end,
               case when r.recovering then pg_last_wal_receive_lsn()::text end,
               case when r.recovering then pg_last_wal_replay_lsn()::text end,
               w.status, w.received_tli, w.latest_end_lsn::text,
               case when r.recovering then extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8 end,
               (select timeline_id from pg_control_checkpoint()),
               current_setting('data_checksums') = 'on', current_setting('wal_log_hints') = 'on', current_setting('server_version'),
               (select system_identifier::text from pg_control_system()),
               w.pid, w.last_msg_send_time is distinct from w.last_msg_receipt_time, current_setting('synchronous_standby_names'),
               (select coalesce(string_agg(slot_name, ',' order by slot_name), '') from (select slot_name from pg_replication_slots where not temporary limit 50) s)
        from (select pg_is_in_recovery() as recovering) r left join pg_stat_wal_receiver w on true
        """;
    private const string ReplicasSql = "select application_name, state, sent_lsn::text, replay_lsn::text, extract(epoch from replay_lag)::float8, flush_lsn::text from pg_stat_replication where application_name not like 'pg_%' and application_name <> '" + GateName.Value + "'";
    private const string MarkerSql = "select epoch, run from buildrunner.epoch order by epoch desc limit 1";

    private readonly ReplicaLag _lag = new(time);
    private NpgsqlConnection? _connection;
    private PostgresSql? _sql;
    private int _lastTimeline;
    private int? _receiver;
    private long _receiverSince;

    /// <summary>For how long the receiver of the last reading has been seen, by this host's monotonic clock; null: there was none.</summary>
    public TimeSpan? ReceiverAge { get; private set; }

    /// <summary>What PostgreSQL says of itself, within about a second; an exception when it says nothing.</summary>
    public async Task<DatabaseReading> ReadAsync(string database, PostgresSql sql, CancellationToken cancel)
    {
        try
        {
            if (_connection is null || _sql != sql)
            {
                await DropAsync();
                _connection = await sql.OpenAsync(cancel);
                _sql = sql;
            }
            var reading = await ReadPositionsAsync(database, _connection, cancel);
            if (reading.Streaming && !_lag.HasHeld)
                reading = await LookAgainAsync(database, _connection, reading, cancel);
            reading = reading.State is DatabaseState.Primary or DatabaseState.Sealed ? reading with { Replicas = await ReadReplicasAsync(_connection, cancel) } : reading;
            var (epoch, run) = await ReadMarkerAsync(_connection, cancel);
            return reading with { MarkerEpoch = epoch, MarkerRun = run };
        }
        catch
        {
            await DropAsync();
            throw;
        }
    }

    public async ValueTask DisposeAsync() => await DropAsync();

    private async Task<DatabaseReading> LookAgainAsync(string database, NpgsqlConnection connection, DatabaseReading reading, CancellationToken cancel)
    {
        using var pace = new PeriodicTimer(FirstLookPace);
        for (var look = 1; look < FirstLooks && !_lag.HasHeld && reading.Streaming; look++)
        {
            await pace.WaitForNextTickAsync(cancel);
            reading = await ReadPositionsAsync(database, connection, cancel);
        }
        return reading;
    }

    private async Task<DatabaseReading> ReadPositionsAsync(string database, NpgsqlConnection connection, CancellationToken cancel)
    {
        await using var command = new NpgsqlCommand(Sql, connection);
        await using var row = await command.ExecuteReaderAsync(cancel);
        if (!await row.ReadAsync(cancel))
            throw new InvalidOperationException("PostgreSQL answered no row.");
        var recovering = row.GetBoolean(0);
        var received = Position(row, 4);
        var replayed = Position(row, 5);
        var streaming = recovering && !row.IsDBNull(6) && row.GetString(6) == "streaming";
        var told = Position(row, 8);
        int? receiver = row.IsDBNull(15) ? null : row.GetInt32(15);
        if (receiver != _receiver)
            (_receiver, _receiverSince) = (receiver, time.GetTimestamp());
        ReceiverAge = receiver is null ? null : time.GetElapsedTime(_receiverSince);
        // A receiver says "streaming" before it has connected. What it was sent shows in two times that begin equal; a silent primary may send nothing.
        var fed = streaming && (row.GetBoolean(16) || ReceiverAge >= StreamWatch.Lasting);
        if (!recovering)
            _lag.Forget();
        // Without a receiver the control file is all there is, and it lags behind a change of timeline.
        _lastTimeline = !recovering ? TimelineHistory.NumberOf(row.GetString(3))
            : !row.IsDBNull(7) ? row.GetInt32(7)
            : Math.Max(_lastTimeline, row.GetInt32(10));
        return new DatabaseReading
        {
            Database = database,
            State = recovering ? DatabaseState.Standby : row.GetString(17) == PostgresConfig.SealName ? DatabaseState.Sealed : DatabaseState.Primary,
            AcceptsConnections = true,
            SystemIdentifier = row.GetString(14),
            ServerVersion = row.GetString(13),
            Timeline = _lastTimeline,
            Written = Position(row, 1),
            Flushed = Position(row, 2),
            Received = received,
            Replayed = replayed,
            Streaming = streaming,
            LagBytes = streaming && replayed is { } at ? Math.Max(0, Lsn.Max(told ?? default, received ?? default) - at) : null,
            LagSeconds = recovering ? _lag.Seconds(fed, replayed, received, told, row.IsDBNull(9) ? null : row.GetDouble(9)) : null,
            DataChecksums = row.GetBoolean(11),
            WalLogHints = row.GetBoolean(12),
            SyncNames = row.GetString(17),
            Slots = row.GetString(18).Split(',', StringSplitOptions.RemoveEmptyEntries),
        };
    }

    private static async Task<IReadOnlyList<ReplicaReading>> ReadReplicasAsync(NpgsqlConnection connection, CancellationToken cancel)
    {
        var replicas = new List<ReplicaReading>();
        await using var command = new NpgsqlCommand(ReplicasSql, connection);
        await using var row = await command.ExecuteReaderAsync(cancel);
        while (await row.ReadAsync(cancel))
            replicas.Add(new(row.GetString(0), row.GetString(1), Position(row, 2), Position(row, 3), row.IsDBNull(4) ? null : row.GetDouble(4), Position(row, 5)));
        return replicas;
    }

    private static async Task<(long?, string?)> ReadMarkerAsync(NpgsqlConnection connection, CancellationToken cancel)
    {
        try
        {
            await using var command = new NpgsqlCommand(MarkerSql, connection);
            await using var row = await command.ExecuteReaderAsync(cancel);
            return await row.ReadAsync(cancel) ? (row.GetInt64(0), row.IsDBNull(1) ? null : row.GetString(1)) : (null, null);
        }
        catch (PostgresException error) when (error.SqlState is PostgresErrorCodes.UndefinedTable or PostgresErrorCodes.InvalidSchemaName)
        {
            return (null, null); // being made
        }
    }

    private static Lsn? Position(NpgsqlDataReader row, int column) => row.IsDBNull(column) ? null : Lsn.Parse(row.GetString(column));

    private async ValueTask DropAsync()
    {
        if (_connection is { } connection)
        {
            _connection = null;
            await connection.DisposeAsync();
        }
    }
}
