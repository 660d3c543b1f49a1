using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Npgsql;

namespace BuildRunner.Tests.Support;

/// <summary>
/// A real PostgreSQL of a test: own temporary data directory, port on 127.0.0.1 and Unix socket. It dies with the test process, whatever
/// ends that, and is ended by its process id on disposal. As root it runs as user postgres, which PostgreSQL demands.
/// </summary>
public sealed partial class PostgresServer : IAsyncDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);
    private static readonly bool IsRoot = Environment.UserName == "root";
    private static int s_numbers;

    private readonly string[] _settings;
    private readonly ConcurrentQueue<string> _log = new();
    private Process? _process;
    private Task? _exited;

    private PostgresServer(string folder, int port, string[] settings)
    {
        Folder = folder;
        Port = port;
        _settings = settings;
    }

    /// <summary>Folder of PostgreSQL's programs; 15 when it is there.</summary>
    public static string Binaries { get; } =
        Directory.Exists("/usr/lib/postgresql/15/bin") ? "/usr/lib/postgresql/15/bin"
        : Directory.Exists("/usr/lib/postgresql") ? Directory.GetDirectories("/usr/lib/postgresql").Select(d => Path.Combine(d, "bin")).Last(d => File.Exists(Path.Combine(d, "postgres")))
        : throw new InvalidOperationException("PostgreSQL is not installed: apt-get install postgresql");

    /// <summary>Holds `data` and the Unix socket; owned by the user that PostgreSQL runs as.</summary>
    public string Folder { get; }
    public string DataFolder => Path.Combine(Folder, "data");
    public string Host { get; } = "127.0.0.1";
    public int Port { get; }
    public int ProcessId => _process?.Id ?? throw new InvalidOperationException("PostgreSQL is not running.");
    public bool IsRunning => _process is { HasExited: false };

    /// <summary>Number of whatever runs in its folder now, started by this or by others; null: nothing does, though a killed one may have left its file.</summary>
    public int? Postmaster => Path.Combine(DataFolder, "postmaster.pid") is var path && File.Exists(path)
        && int.Parse(File.ReadLines(path).First(), System.Globalization.CultureInfo.InvariantCulture) is var pid && Directory.Exists($"/proc/{pid}") ? pid : null;

    /// <summary>The last lines of its log.</summary>
    public string Log => string.Join('\n', _log);

    /// <summary>Superuser over TCP, unpooled: every open is a connection of its own.</summary>
    public string ConnectionString => Connection("postgres", "postgres");

    public string Connection(string database, string user) =>
        $"Host={Host};Port={Port};Database={database};Username={user};Pooling=false;Timeout=5;Command Timeout=20";

    /// <summary>Makes and starts a new server; `settings` are `name=value`.</summary>
    public static async Task<PostgresServer> StartAsync(params string[] settings)
    {
        var server = New(settings);
        await RunAsync("initdb", "-D", server.DataFolder, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums", "--no-sync");
        await server.StartAgainAsync();
        return server;
    }

    /// <summary>A streaming standby of this server, made by pg_basebackup; `applicationName` is its name for synchronous_standby_names.</summary>
    public async Task<PostgresServer> StartStandbyAsync(string applicationName = "standby", params string[] settings)
    {
        var standby = New(settings);
        await RunAsync("pg_basebackup", "-D", standby.DataFolder, "-X", "stream", "--checkpoint=fast", "--no-sync", "-R",
            "-d", $"host={Host} port={Port} user=postgres application_name={applicationName}");
        await standby.StartAgainAsync();
        return standby;
    }

    /// <summary>Starts a server that was killed or stopped.</summary>
    public async Task StartAgainAsync()
    {
        var ready = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        string[] arguments =
        [
            "--pdeathsig", "QUIT", Path.Combine(Binaries, "postgres"), "-D", DataFolder, "-k", Folder,
            .. Settings("listen_addresses=127.0.0.1", $"port={Port}", "fsync=off", "max_wal_senders=8", "wal_retrieve_retry_interval=200ms",
                "shared_buffers=32MB", "max_connections=60", "log_checkpoints=off"), .. Settings(_settings),
        ];
        _process = PostgresParent.Start(IsRoot ? ["--reuid=postgres", "--regid=postgres", "--init-groups", .. arguments] : arguments);
        _process.ErrorDataReceived += (_, line) =>
        {
            if (line.Data is null)
                return;
            _log.Enqueue(line.Data);
            while (_log.Count > 200)
                _log.TryDequeue(out string? _);
            if (line.Data.Contains("database system is ready to accept", StringComparison.Ordinal))
                ready.TrySetResult();
        };
        _process.BeginErrorReadLine();
        _process.BeginOutputReadLine();
        _exited = _process.WaitForExitAsync();

        if (await Task.WhenAny(ready.Task, _exited).WaitAsync(Limit) != ready.Task)
            throw new InvalidOperationException($"PostgreSQL did not start:\n{Log}");
    }

    /// <summary>Immediate stop (SIGQUIT), as a fence does it; returns when the process is gone.</summary>
    public async Task StopAsync()
    {
        if (_process is null || _exited is null)
            return;
        if (!_process.HasExited)
            _ = Kill(_process.Id, 3);
        await _exited.WaitAsync(Limit);
    }

    /// <summary>Ends the postmaster without a chance to do anything (SIGKILL); its children notice and end themselves.</summary>
    public async Task KillAsync()
    {
        if (_process is null || _exited is null)
            return;
        if (!_process.HasExited)
            _ = Kill(_process.Id, 9);
        await _exited.WaitAsync(Limit);
    }

    /// <summary>Promotes a standby and waits until it takes writes.</summary>
    public Task PromoteAsync() => ExecuteAsync("SELECT pg_promote(true, 20)");

    public async Task<NpgsqlConnection> OpenAsync(string database = "postgres", string user = "postgres")
    {
        var connection = new NpgsqlConnection(Connection(database, user));
        await connection.OpenAsync();
        return connection;
    }

    public async Task ExecuteAsync(string sql, string database = "postgres")
    {
        await using var connection = await OpenAsync(database);
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync();
    }

    public async Task<T> ScalarAsync<T>(string sql, string database = "postgres")
    {
        await using var connection = await OpenAsync(database);
        await using var command = new NpgsqlCommand(sql, connection);
        return (T)(await command.ExecuteScalarAsync() ?? throw new InvalidOperationException($"No value: {sql}"));
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _process?.Dispose();
        if (Postmaster is { } other) // started again by somebody else
        {
            _ = Kill(other, 3);
            await Eventually.TrueAsync(() => Postmaster is null, "what others started there has ended", CancellationToken.None, Limit);
        }
        if (Directory.Exists(Folder))
            Directory.Delete(Folder, recursive: true);
    }

    /// <summary>A port of 127.0.0.1 that is free now.</summary>
    public static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    /// <summary>Runs one of PostgreSQL's programs as the user that the servers run as; throws with its output when it fails.</summary>
    public static async Task RunAsync(string program, params string[] arguments)
    {
        using var process = Process.Start(AsPostgres([Path.Combine(Binaries, program), .. arguments]))!;
        var output = process.StandardOutput.ReadToEndAsync();
        var errors = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync().WaitAsync(Limit);
        if (process.ExitCode != 0)
            throw new InvalidOperationException($"{program} ended with {process.ExitCode}: {await errors}{await output}");
    }

    private static PostgresServer New(string[] settings)
    {
        // Short and in /tmp: a socket's path has at most 107 characters, and user postgres must get there.
        var folder = $"/tmp/br-pg-{Environment.ProcessId}-{Interlocked.Increment(ref s_numbers)}";
        using var made = Process.Start(AsPostgres(["mkdir", "-m", "700", folder]))!;
        made.WaitForExit();
        return made.ExitCode == 0 ? new(folder, FreePort(), settings) : throw new InvalidOperationException($"Cannot make {folder}.");
    }

    private static ProcessStartInfo AsPostgres(string[] command) => IsRoot
        ? new("setpriv", ["--reuid=postgres", "--regid=postgres", "--init-groups", .. command]) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = "/" }
        : new(command[0], command[1..]) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = "/" };

    private static IEnumerable<string> Settings(params string[] settings) => settings.SelectMany(setting => new[] { "-c", setting });

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int process, int signal);
}

/// <summary>
/// The thread that starts every PostgreSQL and never ends: the parent-death signal follows the thread that forked, so a pool's thread would
/// take its servers along when the pool shrinks.
/// </summary>
internal static class PostgresParent
{
    private static readonly BlockingCollection<(string[] Arguments, TaskCompletionSource<Process> Started)> s_requests = [];

    static PostgresParent() => new Thread(Run) { IsBackground = true, Name = "postgres parent" }.Start();

    public static Process Start(string[] arguments)
    {
        var started = new TaskCompletionSource<Process>(TaskCreationOptions.RunContinuationsAsynchronously);
        s_requests.Add((arguments, started));
        return started.Task.GetAwaiter().GetResult();
    }

    private static void Run()
    {
        foreach (var (arguments, started) in s_requests.GetConsumingEnumerable())
        {
            try { started.SetResult(Process.Start(new ProcessStartInfo("setpriv", arguments) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = "/" })!); }
            catch (Exception error) { started.SetException(error); }
        }
    }
}
