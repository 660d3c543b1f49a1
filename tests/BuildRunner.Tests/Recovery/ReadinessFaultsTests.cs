using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using BuildRunner.Client;
using BuildRunner.Client.Access;
using BuildRunner.Client.Alerting;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Regions;
using BuildRunner.Client.Routing;
using BuildRunner.Core.Alerting;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Access;
using BuildRunner.Server.Agent;
using BuildRunner.Server.Alerting;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Regions;
using BuildRunner.Tests.Agent;
using BuildRunner.Tests.Support;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Tests.Recovery;

/// <summary>
/// The server as it ships, two agents over HTTP with guards and PostgreSQL, and gateways' reports that the test gives: one fault after the other is
/// planted for real, and the next evaluation names it; mended, the next one does not any more.
/// </summary>
public sealed partial class ReadinessFaultsTests : IAsyncDisposable
{
    private const string East = "us-east-1";
    private const string West = "us-west-1";
    private readonly string _folder = AgentHost.NewFolder();
    private readonly Dictionary<string, IHost> _agents = [];
    private readonly List<string> _planted = [];
    private WebApplication _server = null!;
    private Timer? _gateways;
    private volatile bool _westGatewaySilent;
    private double _rate = 5;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string Policy => Path.Combine(_folder, "policy.yml");
    private ApiConnection Api => ApiConnection.Create(new Uri(_server.Urls.First()), File.ReadAllText(Path.Combine(_folder, "server", "token")).Trim());

