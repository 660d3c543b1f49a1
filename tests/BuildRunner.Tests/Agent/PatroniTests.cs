using System.Net;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Access;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Regions;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Access;
using BuildRunner.Server.Agent;
using BuildRunner.Server.Gateway;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Runbooks;
using BuildRunner.Tests.Support;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace BuildRunner.Tests.Agent;

/// <summary>Two regions under real Patroni clusters with an etcd each, the server as it ships, and the shipped runbooks over them.</summary>
public sealed class PatroniTests(ITestOutputHelper output) : IAsyncLifetime
{
    private const string East = "us-east-1";
    private const string West = "us-west-1";
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private readonly string _folder = AgentHost.NewFolder();
    private readonly List<IHost> _agents = [];
    private readonly List<WebApplication> _gateways = [];
    private PatroniRegion _east = null!;
    private PatroniRegion _west = null!;
    private WebApplication _server = null!;
    private ApiConnection _api = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync()
    {
        (_east, _west) = (new PatroniRegion(_folder, East), new PatroniRegion(_folder, West));
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        if (TestContext.Current.TestState?.Result == TestResult.Failed)
            output.WriteLine($"{_east.Log}\n---\n{_west.Log}");
        foreach (var agent in _agents)
        {
            await agent.StopAsync();
            agent.Dispose();
        }
        foreach (var gateway in _gateways)
        {
            await gateway.StopAsync();
            await gateway.DisposeAsync();
        }
        if (_server is not null)
        {
            await _server.StopAsync();
            await _server.DisposeAsync();
        }
        await _east.DisposeAsync();
        await _west.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact(Timeout = 300_000)]
    public async Task TwoClusters_MovedByPlanThenLost_TheWritesAreWhereTheRecordSays()
    {
        await BeginAsync();
        await ExecuteAsync(_east, "create table t (n int); insert into t values (1)");

        // Status and readiness speak of Patroni, and of nothing that only our own guard could give.
        var readiness = await _api.EvaluateReadinessAsync(Cancel);
        output.WriteLine(string.Join("\n", readiness.Findings.Select(f => $"{f.Severity} {f.Code} {f.Region}: {f.Reason}")));
        Assert.DoesNotContain(readiness.Findings, f => f.Code is "guard.silent" or "settings.unread" or "manager.silent" or "copy.not_streaming" or "copy.not_well");

        // A planned move: the primary is demoted, and all that it acknowledged is there.
        var moved = await RunAsync("switchover", West);
        Assert.Equal((RunPhase.Succeeded, FenceProofKind.Demoted), (moved.State, Report(moved)?.Proof?.Kind));
        Assert.Equal(1L, await ScalarAsync(_west, "select count(*) from t"));
        await FollowsAsync(East, West, 2);
        await ExecuteAsync(_west, "insert into t values (2)");
        await Eventually.TrueAsync(async () => await ScalarAsync(_east, "select count(*) from t") is 2L, "east has what west wrote", Cancel, Limit);

        // Its region is lost with Patroni: nothing proves it silent, and a word does.
        await _west.KillAsync();
        await Eventually.TrueAsync(async () => (await StatusAsync(West)) is { State: DatabaseState.Unknown }, "west is unknown", Cancel, Limit);
        var refused = Assert.IsType<RunDecision.Refused>(await AskAsync("failover", East));
        Assert.Contains(refused.Reasons, r => r.Contains("Patroni in us-west-1 does not answer", StringComparison.Ordinal));
        var failed = await RunAsync("failover", East, ("assume_fenced", "killed by the test"), ("accept_data_loss", "true"));
        Assert.Equal((RunPhase.Succeeded, FenceProofKind.Stated), (failed.State, Report(failed)?.Proof?.Kind));
        await ExecuteAsync(_east, "insert into t values (3)");

        // It comes back, promoted by its own Patroni to the timeline that the other took too, and is the other's standby cluster all the same.
        await _west.LockEndsAsync(Cancel);
        await _west.StartMemberAsync(Cancel);
        await FollowsAsync(West, East, 3);
        await Eventually.TrueAsync(async () => await ScalarAsync(_west, "select count(*) from t") is 3L, "west has what east wrote", Cancel, Limit);
        await Assert.ThrowsAsync<PostgresException>(() => ExecuteAsync(_west, "insert into t values (4)"));
        await Eventually.TrueAsync(async () => (await File.ReadAllTextAsync(Path.Combine(_folder, $"agent-{West}", "agent.log"), Cancel)).Contains("Patroni: Part: ", StringComparison.Ordinal), "west was given a timeline of its own", Cancel, Limit);

        // An agent that died between demoting and saying so: nobody was told anything, and the region takes writes again.
        await _agents[0].StopAsync(Cancel);
        _agents[0].Dispose();
        _agents.RemoveAt(0);
        new AgentStateFile(Options(_east)).Change(s => s with { Demotion = new(3, []) });
        await _east.DemoteAsync(Cancel);
        await StartAgentAsync(_east);
        await Eventually.TrueAsync(async () => await StatusAsync(East) is { State: DatabaseState.Primary, Epoch: 3 }, "east is the primary again", Cancel, Limit);
        await ExecuteAsync(_east, "insert into t values (5)");
        Assert.Null(new AgentStateFile(Options(_east)).Current.Demotion);
    }

