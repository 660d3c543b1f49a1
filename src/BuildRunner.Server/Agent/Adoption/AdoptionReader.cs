using System.ComponentModel;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using BuildRunner.Client.Databases;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Agent.Adoption;

/// <summary>
/// Looks at a PostgreSQL that somebody else runs: in /proc, on the disk, and by psql as PostgreSQL's own user, whom its access rules let in. Changes
/// nothing.
/// </summary>
internal sealed partial class AdoptionReader(PostgresTools tools)
{
    private static readonly TimeSpan AnswerMax = TimeSpan.FromSeconds(5);

    private const string Sql = """
        select json_build_object(
            'in_recovery', pg_is_in_recovery(), 'superuser', current_setting('is_superuser') = 'on', 'system', (select system_identifier::text from pg_control_system()),
            'number', current_setting('server_version_num')::int, 'version', current_setting('server_version'), 'checksums', current_setting('data_checksums') = 'on',
            'config_file', current_setting('config_file'), 'hba_file', current_setting('hba_file'), 'ident_file', current_setting('ident_file'),
            'listen', current_setting('listen_addresses'), 'sockets', current_setting('unix_socket_directories'), 'sync_names', current_setting('synchronous_standby_names'),
            'databases', (select coalesce(json_agg(datname order by datname), '[]') from pg_database where datallowconn and not datistemplate),
            'roles', (select coalesce(json_agg(rolname), '[]') from (select rolname from pg_roles where rolcanlogin order by rolname limit 200) r),
            'tablespaces', (select coalesce(json_agg(spcname order by spcname), '[]') from pg_tablespace where spcname not in ('pg_default', 'pg_global')),
            'sessions', (select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()),
            'receivers', (select count(*) from pg_stat_replication),
            'statements', exists (select from pg_available_extensions where name = 'pg_stat_statements'),
            'timeline', (select timeline_id from pg_control_checkpoint()),
            'position', case when pg_is_in_recovery() then coalesce(pg_last_wal_replay_lsn(), '0/0')::text else pg_current_wal_insert_lsn()::text end,
            'files', (select coalesce(json_agg(json_build_object('name', name, 'setting', setting, 'error', error, 'auto', sourcefile like '%/postgresql.auto.conf') order by seqno), '[]') from pg_file_settings),
            'arguments', (select coalesce(json_agg(json_build_object('name', name, 'setting', setting)), '[]') from pg_settings where source = 'command line'),
            'pending', (select coalesce(json_agg(name order by name), '[]') from pg_settings where pending_restart),
            'in_force', (select json_object_agg(name, current_setting(name)) from pg_settings where name = any(string_to_array('NAMES', ','))),
            'rules', (select coalesce(json_agg(e), '[]') from (select format('line %s of pg_hba.conf: %s', line_number, error) e from pg_hba_file_rules where error is not null
                union all select format('line %s of pg_ident.conf: %s', line_number, error) from pg_ident_file_mappings where error is not null limit 10) r),
            'local_methods', (select coalesce(json_agg(distinct auth_method), '[]') from pg_hba_file_rules where type = 'local' and user_name && array['postgres', 'all']))
        """;

    private static readonly string Question = Sql.Replace("NAMES", string.Join(',', AdoptionFiles.InForce), StringComparison.Ordinal);

    /// <summary>What is found in the folder that the agent was told of.</summary>
    /// <exception cref="InvalidOperationException">Nothing that could be adopted runs there; a sentence for people.</exception>
    public async Task<FoundServer> ReadAsync(string data, DatabaseAssignment assignment, CancellationToken cancel)
    {
        var (process, folder, lines) = Postmaster(data);
        if (lines is not [_, _, _, var portText, var socket, ..] || !int.TryParse(portText, NumberStyles.None, CultureInfo.InvariantCulture, out var port))
            throw new InvalidOperationException($"{folder}/postmaster.pid says neither port nor socket: PostgreSQL is starting, or this is another program's file.");
        if (!socket.StartsWith('/'))
            throw new InvalidOperationException($"The PostgreSQL in {folder} has no Unix socket (unix_socket_directories): the agent reaches it by one.");
        var said = JsonSerializer.Deserialize(await AskAsync(socket, port, "postgres", Question, cancel), AdoptionJson.Default.FoundAnswers) ?? throw new JsonException("psql answered null.");
        return new FoundServer
        {
            Folder = folder,
            Process = process,
            Port = port,
            Starter = StarterOf(process),
            DiskProblems = [.. await DiskProblemsAsync(folder, process, cancel), .. RuleProblems(folder, said)],
            Broken = AdoptionFiles.IsOurs(await File.ReadAllTextAsync(said.ConfigFile, cancel)),
            Variables = EnvironmentOf(process),
            ProgramsMajor = await ProgramsMajorAsync(cancel),
            Marker = said.Databases.Contains(assignment.DatabaseName) && long.TryParse(await MarkerAsync(socket, port, assignment.DatabaseName, cancel), NumberStyles.None, CultureInfo.InvariantCulture, out var marker) ? marker : null,
            Said = said,
        };
    }