    public async ValueTask DisposeAsync()
    {
        if (_gateways is not null)
            await _gateways.DisposeAsync();
        foreach (var host in _agents.Values.ToList())
            await EndAsync(host);
        await _server.StopAsync();
        await _server.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact(Timeout = 240_000)]
    public async Task Readiness_EachPlantedFault_IsNamedByTheNextEvaluation()
    {
        int east = FreePort(), west = FreePort(), api = FreePort();
        await StartServerAsync(east, west, api);
        await StartAgentAsync(East, east);
        await StartAgentAsync(West, west);
        _gateways = new Timer(_ => ReportGateways(), null, TimeSpan.Zero, TimeSpan.FromMilliseconds(300));
        var reports = _server.Services.GetRequiredService<INodeReports>();
        Assert.True(await reports.WaitAsync(r => r.Agent(East)?.Database is { State: DatabaseState.Primary, Settings: not null } && r.Agent(West)?.Database is { State: DatabaseState.Standby, Streaming: true, LagSeconds: not null, Settings: not null }, TimeSpan.FromSeconds(60), Cancel), "both databases are up and read");
        await Eventually.TrueAsync(() => _server.Services.GetRequiredService<IRegionHealth>().Current is { Count: 2 } verdicts && verdicts.All(v => v.Health is Core.Regions.HealthState.Healthy or Core.Regions.HealthState.Degraded), "healthy regions", Cancel);

        // A healthy house is not red without cause; what is honestly missing is a warning.
        ReadinessReport? well = null;
        try { await Eventually.TrueAsync(async () => (well = await EvaluateAsync()).Verdict == ReadinessVerdict.ReadyWithWarnings, "ready with warnings", Cancel); }
        catch (Exception) { Assert.Fail($"Not ready with warnings: {Say(well)}"); }
        Assert.All(well!.Findings, f => Assert.Equal(ReadinessSeverity.Warning, f.Severity));
        Assert.Contains(well.Findings, f => f.Code == "backup.unknown");
        Assert.Contains(well.Findings, f => f.Code == "server.single");

        await PlantAsync("a role with synchronous_commit = off", "commit.loose", East, ReadinessSeverity.Warning,
            () => SqlAsync(East, "alter role app set synchronous_commit = off"), () => SqlAsync(East, "alter role app reset synchronous_commit"));
        await PlantAsync("rewind impossible: full_page_writes off", "rewind.impossible", East, ReadinessSeverity.Red,
            () => SqlAsync(East, "alter system set full_page_writes = off", "select pg_reload_conf()"), () => SqlAsync(East, "alter system reset full_page_writes", "select pg_reload_conf()"));
        await PlantAsync("a right taken away", "rights.missing", East, ReadinessSeverity.Red,
            () => SqlAsync(East, "alter role app nologin"), () => SqlAsync(East, "alter role app login"));

        var guard = (await _agents[East].Services.GetRequiredService<GuardClient>().StatusAsync(Cancel))!.Guard;
        await PlantAsync("guard frozen", "guard.silent", East, ReadinessSeverity.Red, () => Signalled(guard, 19), () => Signalled(guard, 18));

        var runbooks = Directory.CreateDirectory(Path.Combine(_folder, "runbooks")).FullName;
        await PlantAsync("an action that no room has", "runbook.bad", null, ReadinessSeverity.Red,
            () => WriteAsync(Path.Combine(runbooks, "mine.yml"), "name: mine\ntitle: Mine\nreviewed: 2026-11-20\nsteps:\n  - {id: a, title: A, action: rocket.launch}\n"), () => Removed(Path.Combine(runbooks, "mine.yml")));
        await PlantAsync("a region that the policy does not have", "runbook.bad", null, ReadinessSeverity.Red,
            () => WriteAsync(Path.Combine(runbooks, "theirs.yml"), "name: theirs\ntitle: Theirs\nreviewed: 2026-11-20\nsteps:\n  - {id: a, title: A, action: health.verify, with: {region: us-west-9}}\n"), () => Removed(Path.Combine(runbooks, "theirs.yml")));
        await PlantAsync("a text that cannot be read", "runbook.bad", null, ReadinessSeverity.Red,
            () => WriteAsync(Path.Combine(runbooks, "torn.yml"), "name: torn\nsteps: [\n"), () => Removed(Path.Combine(runbooks, "torn.yml")));

        var zone = Path.Combine(_folder, "dns");
        await PlantAsync("the DNS driver cannot write", "dns.not_writable", null, ReadinessSeverity.Red, () =>
        {
            Directory.Delete(zone, recursive: true);
            File.WriteAllText(zone, "in the way");
            return Task.CompletedTask;
        }, () =>
        {
            File.Delete(zone);
            Directory.CreateDirectory(zone);
            return Task.CompletedTask;
        });

        await PlantAsync("more traffic than the other region takes", "capacity.missing", East, ReadinessSeverity.Red, () => Rated(500), () => Rated(5));
        await PlantAsync("a gateway silent: two observers", "observers.few", null, ReadinessSeverity.Warning, () => { _westGatewaySilent = true; return Task.CompletedTask; }, () => { _westGatewaySilent = false; return Task.CompletedTask; });

        var book = _server.Services.GetRequiredService<IncidentBook>();
        await PlantAsync("post-mortem action overdue", "action.overdue", null, ReadinessSeverity.Warning, () => book.OpenAsync(new Incident
        {
            Id = "inc-20261101-000000-test", Title = "Trouble", Severity = AlertSeverity.Critical, State = IncidentState.Resolved, OpenedAt = DateTimeOffset.UtcNow.AddDays(-20), ResolvedAt = DateTimeOffset.UtcNow.AddDays(-20),
            Actions = [new() { Number = 1, Text = "Add a second disk", Owner = "ada", Due = DateOnly.FromDateTime(DateTime.UtcNow).AddDays(-1), AddedAt = DateTimeOffset.UtcNow.AddDays(-20), AddedBy = "ada" }],
        }, "ada", null, Cancel), () => new AlertingClient(Api).FinishActionAsync("inc-20261101-000000-test", 1, Cancel));

        await PlantAsync("the copy is cut off and falls behind", "lag.high", West, ReadinessSeverity.Red,
            () => SqlAsync(West, "alter system set primary_conninfo = ''", "select pg_reload_conf()"), () => SqlAsync(West, "alter system reset primary_conninfo", "select pg_reload_conf()"),
            () => SqlAsync(East, "select pg_logical_emit_message(false, 'test', repeat('x', 1000))", "select pg_switch_wal()"));

        // The last one is not mended: a dead agent's PostgreSQL goes on under its guard, and that is not what is tested here.
        await _agents[West].StopAsync(Cancel);
        await Eventually.TrueAsync(async () => (await EvaluateAsync()).Findings.Any(f => f is { Code: "agent.unreachable", Region: West, Severity: ReadinessSeverity.Red, Database: "main" }), "agent gone", Cancel);
        var last = await Api.ReadinessAsync(Cancel);
        Assert.Equal(ReadinessVerdict.NotReady, last.Verdict);
        Assert.Contains(last.Findings, f => f is { Code: "runbook.refused", Runbook: "failover", Database: "main" });
        Assert.NotNull(last.EvaluatedAt);
        _planted.Add("agent.unreachable");
        TestContext.Current.TestOutputHelper?.WriteLine($"{_planted.Count} faults planted and named: {string.Join(", ", _planted)}");
        Assert.True(_planted.Count >= 10);
    }

