using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text.Json;
using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Bench;

/// <summary>
/// Patroni with etcd and haproxy as Debian has them: two members and a client's load balancer, each on a loopback address of its own, and one etcd,
/// which is never lost.
/// </summary>
internal sealed class PatroniSystem : IMeasuredSystem
{
    private const string EtcdHost = "127.77.0.9";
    private const string ProxyHost = "127.77.0.8";
    private const int PoolMax = 90; // under the load balancer's maxconn
    private static readonly TimeSpan StartMax = TimeSpan.FromMinutes(2);
    private static readonly TimeSpan WellMax = TimeSpan.FromMinutes(3);
    private static readonly IReadOnlyDictionary<string, string?> NoEnvironment = new Dictionary<string, string?>();

    private readonly PatroniSettings _settings;
    private readonly string _folder;
    private readonly string _password = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));
    private readonly PatroniMember[] _members;
    private readonly Dictionary<string, KeptProcess> _patronis = [];
    private readonly List<KeptProcess> _others = [];
    private readonly HttpClient _http = new(new SocketsHttpHandler { UseProxy = false }) { Timeout = TimeSpan.FromMinutes(2) };
    private readonly NpgsqlDataSource _writes;

    public PatroniSystem(PatroniSettings settings)
    {
        _settings = settings;
        _folder = WorkFolder.Make("patroni");
        _members = [.. Enumerable.Range(1, 2).Select(n => (Name: $"node{n}", Host: $"127.77.0.{n}")).Select(m =>
            new PatroniMember(m.Name, m.Host, PatroniMember.FreePort(m.Host), PatroniMember.FreePort(m.Host), Path.Combine(_folder, m.Name)))];
        ProxyPort = PatroniMember.FreePort(ProxyHost);
        _writes = NpgsqlDataSource.Create($"Host={ProxyHost};Port={ProxyPort};{Login};Maximum Pool Size={PoolMax};Command Timeout=30;Cancellation Timeout=-1");
        Databases = new NpgsqlDataSourceBuilder($"Host={string.Join(',', _members.Select(m => $"{m.Host}:{m.Postgres}"))};{Login};Host Recheck Seconds=0;Pooling=false;Timeout=3;Command Timeout=30;Cancellation Timeout=-1").BuildMultiHost();
    }

    public IReadOnlyDictionary<string, string> SettingsInForce => new Dictionary<string, string>
    {
        ["ttl"] = $"{_settings.Times.Ttl}",
        ["loop_wait"] = $"{_settings.Times.LoopWait}",
        ["retry_timeout"] = $"{_settings.Times.RetryTimeout}",
        ["haproxy"] = _settings.Check,
        ["replication"] = "asynchronous",
        ["members"] = $"{_members.Length}, one etcd",
    };

    public TimeSpan Beat => TimeSpan.FromSeconds(_settings.Times.LoopWait);
    public NpgsqlMultiHostDataSource Databases { get; }

    public IReadOnlyList<string> Logs => Directory.Exists(_folder) ? Directory.GetFiles(_folder, "*.log", SearchOption.AllDirectories) : [];

    private int ProxyPort { get; }
    private string Login => $"Database=shop;Username=app;Password={_password}";

    public async Task StartAsync(CancellationToken cancel)
    {
        var (client, peer) = (PatroniMember.FreePort(EtcdHost), PatroniMember.FreePort(EtcdHost));
        var etcd = Path.Combine(_folder, "etcd");
        Directory.CreateDirectory(etcd, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        foreach (var member in _members)
        {
            Directory.CreateDirectory(member.Folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            await File.WriteAllTextAsync(member.Config, PatroniFiles.Patroni(member, "bench", _settings.Times, $"{EtcdHost}:{client}", Machine.PostgresPrograms, _password), cancel);
            File.SetUnixFileMode(member.Config, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }
        var proxy = Path.Combine(_folder, "haproxy.cfg");
        await File.WriteAllTextAsync(proxy, HaproxyFile.Text($"{ProxyHost}:{ProxyPort}", _members, _settings), cancel);
        if (Machine.IsRoot)
            await Commands.RunAsync(NoEnvironment, cancel, ["chown", "-R", "postgres:postgres", _folder]);

        _others.Add(await StartAsync("etcd", "etcd", "--name", "etcd1", "--data-dir", etcd,
            "--listen-client-urls", $"http://{EtcdHost}:{client}", "--advertise-client-urls", $"http://{EtcdHost}:{client}",
            "--listen-peer-urls", $"http://{EtcdHost}:{peer}", "--initial-advertise-peer-urls", $"http://{EtcdHost}:{peer}", "--initial-cluster", $"etcd1=http://{EtcdHost}:{peer}"));
        await Eventually.TrueAsync(async () => await GetAsync(new Uri($"http://{EtcdHost}:{client}/health"), cancel) is not null, $"etcd answers; see {_folder}/etcd.log", cancel, StartMax);
        await StartMemberAsync(_members[0]);
        await Eventually.TrueAsync(async () => await GetAsync(new Uri(_members[0].Api, "/primary"), cancel) is not null, $"Patroni's first member is the primary; see {_members[0].Log}", cancel, StartMax);
        await MakeDatabaseAsync(_members[0], cancel);
        await StartMemberAsync(_members[1]);
        _others.Add(await StartAsync("haproxy", "haproxy", "-db", "-f", proxy));
        await WellAsync(cancel);
    }

    public async Task WellAsync(CancellationToken cancel)
    {
        var last = "";
        try { await Eventually.TrueAsync(async () => (last = await AmissAsync(cancel)).Length == 0, "the Patroni cluster is well", cancel, WellMax); }
        catch (TimeoutException) { throw new BenchException($"The Patroni cluster is not well after {WellMax.TotalSeconds:0} s: {last}. Logs are in {_folder}.\n{string.Join('\n', _patronis.Values.Select(p => p.LastWords))}"); }
    }

    public async Task<string> PrimaryAsync(CancellationToken cancel) => (await LeaderAsync(cancel))?.Host ?? throw new BenchException("The Patroni cluster has no leader.");

    public Writer StartWriter() => Writer.Of(SqlWriter.Start(_writes, "haproxy", Measurement.Interval, Measurement.InFlightMax));

    public async Task<Handover> SwitchoverAsync(CancellationToken cancel)
    {
        var leader = await LeaderAsync(cancel) ?? throw new BenchException("The Patroni cluster has no leader.");
        var candidate = _members.First(m => m != leader);
        using var order = new StringContent($$"""{"leader":"{{leader.Name}}","candidate":"{{candidate.Name}}"}"""); // with its length: Patroni reads no chunks
        using var answer = await _http.PostAsync(new Uri(leader.Api, "/switchover"), order, cancel);
        return answer.IsSuccessStatusCode ? new(null, null) : new(null, $"{(int)answer.StatusCode}: {await answer.Content.ReadAsStringAsync(cancel)}");
    }

    public async Task<IReadOnlyList<int>> ReceiversAsync(CancellationToken cancel)
    {
        var leader = await LeaderAsync(cancel);
        var found = new List<int>();
        foreach (var member in _members.Where(m => m != leader))
        {
            if (await AskAsync(member, "select pid from pg_stat_wal_receiver", cancel) is int receiver)
                found.Add(receiver);
        }
        return found;
    }

    public async Task LoseAsync(string host, CancellationToken cancel)
    {
        var member = _members.Single(m => m.Host == host);
        // One signal for all of them: Patroni would start its PostgreSQL again.
        Signals.Send("KILL", [_patronis[member.Name].Id, .. Signals.In(member.Data)]);
        await _patronis[member.Name].EndedAsync(cancel);
        Signals.Send("KILL", Signals.In(member.Data));
    }

    public async Task HealAsync(string host, CancellationToken cancel)
    {
        var member = _members.Single(m => m.Host == host);
        _patronis[member.Name].Dispose();
        await StartMemberAsync(member);
    }

    /// <summary>Neither its API nor its command line knows of acknowledged writes that a failover lost.</summary>
    public Task<string?> ToldAsync(CancellationToken cancel) => Task.FromResult<string?>(null);

    public async ValueTask DisposeAsync()
    {
        foreach (var child in _patronis.Values.Concat(_others))
            Signals.Send("KILL", child.Runs ? [child.Id] : []);
        foreach (var member in _members)
            Signals.Send("KILL", Signals.In(member.Data));
        foreach (var child in _patronis.Values.Concat(_others))
        {
            await child.EndedAsync(CancellationToken.None);
            child.Dispose();
        }
        await _writes.DisposeAsync();
        await Databases.DisposeAsync();
        _http.Dispose();
        WorkFolder.Delete(_folder);
    }

    /// <summary>What is not as it should be; empty when all is well.</summary>
    private async Task<string> AmissAsync(CancellationToken cancel)
    {
        if (await LeaderAsync(cancel) is not { } leader)
            return "no leader";
        foreach (var member in _members)
        {
            if (await GetAsync(new Uri(member.Api, "/patroni"), cancel) is not { } said)
                return $"{member.Name} does not answer";
            if (said.GetProperty("state").GetString() != "running")
                return $"{member.Name} is {said.GetProperty("state").GetString()}";
        }
        var streaming = await AskAsync(leader, "select count(*) from pg_stat_replication where state = 'streaming' and pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) < 1000000", cancel) as long?;
        return streaming == _members.Length - 1 ? "" : $"{streaming} of {_members.Length - 1} copies stream";
    }

    private async Task<PatroniMember?> LeaderAsync(CancellationToken cancel)
    {
        foreach (var member in _members)
        {
            if (await GetAsync(new Uri(member.Api, "/primary"), cancel) is not null)
                return member;
        }
        return null;
    }

    private async Task StartMemberAsync(PatroniMember member) => _patronis[member.Name] = await StartAsync(Path.Combine(member.Name, "patroni"), "patroni", member.Config);

    /// <summary>PostgreSQL, and so what starts it, refuses to run as root.</summary>
    private Task<KeptProcess> StartAsync(string log, params string[] command) =>
        KeptProcess.StartAsync(Path.Combine(_folder, $"{log}.log"), NoEnvironment, Machine.IsRoot ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", .. command] : command);

    private async Task MakeDatabaseAsync(PatroniMember member, CancellationToken cancel)
    {
        await AskAsync(member, $"create role app login password '{_password}'", cancel);
        await AskAsync(member, "create database shop owner app", cancel);
        await using var connection = await Databases.OpenConnectionAsync(TargetSessionAttributes.ReadWrite, cancel);
        await using var make = new NpgsqlCommand("create table orders (id uuid primary key, product_id int not null, quantity int not null, placed_at timestamptz not null default clock_timestamp())", connection);
        await make.ExecuteNonQueryAsync(cancel);
    }

    private async Task<object?> AskAsync(PatroniMember member, string sql, CancellationToken cancel)
    {
        try
        {
            await using var connection = new NpgsqlConnection($"Host={member.Host};Port={member.Postgres};Database=postgres;Username=postgres;Password={_password};Pooling=false;Timeout=5");
            await connection.OpenAsync(cancel);
            await using var command = new NpgsqlCommand(sql, connection);
            return await command.ExecuteScalarAsync(cancel);
        }
        catch (NpgsqlException error) when (error is not PostgresException { IsTransient: false }) { return null; } // starting, or gone
    }

    /// <summary>Null: it does not answer, or not well.</summary>
    private async Task<JsonElement?> GetAsync(Uri page, CancellationToken cancel)
    {
        try
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            limit.CancelAfter(TimeSpan.FromSeconds(3));
            using var answer = await _http.GetAsync(page, limit.Token);
            return answer.IsSuccessStatusCode ? await answer.Content.ReadFromJsonAsync<JsonElement>(limit.Token) : null;
        }
        catch (Exception error) when (error is HttpRequestException or IOException or JsonException || (error is OperationCanceledException && !cancel.IsCancellationRequested)) { return null; }
    }
}
