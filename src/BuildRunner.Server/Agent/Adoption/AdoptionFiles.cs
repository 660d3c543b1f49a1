using System.Text;
using System.Text.RegularExpressions;

namespace BuildRunner.Server.Agent.Adoption;

/// <summary>From the configuration of a PostgreSQL that is taken over to the files in which it goes on.</summary>
internal static partial class AdoptionFiles
{
    private const string Preload = "shared_preload_libraries";
    private const string Statements = "pg_stat_statements";

    /// <summary>Of the house's settings, those that a failover rests on; others of its list may be set otherwise by the user.</summary>
    private static readonly HashSet<string> Ours = new(PostgresConfig.Owned, StringComparer.OrdinalIgnoreCase)
    {
        "config_file", "full_page_writes", "wal_retrieve_retry_interval", "wal_receiver_timeout", "wal_receiver_status_interval",
        "recovery_target", "recovery_target_action", "recovery_target_inclusive", "recovery_target_lsn", "recovery_target_name", "recovery_target_time", "recovery_target_xid",
        "recovery_end_command", "archive_cleanup_command", "promote_trigger_file", "recovery_min_apply_delay",
    };

    /// <summary>Where it lay and how it was reached: said elsewhere, and no loss.</summary>
    private static readonly HashSet<string> Elsewhere = new(StringComparer.OrdinalIgnoreCase)
    {
        "data_directory", "config_file", "hba_file", "ident_file", "listen_addresses", "port", "unix_socket_directories", "cluster_name", "synchronous_standby_names", "wal_level", "hot_standby",
    };

    /// <summary>
    /// The house sets these, and an adopted one keeps its own, also where it had the default: higher ones would stop copies that others have made of it, and
    /// lower ones would take away what it keeps.
    /// </summary>
    public static readonly IReadOnlyList<string> InForce =
    [
        "max_connections", "max_wal_senders", "max_replication_slots", "max_prepared_transactions", "max_slot_wal_keep_size", "wal_keep_size", "wal_sender_timeout", "synchronous_commit",
        "shared_buffers", "password_encryption", "tcp_user_timeout", "log_line_prefix", "log_checkpoints", "shared_preload_libraries", "wal_level",
    ];

    /// <summary>The user's settings as `postgresql.user.conf`: the last line for each name counts, as it did.</summary>
    public static string Settings(FoundAnswers said)
    {
        var text = new StringBuilder("# Settings that this PostgreSQL had when it was adopted; yours to change.\n");
        var all = new SortedDictionary<string, string>(Last(said), StringComparer.OrdinalIgnoreCase);
        foreach (var (name, value) in said.InForce)
            all[name] = value;
        foreach (var (name, value) in all.Where(s => !Ours.Contains(s.Key) || (s.Key == "wal_level" && s.Value == "logical")))
            text.Append(CultureInfo.InvariantCulture, $"{name} = '{Escape(name.Equals(Preload, StringComparison.OrdinalIgnoreCase) ? Union(value, Statements) : value)}'\n");
        if (!said.Checksums)
            text.Append("wal_log_hints = 'on'\n");
        return text.ToString();
    }

    /// <summary>Lines of postgresql.auto.conf without those that are the house's.</summary>
    public static string Automatic(string text) => PostgresConfig.Without(text, Ours);

    /// <summary>As PostgreSQL reads it back: it takes backslashes for escapes.</summary>
    private static string Escape(string value) => value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("'", "''", StringComparison.Ordinal)
        .Replace("\n", "\\n", StringComparison.Ordinal).Replace("\r", "\\r", StringComparison.Ordinal).Replace("\t", "\\t", StringComparison.Ordinal);

    /// <summary>Settings that do not go on, because a failover rests on the house's own.</summary>
    public static IReadOnlyList<string> Dropped(FoundAnswers said) =>
        [.. said.Files.Concat(said.Arguments).Select(s => s.Name).OfType<string>().Where(n => Ours.Contains(n) && !Elsewhere.Contains(n)).Distinct(StringComparer.OrdinalIgnoreCase).Order(StringComparer.Ordinal)];

    /// <summary>A list of libraries in postgresql.auto.conf stands over ours, and lacks the one that counts statements.</summary>
    public static bool LacksStatements(FoundAnswers said) => said.Files.LastOrDefault(f => f.Auto && f.Name == Preload) is { Setting: { } list } && !Split(list).Contains(Statements);

    /// <summary>
    /// The former configuration file, by which nobody starts it any more. Not the permit's line, which a killed guard leaves true: the file that this one asks
    /// for is never there.
    /// </summary>
    public static string Closed(string config) => config.StartsWith($"include '{NeverThere}'", StringComparison.Ordinal)
        ? config
        : $"include '{NeverThere}' # PostgreSQL runs under BuildRunner's guard only; without this line there may be two primaries\n{config}";

    /// <summary>Its name stands in PostgreSQL's error.</summary>
    public const string NeverThere = "started-by-buildrunner-only";

    /// <summary>Settings that name what every host with a copy has to have: files and libraries.</summary>
    public static IReadOnlyList<string> OfTheHost(FoundAnswers said) =>
        [.. Kept(said).Where(s => s.Value.StartsWith('/') && s.Key.StartsWith("ssl_", StringComparison.Ordinal) || (s.Key == Preload && Split(s.Value).Any(l => l != Statements))).Select(s => s.Key)];

    /// <summary>Addresses that it listened on, and the one by which its region reaches it.</summary>
    public static string Listen(string before, string host)
    {
        var addresses = Split(before);
        // A name may stand for the very address, which PostgreSQL would then refuse to bind twice.
        return addresses.Count == 0 ? host
            : addresses.Contains("*") || addresses.Contains("0.0.0.0") || addresses.Contains(host) || (addresses.Contains("localhost") && host == "127.0.0.1") ? before
            : $"{before},{host}";
    }

    /// <summary>Folders of its sockets besides the agent's own.</summary>
    public static IReadOnlyList<string> Sockets(string before) => [.. Split(before).Select(s => s.Trim('"')).Where(s => s.StartsWith('/'))];

    private static IEnumerable<KeyValuePair<string, string>> Kept(FoundAnswers said) => Last(said).Where(s => !Ours.Contains(s.Key));

    private static SortedDictionary<string, string> Last(FoundAnswers said)
    {
        var last = new SortedDictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach (var setting in said.Files.Where(f => !f.Auto).Concat(said.Arguments))
        {
            if (setting is { Name: { } name, Setting: { } value })
                last[name] = value;
        }
        return last;
    }

    private static string Union(string list, string name) => Split(list) is var names && names.Contains(name) ? list : string.Join(", ", [.. names, name]);

    /// <summary>Lines of access rules that lead to other files by a name relative to theirs.</summary>
    public static IReadOnlyList<string> Relative(string rules) => [.. rules.Split('\n').Select(l => l.Split('#')[0].Trim()).Where(l => RelativeName().IsMatch(l))];

    [GeneratedRegex(@"(^|[\s,""])@(?!/)|^include(_if_exists|_dir)?\s+""?(?!/)", RegexOptions.CultureInvariant)]
    private static partial Regex RelativeName();

    /// <summary>Whether a configuration is one of the house's: written by an agent, or closed at an adoption.</summary>
    public static bool IsOurs(string config) => config.StartsWith($"include '{NeverThere}'", StringComparison.Ordinal) || config.Contains("Written by the BuildRunner agent", StringComparison.Ordinal);

    private static List<string> Split(string list) => [.. list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)];
}