    /// <summary>Plants, and lets the reports carry it; from then on one evaluation names it. Mended, it is gone again.</summary>
    private async Task PlantAsync(string fault, string code, string? region, ReadinessSeverity severity, Func<Task> plant, Func<Task> mend, Func<Task>? meanwhile = null)
    {
        ReadinessReport? last = null;
        async Task<bool> NamedAsync()
        {
            foreach (var host in _agents.Values)
                host.Services.GetRequiredService<SettingsLoop>().Wake();
            if (meanwhile is not null)
                await meanwhile();
            last = await EvaluateAsync();
            return last.Findings.Any(f => f.Code == code && f.Region == region && f.Severity == severity);
        }
        Assert.False(await NamedAsync(), $"{fault}: there before");
        await plant();
        try { await Eventually.TrueAsync(NamedAsync, $"{fault}: {code}", Cancel, TimeSpan.FromSeconds(30)); }
        catch (Exception) { Assert.Fail($"{fault}: not named. {Say(last)}"); }
        Assert.Equal(severity == ReadinessSeverity.Red, last!.Verdict == ReadinessVerdict.NotReady);
        await mend();
        meanwhile = null;
        try { await Eventually.TrueAsync(async () => !await NamedAsync() && last!.Verdict == ReadinessVerdict.ReadyWithWarnings, $"{fault}: mended", Cancel, TimeSpan.FromSeconds(30)); }
        catch (Exception) { Assert.Fail($"{fault}: mended, and still named. {Say(last)}"); }
        _planted.Add($"{code} ({fault})");
    }

    private static string Say(ReadinessReport? report) => $"{report?.Sentence}\n{string.Join('\n', report?.Findings.Select(f => $"{f.Severity} {f.Code} {f.Runbook} {f.Region}: {f.Reason}") ?? [])}";

    private Task<ReadinessReport> EvaluateAsync() => Api.EvaluateReadinessAsync(Cancel);

    private void ReportGateways()
    {
        var reports = _server.Services.GetRequiredService<NodeReports>();
        foreach (var region in new[] { East, West })
        {
            if (region == West && _westGatewaySilent)
                continue;
            reports.Take(region, new GatewayReport
            {
                Incarnation = "test", At = DateTimeOffset.UtcNow, TableVersion = 1, Endpoint = "http://127.0.0.1:1",
                Targets = [.. new[] { East, West }.SelectMany(r => new[] { "gateway", "api" }.Select(s => new TargetReading { Region = r, Service = s, Up = true }))],
                Traffic = new TrafficReading { RatePerRegion = region == East ? new Dictionary<string, double> { [East] = _rate } : new Dictionary<string, double>() },
            });
        }
    }

    private Task Rated(double rate)
    {
        _rate = rate;
        return Task.CompletedTask;
    }

    private async Task SqlAsync(string region, params string[] statements)
    {
        var sql = _agents[region].Services.GetRequiredService<PostgresDriver>().Local("app");
        foreach (var statement in statements)
            await sql.ExecuteAsync(statement, Cancel);
    }