    /// <summary>Cluster, its set-up as the guide says, the other region's standby cluster, server and agents.</summary>
    private async Task BeginAsync()
    {
        await _east.StartAsync(null, Cancel);
        await Eventually.TrueAsync(async () => await CanWriteAsync(_east), "east takes writes", Cancel, Limit);
        foreach (var (database, sql) in SetUp())
        {
            await using var connection = await OpenAsync(_east, "postgres", PatroniRegion.Password, database);
            foreach (var statement in sql.Split(";\n", StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
            {
                await using var command = new NpgsqlCommand(statement, connection);
                await command.ExecuteNonQueryAsync(Cancel);
            }
        }
        await _west.StartAsync(_east.Member.Postgres, Cancel);
        await StartServerAsync();
        await StartAgentAsync(_east);
        await StartAgentAsync(_west);
        await Eventually.TrueAsync(async () => await StatusAsync(East) is { State: DatabaseState.Primary, Epoch: 1 }, "east is the primary of epoch 1", Cancel, Limit);
        await FollowsAsync(West, East, 1);
        await Eventually.TrueAsync(async () => (await new RegionsClient(_api).HealthAsync(all: true, from: null, Cancel)).Regions.All(r => r.Health == HealthState.Healthy), "both regions are healthy", Cancel, Limit);
    }

    /// <summary>The statements of docs/guide/patroni.md, by the database that they run in.</summary>
    private static IEnumerable<(string Database, string Sql)> SetUp()
    {
        var lines = File.ReadLines(Path.Combine(Repository.Root, "docs/guide/patroni.md")).Select(l => l.Trim()).ToList();
        var block = string.Join('\n', lines.SkipWhile(l => l != "```sql").Skip(1).TakeWhile(l => l != "```")) + "\n";
        var parts = block.Replace("REPLICATION-PASSWORD", AgentHost.ReplicationPassword.Replace("'", "''", StringComparison.Ordinal), StringComparison.Ordinal).Replace("APP-PASSWORD", AgentHost.AppPassword, StringComparison.Ordinal).Split("\\connect app\n");
        return [("postgres", parts[0]), ("app", parts[1])];
    }

    private async Task FollowsAsync(string region, string primary, long epoch)
    {
        CopyStatus? last = null;
        try { await Eventually.TrueAsync(async () => (last = await StatusAsync(region)) is { State: DatabaseState.Standby, Streaming: true } copy && copy.Epoch == epoch && copy.Following == primary, $"{region} follows {primary} at epoch {epoch}", Cancel, Limit); }
        catch (TimeoutException late) { Assert.Fail($"{late.Message} Last: {JsonSerializer.Serialize(last)}"); }
    }

    private async Task<CopyStatus?> StatusAsync(string region) => (await new RecoveryClient(_api).StatusAsync(Cancel)).Databases[0].Regions.FirstOrDefault(r => r.Code == region);

    private Task<RunDecision> AskAsync(string runbook, string target, params (string Name, string Value)[] more)
    {
        var inputs = more.Append(("database", "main")).Append(("target", target)).ToDictionary(i => i.Item1, i => i.Item2);
        return _server.Services.GetRequiredService<RunDesk>().AskAsync(new RunRequest { Runbook = runbook, Inputs = inputs, Reason = "test" }, "test", automatic: false, Cancel);
    }

    private async Task<RunRecord> RunAsync(string runbook, string target, params (string Name, string Value)[] more)
    {
        var decided = await AskAsync(runbook, target, more);
        var begun = decided as RunDecision.Begun ?? throw new InvalidOperationException($"{decided}: {string.Join(" ", (decided as RunDecision.Refused)?.Reasons ?? [])}");
        var client = new RunbooksClient(_api);
        RunRecord? run = null;
        await Eventually.TrueAsync(async () => (run = (await client.RunAsync(begun.Run.Id, Cancel)).Run).FinishedAt is not null, $"{runbook} ends", Cancel, TimeSpan.FromMinutes(2));
        output.WriteLine($"{runbook}: {run!.State} {run.Outcome} {string.Join(", ", run.Steps.Select(s => $"{s.Id} {s.Status} {s.DurationMs:0} {s.Error}"))}; {run.Report}");
        return run;
    }

    private static FailoverReport? Report(RunRecord run) => run.Report?.Deserialize(RecoveryJson.Default.FailoverReport);

    private async Task StartServerAsync()
    {
        Directory.CreateDirectory(Path.Combine(_folder, "server"));
        var policy = Path.Combine(_folder, "policy.yml");
        int[] gateways = [PatroniMember.FreePort("127.0.0.1"), PatroniMember.FreePort("127.0.0.1")];
        await File.WriteAllTextAsync(policy, $$"""
            multiregion_performance_dr:
              multiregion:
                default_region: us-east-1
            regions:
              us-east-1: { name: East, role: primary, endpoint: "http://127.0.0.1:{{gateways[0]}}", latitude: 38.95, longitude: -77.45, database_host: 127.0.0.1, database_port: {{_east.Member.Postgres}} }
              us-west-1: { name: West, role: standby, endpoint: "http://127.0.0.1:{{gateways[1]}}", latitude: 37.35, longitude: -121.96, database_host: 127.0.0.1, database_port: {{_west.Member.Postgres}} }
            databases:
              main:
                database: app
                user: app
                driver: patroni
                patroni: { us-east-1: ["{{_east.Member.Api}}"], us-west-1: ["{{_west.Member.Api}}"] }
            """, Cancel);
        AtomicFile.Write(Path.Combine(_folder, "seeds.json"), SeedToken.File([.. new[] { East, West }.SelectMany(region => new[] { AccessRole.Agent, AccessRole.Gateway }
            .Select(role => new SeedToken { Name = $"{role}-{region}".ToLowerInvariant(), Role = role, Region = region, Hash = AccessToken.HashText(Token($"{role}{region}")) }))]));
        _server = ServerRole.Build(new ServerRoleOptions { DataFolder = Path.Combine(_folder, "server"), PolicyFile = policy, Listen = new IPEndPoint(IPAddress.Loopback, 0), SeedTokens = Path.Combine(_folder, "seeds.json"), LogToTerminal = false });
        await _server.StartAsync(Cancel);
        foreach (var (region, port) in new[] { East, West }.Zip(gateways))
        {
            var data = Directory.CreateDirectory(Path.Combine(_folder, $"gateway-{region}")).FullName;
            await File.WriteAllTextAsync(Path.Combine(data, "token"), Token($"{AccessRole.Gateway}{region}"), Cancel);
            var gateway = GatewayRoom.Build(new GatewayOptions { Region = region, DataFolder = data, Server = new Uri(_server.Urls.First()), TokenFile = Path.Combine(data, "token"), Listen = $"127.0.0.1:{port}" }, new DirectNetwork(), new LineLog(Path.Combine(data, "gateway.log"), null));
            _gateways.Add(gateway);
            await gateway.StartAsync(Cancel);
        }
        _api = ApiConnection.Create(new Uri(_server.Urls.First()), (await File.ReadAllTextAsync(Path.Combine(_folder, "server", "token"), Cancel)).Trim());
    }

    private async Task StartAgentAsync(PatroniRegion region)
    {
        var folder = Directory.CreateDirectory(Path.Combine(_folder, $"agent-{region.Member.Name}")).FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, "token"), Token($"{AccessRole.Agent}{region.Member.Name}"), Cancel);
        await File.WriteAllTextAsync(Path.Combine(folder, "replication"), AgentHost.ReplicationPassword, Cancel);
        await File.WriteAllTextAsync(Path.Combine(folder, "app"), AgentHost.AppPassword, Cancel);
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        builder.Logging.AddProvider(new LineLog(Path.Combine(folder, "agent.log"), null));
        builder.Services.AddAgent(Options(region), new DirectNetwork());
        var host = builder.Build();
        _agents.Add(host);
        await host.StartAsync(Cancel);
    }

