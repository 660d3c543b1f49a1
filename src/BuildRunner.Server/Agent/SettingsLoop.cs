using BuildRunner.Core.Databases;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace BuildRunner.Server.Agent;

/// <summary>Reads every 15 s what readiness asks of PostgreSQL: settings, loose commits, rights, and how far back its WAL goes.</summary>
internal sealed partial class SettingsLoop(AssignmentBook book, PostgresHome home, PostgresDriver driver, GuardClient guard, TimeProvider time, ILogger<SettingsLoop> logger)
    : ReconcileLoop(TimeSpan.FromSeconds(15), time, logger)
{
    private static readonly TimeSpan ReadMax = TimeSpan.FromSeconds(3);

    private const string Sql = """
        select current_setting('data_checksums') = 'on', current_setting('wal_log_hints') = 'on', current_setting('full_page_writes') = 'on',
               (select setting::int8 from pg_settings where name = 'wal_segment_size'),
               coalesce((select rolsuper from pg_roles where rolname = current_user), false),
               (select case when not rolcanlogin then 'may not log in' when not rolreplication then 'may not replicate' else '' end from pg_roles where rolname = 'br_replication'),
               (select case when not rolcanlogin then 'may not log in' else '' end from pg_roles where rolname = @app)
        """;

    private const string OldestSql = "select min(substring(name from 9)) from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$'";

    // The configuration's own value: what this session runs with may come from its role.
    private const string LooseSql = """
        select null::text, null::text, lower(setting) from (select setting from pg_file_settings where name = 'synchronous_commit' and applied order by seqno desc limit 1) f
        union all
        select r.rolname::text, d.datname::text, lower(split_part(c, '=', 2))
        from pg_db_role_setting s cross join lateral unnest(s.setconfig) c left join pg_roles r on r.oid = s.setrole left join pg_database d on d.oid = s.setdatabase
        where lower(split_part(c, '=', 1)) = 'synchronous_commit'
        order by 1 nulls first, 2 nulls first
        limit 50
        """;

    private static readonly string[] Loose = ["off", "local", "false", "no", "0"];
    private DatabaseSettings? _last;
    private string? _told;

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        DatabaseSettings? read = null;
        if (book.Current?.Database is { Patroni: null } assignment && home.IsPrepared && await guard.StatusAsync(cancel) is { Running: true })
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            limit.CancelAfter(ReadMax);
            try { read = await ReadAsync(driver.Local(assignment.DatabaseName, 2), assignment.User, limit.Token); }
            catch (Exception error) when (!cancel.IsCancellationRequested)
            {
                var clause = ErrorClause.Of(error);
                if (_told != clause)
                    LogUnread(logger, clause);
                _told = clause;
            }
        }
        Volatile.Write(ref _last, read);
    }

    /// <summary>The reading with the settings, as long as it is of a PostgreSQL that answers.</summary>
    public DatabaseReading? Join(DatabaseReading? reading)
    {
        if (reading is not { AcceptsConnections: true })
            return reading;
        if (Volatile.Read(ref _last) is { } settings)
            return reading with { Settings = settings };
        Wake(); // it answers since a moment ago
        return reading;
    }

    private static async Task<DatabaseSettings> ReadAsync(PostgresSql sql, string app, CancellationToken cancel)
    {
        await using var connection = await sql.OpenAsync(cancel);
        var (settings, segment) = await SettingsAsync(connection, app, cancel);
        if (settings.MissingRights.Count > 0)
            return settings; // the rest may be forbidden too
        await using (var wal = new NpgsqlCommand(OldestSql, connection))
        {
            if (await wal.ExecuteScalarAsync(cancel) is string { Length: 16 } oldest)
                settings = settings with { OldestWal = new WalLayout(segment) is var layout && layout.Numbered(oldest) is { } first ? layout.At(first) : null };
        }
        var loose = new List<LooseCommit>();
        await using var command = new NpgsqlCommand(LooseSql, connection);
        await using var row = await command.ExecuteReaderAsync(cancel);
        while (await row.ReadAsync(cancel))
        {
            if (!row.IsDBNull(2) && Loose.Contains(row.GetString(2)))
                loose.Add(new(Text(row, 0), Text(row, 1), row.GetString(2)));
        }
        return settings with { LooseCommits = loose };
    }

    private static async Task<(DatabaseSettings Settings, long Segment)> SettingsAsync(NpgsqlConnection connection, string app, CancellationToken cancel)
    {
        await using var command = new NpgsqlCommand(Sql, connection);
        command.Parameters.AddWithValue("app", app);
        await using var row = await command.ExecuteReaderAsync(cancel);
        if (!await row.ReadAsync(cancel))
            throw new InvalidOperationException("PostgreSQL answered no row.");
        var missing = new List<string>();
        if (!row.GetBoolean(4))
            missing.Add("the agent's role is no superuser, and cannot promote, seal or fence");
        if (Text(row, 5) is not "")
            missing.Add($"the role br_replication {Text(row, 5) ?? "does not exist"}: copies cannot follow");
        if (Text(row, 6) is not "")
            missing.Add($"the application's role {app} {Text(row, 6) ?? "does not exist"}");
        return (new DatabaseSettings
        {
            DataChecksums = row.GetBoolean(0),
            WalLogHints = row.GetBoolean(1),
            FullPageWrites = row.GetBoolean(2),
            MissingRights = missing,
        }, row.GetInt64(3));
    }

    private static string? Text(NpgsqlDataReader row, int column) => row.IsDBNull(column) ? null : row.GetString(column);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Settings and rights of PostgreSQL could not be read: {Reason}")]
    private static partial void LogUnread(ILogger logger, string reason);
}
