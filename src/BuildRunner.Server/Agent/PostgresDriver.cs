using System.Diagnostics;
using BuildRunner.Client.Databases;
using BuildRunner.Server.Hosting;
using Npgsql;

namespace BuildRunner.Server.Agent;

/// <summary>Makes, starts, stops and copies the one PostgreSQL of this host. Decides nothing: the order of steps is its callers'.</summary>
internal sealed class PostgresDriver(AgentOptions options, AgentStateFile state, PostgresHome home, PostgresAccount account, PostgresTools tools, GuardClient guard, INetwork network)
{
    /// <summary>A promotion copies the segment in which the timelines part and syncs it, while writes wait: PostgreSQL's own 16 MB take 20 to 90 ms.</summary>
    private const int WalSegmentMegabytes = 4;

    private const string MarkerColumns = "epoch bigint primary key, run text, at timestamptz not null default now(), region text not null";
    private const string Grants = """
        grant pg_monitor, pg_checkpoint to br_replication;
        grant execute on function pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean) to br_replication;
        """;

    private static readonly string[] Included = ["postgresql.user.conf", "sync.conf", "moving.conf"];
    private static readonly TimeSpan StartMax = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan FastMax = TimeSpan.FromSeconds(3);

    public string Slot { get; } = PostgresConfig.Slot(options.Region);

    public PostgresSql Local(string database, int timeoutSeconds = 5, string application = "buildrunner-agent", bool unconfirmed = false) =>
        PostgresSql.Local(home.PermitFolder(), options.DatabasePort, database, timeoutSeconds, application, unconfirmed);

    public PostgresSql Primary(DatabaseAssignment assignment, string database)
    {
        var to = Map(assignment);
        return PostgresSql.Primary(to.Host, to.Port, Secret("replication"), database);
    }

    public string Secret(string name) => File.ReadAllText(Path.Combine(options.SecretsFolder ?? throw new InvalidOperationException("The agent has no folder of secrets (--secrets)."), name)).Trim();