    private AgentOptions Options(PatroniRegion region) => new()
    {
        Region = region.Member.Name,
        DataFolder = Path.Combine(_folder, $"agent-{region.Member.Name}", "agent"),
        Server = new Uri(_server.Urls.First()),
        TokenFile = Path.Combine(_folder, $"agent-{region.Member.Name}", "token"),
        Host = region.Member.Host,
        DatabasePort = region.Member.Postgres,
        SecretsFolder = Path.Combine(_folder, $"agent-{region.Member.Name}"),
    };

    private static async Task<bool> CanWriteAsync(PatroniRegion region)
    {
        try
        {
            await using var connection = await OpenAsync(region, "postgres", PatroniRegion.Password, "postgres");
            await using var command = new NpgsqlCommand("select not pg_is_in_recovery()", connection);
            return await command.ExecuteScalarAsync(Cancel) is true;
        }
        catch (NpgsqlException) { return false; }
    }

    private static async Task ExecuteAsync(PatroniRegion region, string sql)
    {
        await using var connection = await OpenAsync(region, "app", AgentHost.AppPassword, "app");
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(Cancel);
    }

    private static async Task<object?> ScalarAsync(PatroniRegion region, string sql)
    {
        try
        {
            await using var connection = await OpenAsync(region, "app", AgentHost.AppPassword, "app");
            await using var command = new NpgsqlCommand(sql, connection);
            return await command.ExecuteScalarAsync(Cancel);
        }
        catch (NpgsqlException) { return null; } // for a moment
    }

    private static async Task<NpgsqlConnection> OpenAsync(PatroniRegion region, string user, string password, string database)
    {
        var connection = new NpgsqlConnection($"Host={region.Member.Host};Port={region.Member.Postgres};Username={user};Password={password};Database={database};Pooling=false;Timeout=5");
        await connection.OpenAsync(Cancel);
        return connection;
    }

    private static string Token(string holder) => $"br_{holder.Replace("-", "", StringComparison.Ordinal).ToLowerInvariant()}_0123456789abcdefghijklmnopqrstuvwxyzABCDEF";
}
