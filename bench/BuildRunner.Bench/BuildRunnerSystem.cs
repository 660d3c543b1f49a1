using System.Text.Json;
using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Bench;

/// <summary>Ours: `br dev` with four regions on this machine, no delays between them and no visitors but ours, who write at the gateway of the region without a database.</summary>
internal sealed class BuildRunnerSystem : IMeasuredSystem
{
    private const string UsersGateway = "ap-south-1";
    private const double LagMax = 1_000_000;
    private const string Ready = "Ctrl+C ends everything";
    private static readonly TimeSpan StartMax = TimeSpan.FromMinutes(3);
    private static readonly TimeSpan WellMax = TimeSpan.FromMinutes(3);
    private static readonly TimeSpan CommandMax = TimeSpan.FromMinutes(3);
    private static readonly TimeSpan ToldMax = TimeSpan.FromSeconds(90);
    private static readonly TimeSpan StopMax = TimeSpan.FromSeconds(60);

    /// <summary>Between these the primary goes there and back.</summary>
    private static readonly string[] Homes = ["us-east-1", "us-west-1"];

    private readonly string _program = Path.Combine(Repository.Root, "artifacts/br/br");
    private readonly string _folder = WorkFolder.Make("buildrunner");
    private readonly TimeSpan? _ttl;
    private readonly bool _auto;
    private KeptProcess? _dev;
    private JsonElement _endpoints;
    private string _password = "";
    private NpgsqlMultiHostDataSource? _databases;

    /// <summary>`settings` is one of the plan's names.</summary>
    public BuildRunnerSystem(string settings)
    {
        _auto = settings != "defaults";
        _ttl = settings == "auto-failover-5s" ? TimeSpan.FromSeconds(5) : null;
    }

    public IReadOnlyDictionary<string, string> SettingsInForce => new Dictionary<string, string>
    {
        ["auto_failover"] = _auto ? "true" : "false",
        ["lease_ttl"] = _auto ? $"{_ttl?.TotalSeconds ?? 10:0}s" : "none",
        ["power_driver"] = _auto ? "none" : "supervisor",
        ["replication"] = "asynchronous",
        ["regions"] = "four, three with a database, no delays",
    };

    public TimeSpan Beat => (_ttl ?? TimeSpan.FromSeconds(10)) / 10;
    public NpgsqlMultiHostDataSource Databases => _databases!;

    public IReadOnlyList<string> Logs => Directory.Exists(_folder) ? Directory.GetFiles(_folder, "*.log", SearchOption.AllDirectories) : [];

    private string Data => Path.Combine(_folder, "data");