    /// <summary>Whether one serves there, and is not just ending, that was started by somebody else than a guard: its own file and its arguments say so.</summary>
    /// <param name="data">The data directory.</param>
    /// <param name="withoutGuardUnder">Where permits lie: a guard gives PostgreSQL a socket there.</param>
    public static bool Serves(string data, string withoutGuardUnder)
    {
        try
        {
            var (process, _, lines) = Postmaster(data);
            return lines is [_, _, _, _, _, _, _, var status, ..] && status.Trim() is ("ready" or "standby")
                && !File.ReadAllText($"/proc/{process}/cmdline").Contains($"unix_socket_directories={withoutGuardUnder}/", StringComparison.Ordinal);
        }
        catch (Exception error) when (error is InvalidOperationException or IOException or UnauthorizedAccessException) { return false; }
    }

    /// <summary>The postmaster of a data directory; null: none runs there.</summary>
    public static int? ProcessIn(string data)
    {
        try { return Postmaster(data).Process; }
        catch (InvalidOperationException) { return null; }
    }

    private static (int Process, string Folder, string[] Lines) Postmaster(string data)
    {
        var path = Path.Combine(data, "postmaster.pid");
        string text;
        try { text = File.ReadAllText(path); }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new InvalidOperationException(File.Exists(Path.Combine(data, "PG_VERSION"))
                ? $"No PostgreSQL runs in {data}: start it as always, and adopt it then."
                : $"{data} is no data directory of PostgreSQL, or is not there: give the agent the right one (--adopt; `show data_directory` says it).");
        }
        catch (UnauthorizedAccessException)
        {
            throw new InvalidOperationException($"The agent may not look into {data}: it runs as {Environment.UserName}, and has to run as root or as the user whose PostgreSQL that is.");
        }
        var lines = text.Split('\n');
        if (!int.TryParse(lines[0], NumberStyles.None, CultureInfo.InvariantCulture, out var process))
            throw new InvalidOperationException($"{path} names no process.");
        try
        {
            // The process's own working directory: the same file there means that it is this data's postmaster, and not another with its number.
            if (new FileInfo($"/proc/{process}/cwd").LinkTarget is { } folder && File.ReadAllText($"/proc/{process}/cwd/postmaster.pid") == text)
                return (process, folder, lines);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException) { } // no such process, or another's
        throw new InvalidOperationException($"No PostgreSQL of this host runs in {data}, though {path} names process {process}: one that runs in a container is not adopted from outside, and a stopped one is started first.");
    }

    /// <summary>The service or process that started it and is there still.</summary>
    private static string? StarterOf(int process)
    {
        try
        {
            var service = File.ReadLines($"/proc/{process}/cgroup").SelectMany(l => l.Split('/')).LastOrDefault(s => s.EndsWith(".service", StringComparison.Ordinal));
            if (service is not null)
                return $"the service {service}";
            return HostProcesses.Read(process) is { Parent: not 1 } row && HostProcesses.Read(row.Parent) is { } parent ? $"process {parent.Id} ({parent.Name})" : null;
        }
        catch (IOException) { return null; } // it is just ending
    }

    /// <summary>Processes that have the folder as their working directory and are not of this postmaster: the guard would take them for PostgreSQL's and end them.</summary>
    public static IReadOnlyList<string> Strangers(string folder, int? postmaster)
    {
        var all = HostProcesses.All();
        var own = postmaster is { } first ? HostProcesses.Tree([first], all) : [];
        return [.. all.Except(own).Where(p => LinkOf($"/proc/{p.Id}/cwd") == folder).Select(p => $"process {p.Id} ({p.Name})")];
    }

    /// <summary>Variables that it was started with and that the agent, and so its guard, has not: names only.</summary>
    private static IReadOnlyList<string> EnvironmentOf(int process)
    {
        try
        {
            return [.. File.ReadAllText($"/proc/{process}/environ").Split('\0', StringSplitOptions.RemoveEmptyEntries).Select(v => v.Split('=')[0])
                .Where(n => Environment.GetEnvironmentVariable(n) is null && !Usual.Contains(n) && !n.StartsWith("LC_", StringComparison.Ordinal) && !n.StartsWith("SYSTEMD_", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException) { return []; }
    }

    private static readonly HashSet<string> Usual = new(StringComparer.Ordinal)
    {
        "PATH", "LANG", "LANGUAGE", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "TERM", "MAIL", "SHLVL", "_", "INVOCATION_ID", "JOURNAL_STREAM", "NOTIFY_SOCKET", "PIDFILE",
        "PGDATA", "PGLOCALEDIR", "PGSYSCONFDIR", "PG_OOM_ADJUST_FILE", "PG_OOM_ADJUST_VALUE", "PG_GRANDPARENT_PID", "POSTMASTER_CHILD_VERSION", "TZ",
    };

    private static string? LinkOf(string path)
    {
        try { return new FileInfo(path).LinkTarget; }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException) { return null; }
    }

    private async Task<IReadOnlyList<string>> DiskProblemsAsync(string folder, int process, CancellationToken cancel)
    {
        var problems = Strangers(folder, process).Select(p => $"{p} has its working directory in {folder}, and would be taken for one of PostgreSQL's and be ended with it: have it go elsewhere.").ToList();
        if (new DirectoryInfo(Path.Combine(folder, "pg_wal")).LinkTarget is { } wal)
            problems.Add($"Its WAL lies in {wal} (pg_wal is a link), where a copy made anew would not come to lie: have it in the data directory.");
        if (RelativeArgument().Match(File.ReadAllText(Path.Combine(folder, "postmaster.opts"))) is { Success: true } relative)
            problems.Add($"It was started with a relative path (`{relative.Value.Trim()}` in postmaster.opts), by which it could not be started again from elsewhere: start it with the whole path.");
        foreach (var name in (string[])["postgresql.conf", "pg_hba.conf", "pg_ident.conf", "postgresql.auto.conf"])
        {
            if (new FileInfo(Path.Combine(folder, name)).LinkTarget is not null)
                problems.Add($"{folder}/{name} is a link, which a file would take the place of: have the file itself there, or name another one by config_file, hba_file or ident_file.");
        }
        if (Path.Exists($"{folder}{PostgresHome.NewSuffix}"))
            problems.Add($"{folder}{PostgresHome.NewSuffix} is in the way, where a copy made anew would come to lie: move it away.");
        if (Volumes.MountOf(folder) == folder)
            problems.Add($"{folder} is itself a mount point, and a copy made anew replaces the whole folder: have the data in a folder below it.");
        // As PostgreSQL's user, who makes and takes away what lies there.
        if (!await HoldsAsync("test -O \"$0\"", folder, cancel))
            problems.Add($"{folder} does not belong to the user as whom the agent runs PostgreSQL ({(AgentNative.UserId() == 0 ? "postgres" : Environment.UserName)}).");
        if (!await HoldsAsync("test -w \"$(dirname \"$0\")\"", folder, cancel))
            problems.Add($"The folder above {folder} is not writable for PostgreSQL's user, who makes a copy beside it when one is needed.");
        return problems;
    }

    [GeneratedRegex(@"""-D"" ""(?!/)[^""]*""|(data_directory|config_file|hba_file|ident_file)=(?!/)[^""]*", RegexOptions.CultureInvariant)]
    private static partial Regex RelativeArgument();

    /// <summary>The rules go on in the data directory, where a relative name would lead elsewhere.</summary>
    private static IEnumerable<string> RuleProblems(string folder, FoundAnswers said)
    {
        foreach (var file in (string[])[said.HbaFile, said.IdentFile])
        {
            if (Path.GetDirectoryName(file) != folder && AdoptionFiles.Relative(File.ReadAllText(file)) is [var line, ..])
                yield return $"{file} leads to another file by a relative name (`{line}`), which would be sought in the data directory: write its whole path.";
        }
    }

    private async Task<bool> HoldsAsync(string test, string folder, CancellationToken cancel) => (await tools.RunAsync("/bin/sh", ["-c", test, folder], "/", cancel)).Code == 0;

    private async Task<int?> ProgramsMajorAsync(CancellationToken cancel)
    {
        var said = new StringBuilder();
        try { _ = await tools.RunAsync("postgres", ["--version"], "/", cancel, line => said.Append(line)); }
        catch (Win32Exception) { return null; }
        // `postgres (PostgreSQL) 15.14 (Debian …)`
        return said.ToString().Split(' ', 4) is [_, _, var version, ..] && int.TryParse(version.Split('.')[0], NumberStyles.None, CultureInfo.InvariantCulture, out var major) ? major : null;
    }

    private async Task<string> MarkerAsync(string socket, int port, string database, CancellationToken cancel) =>
        await AskAsync(socket, port, database, "select to_regclass('buildrunner.epoch') is not null", cancel) == "t"
            ? await AskAsync(socket, port, database, "select max(epoch) from buildrunner.epoch", cancel)
            : "";

    private async Task<string> AskAsync(string socket, int port, string database, string sql, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(AnswerMax);
        var answer = new StringBuilder();
        try
        {
            var result = await tools.RunAsync("psql", ["-X", "-A", "-t", "-q", "-w", "-h", socket, "-p", port.ToString(CultureInfo.InvariantCulture), "-U", "postgres", "-d", database, "-c", "set client_encoding = 'UTF8'", "-c", sql], "/", limit.Token, line => answer.Append(line));
            return result.Code == 0 ? answer.ToString() : throw new InvalidOperationException($"PostgreSQL at {socket}, port {port}, did not let the agent in as postgres: {ErrorClause.Of(result.Talk)}.");
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new InvalidOperationException($"PostgreSQL at {socket}, port {port}, did not answer within {AnswerMax.TotalSeconds:F0} s.");
        }
    }
}