    private static Task WriteAsync(string path, string text) => File.WriteAllTextAsync(path, text, Cancel);

    private static Task Removed(string path)
    {
        File.Delete(path);
        return Task.CompletedTask;
    }

    private static Task Signalled(int process, int signal)
    {
        Assert.Equal(0, Kill(process, signal));
        return Task.CompletedTask;
    }

    private async Task StartServerAsync(int east, int west, int api)
    {
        Directory.CreateDirectory(Path.Combine(_folder, "server"));
        Directory.CreateDirectory(Path.Combine(_folder, "dns"));
        await File.WriteAllTextAsync(Policy, $$"""
            multiregion_performance_dr:
              multiregion:
                default_region: us-east-1
            regions:
              us-east-1: { name: East, role: primary, endpoint: "http://127.0.0.1:{{api + 1}}", latitude: 38.95, longitude: -77.45, database_host: 127.0.0.1, database_port: {{east}} }
              us-west-1: { name: West, role: standby, endpoint: "http://127.0.0.1:{{api + 2}}", latitude: 37.35, longitude: -121.96, database_host: 127.0.0.1, database_port: {{west}} }
            databases:
              main: { database: app, user: app }
            recovery:
              loss_max: 2s
            dns:
              driver: file
              name: shop.test
              file: {{_folder}}/dns/zone
            services:
              api:
                database: main
                capacity: 100
                endpoints:
                  us-east-1: ["http://127.0.0.1:{{api + 3}}"]
                  us-west-1: ["http://127.0.0.1:{{api + 4}}"]
                routes:
                  - path: /**
            """, Cancel);
        var seeds = new[] { East, West }.Select(region => new SeedToken { Name = $"agent-{region}", Role = AccessRole.Agent, Region = region, Hash = AccessToken.HashText(Token(region)) });
        AtomicFile.Write(Path.Combine(_folder, "seeds.json"), SeedToken.File([.. seeds]));
        _server = ServerRole.Build(new ServerRoleOptions { DataFolder = Path.Combine(_folder, "server"), PolicyFile = Policy, Listen = new IPEndPoint(IPAddress.Loopback, 0), SeedTokens = Path.Combine(_folder, "seeds.json"), LogToTerminal = false });
        await _server.StartAsync(Cancel);
    }

    private async Task StartAgentAsync(string region, int port)
    {
        var folder = Directory.CreateDirectory(Path.Combine(_folder, region)).FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, "token"), Token(region), Cancel);
        await File.WriteAllTextAsync(Path.Combine(folder, "replication"), AgentHost.ReplicationPassword, Cancel);
        await File.WriteAllTextAsync(Path.Combine(folder, "app"), AgentHost.AppPassword, Cancel);
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        builder.Logging.AddProvider(new LineLog(Path.Combine(folder, "agent.log"), null));
        builder.Services.AddAgent(new AgentOptions
        {
            Region = region, DataFolder = Path.Combine(folder, "agent"), Server = new Uri(_server.Urls.First()), TokenFile = Path.Combine(folder, "token"),
            Host = "127.0.0.1", DatabasePort = port, SecretsFolder = folder, SharedBuffers = "32MB",
        }, new DirectNetwork());
        var host = builder.Build();
        _agents[region] = host;
        await host.StartAsync(Cancel);
    }

    private static async Task EndAsync(IHost host)
    {
        await host.StopAsync();
        var home = host.Services.GetRequiredService<PostgresHome>();
        if (home.IsPrepared && home.HasData)
        {
            await host.Services.GetRequiredService<GuardClient>().StopAsync(TimeSpan.Zero, CancellationToken.None);
            AgentHost.Remove(home.PermitFolder());
        }
        host.Dispose();
    }

    private static string Token(string region) => $"br_{region.Replace("-", "", StringComparison.Ordinal)}_0123456789abcdefghijklmnopqrstuvwxyzABCDEF";

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int process, int signal);
}