    public async Task StartAsync(CancellationToken cancel)
    {
        var policy = Path.Combine(_folder, "policy.yml");
        var text = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "governance/policy.yml"), cancel);
        if (_auto)
            text = Replaced(Replaced(text, "auto_failover: false", _ttl is { } ttl ? $"auto_failover: true\n  lease_ttl: {ttl.TotalSeconds:0}s" : "auto_failover: true"), "power_driver: supervisor", "power_driver: none");
        await File.WriteAllTextAsync(policy, text, cancel);
        _dev = await KeptProcess.StartAsync(Path.Combine(_folder, "dev.log"), Environment(), _program, "dev", "--data", Data, "--port-offset", "auto", "--wan", "off", "--no-traffic", "--policy", policy);
        await Eventually.TrueAsync(() => !_dev.Runs || _dev.LastWords.Contains(Ready, StringComparison.Ordinal), "br dev is ready", cancel, StartMax);
        if (!_dev.Runs)
            throw new BenchException($"br dev did not start:\n{_dev.LastWords}");
        _endpoints = JsonDocument.Parse(await File.ReadAllTextAsync(Path.Combine(Data, "endpoints.json"), cancel)).RootElement;
        _password = (await File.ReadAllTextAsync(Path.Combine(Data, "secrets/app"), cancel)).Trim();
        var hosts = string.Join(',', _endpoints.GetProperty("databases").EnumerateObject().Select(d => d.Value.GetString()));
        _databases = new NpgsqlDataSourceBuilder($"{Connection(hosts)};Host Recheck Seconds=0").BuildMultiHost();
        await WellAsync(cancel);
    }

    public async Task WellAsync(CancellationToken cancel)
    {
        var last = "";
        try { await Eventually.TrueAsync(async () => (last = await AmissAsync(cancel)).Length == 0, "all is well", cancel, WellMax); }
        catch (TimeoutException) { throw new BenchException($"The sandbox is not well after {WellMax.TotalSeconds:0} s: {last}."); }
    }

    public async Task<string> PrimaryAsync(CancellationToken cancel) => (await DatabaseAsync(cancel))?.GetProperty("primary").GetString() ?? throw new BenchException("The sandbox has no primary.");

    public Writer StartWriter() =>
        Writer.Of(OrderWriter.Start(new() { Gateway = new Uri(_endpoints.GetProperty("gateways").GetProperty(UsersGateway).GetString()!), Interval = Measurement.Interval, InFlightMax = Measurement.InFlightMax }));

    public async Task<Handover> SwitchoverAsync(CancellationToken cancel)
    {
        var primary = await PrimaryAsync(cancel);
        var (code, output, error) = await BrAsync(cancel, "dr", "switchover", "--target", Homes.First(region => region != primary), "--reason", "benchmark", "--yes", "--output", "json");
        return code == 0 && Parse(output) is { } said
            ? new(Number(said.GetProperty("run").GetProperty("outage_ms")), null)
            : new(null, $"exit {code}: {(error + output).Trim()}");
    }

    public async Task<IReadOnlyList<int>> ReceiversAsync(CancellationToken cancel)
    {
        var found = new List<int>();
        foreach (var database in _endpoints.GetProperty("databases").EnumerateObject())
        {
            await using var connection = new NpgsqlConnection(Connection(database.Value.GetString()!));
            await connection.OpenAsync(cancel);
            await using var command = new NpgsqlCommand("select pid from pg_stat_wal_receiver", connection);
            if (await command.ExecuteScalarAsync(cancel) is int receiver)
                found.Add(receiver);
        }
        return found;
    }

    public Task LoseAsync(string host, CancellationToken cancel) => FineAsync(cancel, "dev", "kill", host);

    public Task HealAsync(string host, CancellationToken cancel) => FineAsync(cancel, "dev", "heal", host);

    public async Task<string?> ToldAsync(CancellationToken cancel)
    {
        JsonElement lost = default;
        try
        {
            await Eventually.TrueAsync(async () =>
            {
                if ((await DatabaseAsync(cancel))?.GetProperty("last_failover") is not { ValueKind: JsonValueKind.Object } last)
                    return false;
                var (code, output, _) = await BrAsync(cancel, "runbook", "status", last.GetProperty("run").GetString()!, "--output", "json");
                return code == 0 && Parse(output) is { } said && said.GetProperty("run").TryGetProperty("lost", out lost)
                    && lost.ValueKind == JsonValueKind.Object && lost.GetProperty("commits").ValueKind == JsonValueKind.Number;
            }, "the loss is counted", cancel, ToldMax);
        }
        catch (TimeoutException) { return null; }
        return $"{lost.GetProperty("commits").GetInt64()} commits";
    }

    public async ValueTask DisposeAsync()
    {
        if (_databases is not null)
            await _databases.DisposeAsync();
        if (_dev is not null)
        {
            await _dev.StopAsync(StopMax);
            _dev.Dispose();
            await BrAsync(CancellationToken.None, "dev", "stop", "--data", Data); // leftovers of one that had to be killed
        }
        WorkFolder.Delete(_folder);
    }

    /// <summary>What is not as it should be; empty when all is well.</summary>
    private async Task<string> AmissAsync(CancellationToken cancel)
    {
        if (await DatabaseAsync(cancel) is not { } database)
            return "br dr status does not answer";
        if (database.GetProperty("state").GetString() != "open")
            return $"the epoch is {database.GetProperty("state")}";
        if (database.GetProperty("run").ValueKind != JsonValueKind.Null)
            return $"run {database.GetProperty("run")} is under way";
        if (_auto && !(database.GetProperty("lease") is { ValueKind: JsonValueKind.Object } lease && lease.GetProperty("enforced").GetBoolean()))
            return "the lease is not enforced";
        foreach (var region in database.GetProperty("regions").EnumerateArray())
        {
            var (code, state) = (region.GetProperty("code").GetString(), region.GetProperty("state").GetString());
            if (code == database.GetProperty("primary").GetString() ? state != "primary" : state != "standby" || !region.GetProperty("streaming").GetBoolean() || !(Number(region.GetProperty("lag_bytes")) < LagMax))
                return $"{code} is {state} and {(region.GetProperty("streaming").GetBoolean() ? "streams" : "does not stream")}";
        }
        return "";
    }

    private async Task<JsonElement?> DatabaseAsync(CancellationToken cancel)
    {
        var (code, output, _) = await BrAsync(cancel, "dr", "status", "--output", "json");
        return code == 0 ? Parse(output)?.GetProperty("databases")[0] : null;
    }

    private async Task FineAsync(CancellationToken cancel, params string[] arguments)
    {
        var (code, output, error) = await BrAsync(cancel, arguments);
        if (code != 0)
            throw new BenchException($"br {string.Join(' ', arguments)} ended with {code}: {output}{error}");
    }

    private async Task<(int Code, string Out, string Error)> BrAsync(CancellationToken cancel, params string[] arguments)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(CommandMax);
        return await Commands.RunAsync(Environment(), limit.Token, [_program, .. arguments]);
    }

    private string Connection(string hosts) => $"Host={hosts};Database=shop;Username=app;Password={_password};Pooling=false;Timeout=3;Command Timeout=30;Cancellation Timeout=-1";

    /// <summary>A server of the person who measures is none of the benchmark's business.</summary>
    private Dictionary<string, string?> Environment() => new()
    {
        ["BR_HOME"] = Data,
        ["BR_SERVER"] = null,
        ["BR_TOKEN_FILE"] = null,
        ["BR_POLICY"] = null,
        ["BR_VIEWER"] = null,
        ["BR_PORT_OFFSET"] = null,
        ["AUTO_FAILOVER_ENABLED"] = null,
    };

    private static JsonElement? Parse(string json)
    {
        try { return JsonDocument.Parse(json).RootElement; }
        catch (JsonException) { return null; }
    }

    private static double? Number(JsonElement value) => value.ValueKind == JsonValueKind.Number ? value.GetDouble() : null;

    private static string Replaced(string text, string old, string with) => text.Contains(old, StringComparison.Ordinal)
        ? text.Replace(old, with, StringComparison.Ordinal)
        : throw new BenchException($"governance/policy.yml has no '{old}', which the benchmark changes.");
}
