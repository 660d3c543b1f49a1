using System.Text;
using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent;

/// <summary>The configuration files of a PostgreSQL that an agent drives; written anew before each start.</summary>
internal static class PostgresConfig
{
    /// <summary>Settings that are ours: lines for them in postgresql.auto.conf, which a rewind copies from another host, are dropped.</summary>
    public static readonly IReadOnlyList<string> Owned =
    [
        "listen_addresses", "port", "unix_socket_directories", "primary_conninfo", "primary_slot_name", "synchronous_standby_names", "cluster_name",
        "recovery_target_timeline", "wal_level", "hot_standby", "restore_command", "data_directory", "hba_file", "ident_file",
    ];

    public static string Main(AgentOptions options, string permitFolder, PostgresDoors doors) => $"""
        # Written by the BuildRunner agent before each start; settings of your own go into postgresql.user.conf.
        include '{permitFolder}/permit.conf'
        listen_addresses = '{doors.Listen}'
        port = {options.DatabasePort}
        unix_socket_directories = '{doors.Sockets(permitFolder)}'
        cluster_name = '{options.Region}'
        shared_buffers = {options.SharedBuffers}
        max_connections = 200
        shared_preload_libraries = 'pg_stat_statements'
        password_encryption = scram-sha-256
        wal_level = replica
        hot_standby = on
        max_wal_senders = 16
        max_replication_slots = 16
        max_slot_wal_keep_size = 4GB
        wal_keep_size = 256MB
        wal_retrieve_retry_interval = 200ms
        wal_receiver_timeout = 5s
        wal_receiver_status_interval = 1s
        wal_sender_timeout = 10s
        tcp_user_timeout = 10s
        synchronous_commit = on
        full_page_writes = on
        recovery_target_timeline = 'latest'
        max_prepared_transactions = 16
        log_line_prefix = '%m [%p] %q%u@%d '
        log_checkpoints = off
        include_if_exists 'postgresql.user.conf'
        include_if_exists 'replication.conf'
        include_if_exists 'sync.conf'
        include_if_exists 'moving.conf'
        """ + "\n";

    /// <summary>What `synchronous_standby_names` says while a primary is sealed: a name that no standby has.</summary>
    public const string SealName = "br_sealed";

    /// <summary>Settings of a planned move; they never outlast a start.</summary>
    public const string Sealed = $"synchronous_standby_names = '{SealName}'\n";
    public const string EagerReplay = "max_standby_streaming_delay = 0\n";

    /// <summary>Whose confirmation a commit waits for; empty: nobody's.</summary>
    public static string Sync(string names) => names.Length == 0 ? "" : $"synchronous_standby_names = '{names.Replace("'", "''", StringComparison.Ordinal)}'\n";

    /// <summary>A base backup's receiver writes into a folder that may never become a copy: it must not confirm commits in its region's name.</summary>
    public const string CopyName = "pg_basebackup";

    /// <summary>The primary to follow; empty: none, and nothing is received.</summary>
    public static string Replication(string? connection, string slot) =>
        connection is null ? "primary_conninfo = ''\n" : $"primary_conninfo = '{connection.Replace("'", "''", StringComparison.Ordinal)}'\nprimary_slot_name = '{slot}'\n";

    /// <summary>Another copy, to take from it what it holds more; a copy has no slot for us.</summary>
    public static string Copy(string connection) => $"primary_conninfo = '{connection.Replace("'", "''", StringComparison.Ordinal)}'\nprimary_slot_name = ''\n";

    public static string Connection(string host, int port, string region, string passwordFile, string? database = null) =>
        $"host={host} port={port} user=br_replication{(database is null ? "" : $" dbname={database}")} passfile={passwordFile} application_name={region} connect_timeout=3 keepalives_idle=2 keepalives_interval=1 keepalives_count=3 tcp_user_timeout=5000";

    /// <summary>
    /// Access rules. The superuser comes over the Unix socket only, and only as the agent or PostgreSQL's own user, unless the user's own rules let it in
    /// otherwise: those stand after what the house cannot do without, and in the place of the rest.
    /// </summary>
    /// <param name="users">Text of pg_hba.user.conf; null: there is none.</param>
    public static string HostBased(string? users) => $"""
        # Written by the BuildRunner agent before each start; rules of your own go into pg_hba.user.conf, and stand below.
        local all postgres peer map=br
        local replication postgres peer map=br
        host all br_replication all scram-sha-256
        host replication br_replication all scram-sha-256

        """ + (users ?? UsualRules);

    private const string UsualRules = """
        local all all scram-sha-256
        host all postgres all reject
        host replication all all reject
        host all all all scram-sha-256
        """ + "\n";

    /// <param name="self">The agent's own user.</param>
    /// <param name="users">Text of pg_ident.user.conf; null: there is none.</param>
    public static string Identities(string self, string? users) => $"br postgres postgres\nbr {self} postgres\n{users}";

    public static string WithoutOwned(string automatic) => Without(automatic, Owned);

    /// <summary>Lines of postgresql.auto.conf without those of some settings.</summary>
    public static string Without(string automatic, IEnumerable<string> names)
    {
        var gone = names.ToHashSet(StringComparer.OrdinalIgnoreCase);
        var kept = new StringBuilder();
        foreach (var line in automatic.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (!gone.Contains(line.Split('=')[0].Trim()))
                kept.Append(line).Append('\n');
        }
        return kept.ToString();
    }

    /// <summary>A region's slot on its primary.</summary>
    public static string Slot(string region) => "br_" + string.Concat(region.ToLowerInvariant().Select(c => char.IsAsciiLetterOrDigit(c) ? c : '_'));
}