    /// <summary>The gateways' share of that secret; null: there is no secret here yet.</summary>
    public byte[]? GatewayKey
    {
        get
        {
            try { return PeerKey.ForGateways(Secret("replication")); }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException or InvalidOperationException) { return null; }
        }
    }

    /// <summary>A new cluster with nothing in it, not started.</summary>
    public async Task InitialiseAsync(CancellationToken cancel)
    {
        _ = (Secret("replication"), Secret("app")); // what is missing is said before anything is made
        Clear(home.Place);
        await tools.MustRunAsync("initdb", ["-D", home.Data, "-U", "postgres", $"--wal-segsize={WalSegmentMegabytes}", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums", "--auth-local=peer", "--auth-host=scram-sha-256", "--no-instructions"], home.Folder, cancel);
    }

    /// <summary>Roles, the application's database, the schema of markers, and the first marker.</summary>
    public async Task FurnishAsync(DatabaseAssignment assignment, CancellationToken cancel)
    {
        var user = PostgresSql.Name(assignment.User);
        var database = PostgresSql.Name(assignment.DatabaseName);
        // No password into the log or into pg_stat_statements, which keep statements as they were sent.
        await Local("postgres", 30, unconfirmed: true).ExecuteAsync($"""
            set log_min_error_statement = panic;
            set pg_stat_statements.track_utility = off;
            create role br_replication login replication password {PostgresSql.Quote(PostgresScram.Verifier(Secret("replication")))};
            {Grants}
            create role {user} login password {PostgresSql.Quote(PostgresScram.Verifier(Secret("app")))};
            """, cancel);
        await Local("postgres", 30, unconfirmed: true).ExecuteAsync($"create database {database} owner {user}", cancel);
        await Local(assignment.DatabaseName, 30, unconfirmed: true).ExecuteAsync($"""
            create extension pg_stat_statements;
            create schema buildrunner;
            create table buildrunner.epoch ({MarkerColumns});
            grant usage on schema buildrunner to public;
            grant select on buildrunner.epoch to public;
            insert into buildrunner.epoch (epoch, run, region) values ({assignment.Epoch}, null, {PostgresSql.Quote(options.Region)});
            """, cancel);
    }

    /// <summary>What an adopted primary needs: the role of the copies and the first marker; everything else is its owner's. May be done again.</summary>
    public async Task FurnishAdoptedAsync(DatabaseAssignment assignment, long epoch, CancellationToken cancel)
    {
        await Local("postgres", 30, unconfirmed: true).ExecuteAsync($"""
            set log_min_error_statement = panic;
            set pg_stat_statements.track_utility = off;
            do $$ begin if not exists (select from pg_roles where rolname = 'br_replication') then create role br_replication; end if; end $$;
            alter role br_replication login replication password {PostgresSql.Quote(PostgresScram.Verifier(Secret("replication")))};
            {Grants}
            """, cancel);
        await Local(assignment.DatabaseName, 30, unconfirmed: true).ExecuteAsync($"""
            create extension if not exists pg_stat_statements;
            create schema if not exists buildrunner;
            create table if not exists buildrunner.epoch ({MarkerColumns});
            grant usage on schema buildrunner to public;
            grant select on buildrunner.epoch to public;
            insert into buildrunner.epoch (epoch, run, region) values ({epoch.ToString(CultureInfo.InvariantCulture)}, null, {PostgresSql.Quote(options.Region)}) on conflict do nothing;
            """, cancel);
    }

    /// <summary>Copies the primary into a new folder and puts it in place of what was there; <paramref name="replaces"/> is called before that goes.</summary>
    public async Task CopyAsync(DatabaseAssignment assignment, Action replaces, CancellationToken cancel)
    {
        await MakeSlotAsync(assignment, cancel);
        WritePasswordFile();
        Clear(home.NewData);
        var to = Map(assignment);
        await tools.MustRunAsync("pg_basebackup",
            ["-D", home.NewData, "-X", "stream", "-S", Slot, "--checkpoint=fast", "--no-password", "-d", PostgresConfig.Connection(to.Host, to.Port, PostgresConfig.CopyName, home.PasswordFile)],
            home.Folder, cancel);
        replaces();
        var (made, place) = (home.NewData, home.Place);
        Clear(place);
        Directory.Move(made, place);
        Sync(assignment.Sync ?? ""); // with the files came whom the primary waits for, perhaps this very region
    }

    /// <summary>A slot on the primary, so that it keeps the WAL that this standby has not yet; kept when it is there.</summary>
    public async Task MakeSlotAsync(DatabaseAssignment assignment, CancellationToken cancel)
    {
        try { await Primary(assignment, "postgres").ExecuteAsync($"select pg_create_physical_replication_slot({PostgresSql.Quote(Slot)}, true)", cancel); }
        catch (PostgresException error) when (error.SqlState == PostgresErrorCodes.DuplicateObject) { } // it is there
    }

    /// <summary>Sets whom the standby follows; null: nobody. Takes effect at the next start or reload.</summary>
    public void Follow(DatabaseAssignment? assignment)
    {
        if (assignment is not null)
            WritePasswordFile();
        var connection = assignment is null ? null : Map(assignment) is var to ? PostgresConfig.Connection(to.Host, to.Port, options.Region, home.PasswordFile) : null;
        account.Write(Path.Combine(home.Data, "replication.conf"), PostgresConfig.Replication(connection, Slot));
    }

    /// <summary>Receives from another copy; takes effect at the next reload.</summary>
    public void FollowCopy(string host, int port)
    {
        WritePasswordFile();
        var to = network.Map(host, port);
        account.Write(Path.Combine(home.Data, "replication.conf"), PostgresConfig.Copy(PostgresConfig.Connection(to.Host, to.Port, options.Region, home.PasswordFile)));
    }

    /// <summary>Whose confirmation a commit waits for, in force from the next start or reload; empty: nobody's.</summary>
    /// <returns>Whether that was another before.</returns>
    public bool Sync(string names)
    {
        var path = Path.Combine(home.Data, "sync.conf");
        var text = PostgresConfig.Sync(names);
        var before = File.Exists(path) ? File.ReadAllText(path) : "";
        if (before == text)
            return false;
        account.Write(path, text);
        return true;
    }

    /// <summary>Settings of a planned move, in force from the next reload until the next start; null: none.</summary>
    /// <returns>Whether anything was there or was written.</returns>
    public bool Moving(string? settings)
    {
        var path = Path.Combine(home.Data, "moving.conf");
        var was = File.Exists(path) && File.ReadAllText(path).Length > 0;
        if (was || settings is not null)
            account.Write(path, settings ?? "");
        return was || settings is not null;
    }

    public Task ReloadAsync(CancellationToken cancel) => Local("postgres").ExecuteAsync("select pg_reload_conf()", cancel);

    /// <summary>Starts PostgreSQL under a guard and returns when it accepts connections. The caller holds the right to: the permit is written here.</summary>
    public async Task StartAsync(bool standby, CancellationToken cancel)
    {
        await guard.GoneAsync(cancel);
        var permitFolder = Configure(standby);
        RemoveStale(permitFolder);
        account.Write(Path.Combine(permitFolder, "permit.conf"), "# While this file is here, PostgreSQL may run. It lies in memory, and the guard deletes it.\n");
        guard.Start(permitFolder, Doors);
        await WaitUntilUpAsync(cancel);
    }

    public async Task WaitUntilUpAsync(CancellationToken cancel)
    {
        var started = Stopwatch.GetTimestamp();
        using var pace = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        while (true)
        {
            try
            {
                await Local("postgres").ExecuteAsync("select 1", cancel);
                return;
            }
            catch (Exception error) when (error is NpgsqlException or TimeoutException)
            {
                if (guard.HasEnded || Stopwatch.GetElapsedTime(started) > StartMax)
                    throw new InvalidOperationException($"PostgreSQL did not start: {LastWords()}", error);
            }
            await pace.WaitForNextTickAsync(cancel);
        }
    }

    public Task StopAsync(CancellationToken cancel) => guard.StopAsync(FastMax, cancel);

    /// <summary>Until a guard that was told to stop has taken its folder away.</summary>
    public Task WaitForGuardAsync(CancellationToken cancel) => guard.GoneAsync(cancel);

    /// <summary>Writes all configuration; a standby's signal is set or taken away.</summary>
    public string Configure(bool standby)
    {
        var permitFolder = home.MakePermitFolder();
        account.Write(Path.Combine(home.Data, "postgresql.conf"), PostgresConfig.Main(options, permitFolder, Doors));
        account.Write(Path.Combine(home.Data, "pg_hba.conf"), PostgresConfig.HostBased(Users("pg_hba.user.conf")));
        account.Write(Path.Combine(home.Data, "pg_ident.conf"), PostgresConfig.Identities(Environment.UserName, Users("pg_ident.user.conf")));
        var automatic = Path.Combine(home.Data, "postgresql.auto.conf");
        if (File.Exists(automatic))
            account.Write(automatic, PostgresConfig.WithoutOwned(File.ReadAllText(automatic)));
        if (!File.Exists(Path.Combine(home.Data, "replication.conf")))
            Follow(null);
        Moving(null);
        // PostgreSQL says of each that is missing that it is, once a process and reload.
        foreach (var missing in Included.Select(n => Path.Combine(home.Data, n)).Where(p => !File.Exists(p)))
            account.Write(missing, "");
        if (standby)
            account.Write(home.StandbySignal, "");
        else
            File.Delete(home.StandbySignal);
        return permitFolder;
    }

    private PostgresDoors Doors => PostgresDoors.Of(options, state.Current);

    private string? Users(string name) => Path.Combine(home.Data, name) is var path && File.Exists(path) ? File.ReadAllText(path) : null;

    /// <summary>The end of PostgreSQL's log, for people.</summary>
    public string LastWords() => File.Exists(home.Log) ? string.Join(" | ", File.ReadLines(home.Log).TakeLast(4)) : "it wrote no log";

    public (string Host, int Port) Map(DatabaseAssignment assignment)
    {
        var to = network.Map(assignment.PrimaryHost ?? throw new InvalidOperationException("There is no primary to reach."), assignment.PrimaryPort);
        return (to.Host, to.Port);
    }

    public void WritePasswordFile() =>
        account.Write(home.PasswordFile, $"*:*:*:br_replication:{Secret("replication").Replace("\\", "\\\\", StringComparison.Ordinal).Replace(":", "\\:", StringComparison.Ordinal)}\n");

    /// <summary>
    /// What a killed server left: its pid file, and the lock beside its socket. Each may name a number that another process has by now, or that a
    /// zombie still has; they go when no PostgreSQL of this data bears it.
    /// </summary>
    private void RemoveStale(string permitFolder)
    {
        var path = Path.Combine(home.Data, "postmaster.pid");
        if (File.Exists(path))
        {
            var ours = File.ReadAllText(path);
            var pid = ours.Split('\n')[0].Trim();
            try
            {
                // The process's own working directory: the same file there means that it is this data's postmaster.
                if (File.ReadAllText($"/proc/{pid}/cwd/postmaster.pid") == ours)
                    return;
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException) { } // no such process, or another's
            File.Delete(path);
        }
        foreach (var socket in Directory.EnumerateFiles(permitFolder, ".s.PGSQL.*"))
            File.Delete(socket);
        foreach (var folder in Doors.Folders)
            RemoveStaleSocket(Path.Combine(folder, $".s.PGSQL.{options.DatabasePort}"));
    }

    /// <summary>In a folder that others use too: only what says that it is this data's.</summary>
    private void RemoveStaleSocket(string socket)
    {
        var claim = $"{socket}.lock";
        if (!File.Exists(claim) || File.ReadAllText(claim).Split('\n') is not [_, var data, ..] || (data != home.Data && data != home.Place))
            return;
        File.Delete(socket);
        File.Delete(claim);
    }

    private static void Clear(string folder)
    {
        if (Directory.Exists(folder))
            Directory.Delete(folder, recursive: true);
    }
}
