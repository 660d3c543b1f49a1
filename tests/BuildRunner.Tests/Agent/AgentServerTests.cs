using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Access;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Access;
using BuildRunner.Server.Agent;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Tests.Support;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Tests.Agent;

/// <summary>The server as it ships on a real port, agents that call in over HTTP, real PostgreSQL; the epoch is moved as a run does.</summary>
public sealed class AgentServerTests : IAsyncDisposable
{
    private readonly string _folder = AgentHost.NewFolder();
    private readonly Dictionary<string, (IHost Host, int Port)> _agents = [];
    private WebApplication _server = null!;

    public async ValueTask DisposeAsync()
    {
        foreach (var (host, _) in _agents.Values)
            await EndAsync(host);
        await _server.StopAsync();
        await _server.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact(Timeout = 120_000)]
    public async Task ServerAndTwoAgents_ComeUpFailOverAndRejoin()
    {
        var cancel = TestContext.Current.CancellationToken;
        int east = FreePort(), west = FreePort(), api = FreePort();
        await StartServerAsync(east, west, api);
        await StartAgentAsync("us-east-1", east);
        await StartAgentAsync("us-west-1", west);
        var client = new DatabasesClient(ApiConnection.Create(new Uri(_server.Urls.First()), File.ReadAllText(Path.Combine(_folder, "server", "token")).Trim()));
        await ReachesAsync(client, "us-east-1", DatabaseState.Primary, 1);
        await ReachesAsync(client, "us-west-1", DatabaseState.Standby, 1);

        var epochs = _server.Services.GetRequiredService<Epochs>();
        var links = _server.Services.GetRequiredService<INodeLinks>();
        var fence = _server.Services.GetRequiredService<LeaderLease>().Current!.Value;
        Assert.IsType<EpochWrite.Done>(await epochs.MoveAsync("main", r => EpochTransitions.Close(r, "run-1", DateTimeOffset.UtcNow), fence, cancel));
        var fenced = await links.SendAsync(new(NodeKind.Agent, "us-east-1"), "f", DatabaseOrders.Fence, 1, fence.Token, new FenceOrder("main", 1, "run-1"), WireJson.Default.FenceOrder, WireJson.Default.FenceResult, TimeSpan.FromSeconds(10), cancel);
        Assert.Null(fenced.Error);
        Assert.IsType<EpochWrite.Done>(await epochs.MoveAsync("main", r => EpochTransitions.Move(r, "us-west-1", fenced.Data!.Proof, "run-1", DateTimeOffset.UtcNow), fence, cancel));
        var promoted = await links.SendAsync(new(NodeKind.Agent, "us-west-1"), "p", DatabaseOrders.Promote, 2, fence.Token, new PromoteOrder("main", 2, "run-1"), WireJson.Default.PromoteOrder, WireJson.Default.PromoteResult, TimeSpan.FromSeconds(10), cancel);
        Assert.Null(promoted.Error);
        Assert.IsType<EpochWrite.Done>(await epochs.MoveAsync("main", r => EpochTransitions.Open(r, "run-1", promoted.Data!.Fork, promoted.Data.Timeline, DateTimeOffset.UtcNow), fence, cancel));

        await ReachesAsync(client, "us-west-1", DatabaseState.Primary, 2);
        await ReachesAsync(client, "us-east-1", DatabaseState.Standby, 2);

        // Services of the assignment run beside the database, and end with their agent.
        var reports = _server.Services.GetRequiredService<INodeReports>();
        Assert.True(await reports.WaitAsync(all => all.Agent("us-west-1")?.Instances is [{ Ready: true }], TimeSpan.FromSeconds(20), cancel), "the instance is ready");
    }

    /// <summary>As a person does it: looks, consents, and has a copy made.</summary>
    [Fact(Timeout = 120_000)]
    public async Task AgentThatIsToAdopt_UnfencedUntilTheRunAndThenLikeAnyOther()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var theirs = await PostgresServer.StartAsync();
        await theirs.ExecuteAsync($"create role app login password '{AgentHost.AppPassword}'");
        await theirs.ExecuteAsync("create database app owner app");
        int west = FreePort(), api = FreePort();
        await StartServerAsync(theirs.Port, west, api);
        await StartAgentAsync("us-east-1", theirs.Port, adopt: theirs.DataFolder);
        await StartAgentAsync("us-west-1", west);
        var connection = ApiConnection.Create(new Uri(_server.Urls.First()), File.ReadAllText(Path.Combine(_folder, "server", "token")).Trim());
        var client = new DatabasesClient(connection);
        await Eventually.TrueAsync(async () => (await client.ListAsync(cancel)).Databases[0].Regions is var all && all.Single(r => r.Region == "us-east-1") is { State: DatabaseState.Unfenced, Reading.Guarded: false }
            && all.Single(r => r.Region == "us-west-1").State == DatabaseState.Absent, "it is seen, and nothing is copied", cancel, TimeSpan.FromSeconds(30));

        var runs = new RunbooksClient(connection);
        var request = new RunRequest { Runbook = "adopt-database", Inputs = new Dictionary<string, string> { ["region"] = "us-east-1" }, Reason = "test" };
        var plan = (await runs.StartAsync(request with { DryRun = true }, cancel)).Plan!;
        Assert.Empty(plan.Problems);
        Assert.Contains("restarted once", plan.Steps[0].Note!, StringComparison.Ordinal);
        Assert.True(theirs.IsRunning);
        var run = (await runs.StartAsync(request, cancel)).Run!;
        await Eventually.TrueAsync(async () => (await runs.RunAsync(run.Id, cancel)).Run.FinishedAt is not null, "the run ends", cancel, TimeSpan.FromSeconds(60));
        var ended = (await runs.RunAsync(run.Id, cancel)).Run;
        Assert.True(ended.State == RunPhase.Succeeded, string.Join("; ", ended.Steps.Select(s => s.Error)));
        await ReachesAsync(client, "us-east-1", DatabaseState.Primary, 1);
        await ReachesAsync(client, "us-west-1", DatabaseState.Standby, 1);
        Assert.False(theirs.IsRunning);
        Assert.Contains("adopted already", Assert.Single((await runs.StartAsync(request with { DryRun = true }, cancel)).Plan!.Problems), StringComparison.Ordinal);
    }

    private static async Task ReachesAsync(DatabasesClient client, string region, DatabaseState state, long epoch)
    {
        var cancel = TestContext.Current.CancellationToken;
        DatabasesView? last = null;
        try
        {
            await Eventually.TrueAsync(async () =>
            {
                last = await client.ListAsync(cancel);
                var copy = last.Databases[0].Regions.Single(r => r.Region == region);
                return copy.State == state && copy.Reading?.MarkerEpoch == epoch && (state == DatabaseState.Primary || copy.Reading.Streaming);
            }, $"{region} is {state} of epoch {epoch}", cancel, TimeSpan.FromSeconds(40));
        }
        catch (Exception error)
        {
            Assert.Fail($"{error.Message} Last: {JsonSerializer.Serialize(last, DatabasesJson.Default.DatabasesView)}");
        }
    }

    private async Task StartServerAsync(int east, int west, int api)
    {
        Directory.CreateDirectory(Path.Combine(_folder, "server"));
        var policy = Path.Combine(_folder, "policy.yml");
        await File.WriteAllTextAsync(policy, $$"""
            multiregion_performance_dr:
              multiregion:
                default_region: us-east-1
            regions:
              us-east-1: { name: East, role: primary, endpoint: "http://127.0.0.1:{{api + 1}}", latitude: 38.95, longitude: -77.45, database_host: 127.0.0.1, database_port: {{east}} }
              us-west-1: { name: West, role: standby, endpoint: "http://127.0.0.1:{{api + 2}}", latitude: 37.35, longitude: -121.96, database_host: 127.0.0.1, database_port: {{west}} }
            databases:
              main: { database: app, user: app }
            services:
              api:
                database: main
                regions: [us-west-1]
                instances: 1
                command: python3 -m http.server {port} --bind {host}
                port_from: {{api}}
                ready_path: /
                routes:
                  - path: /**
            """, TestContext.Current.CancellationToken);
        var seeds = new[] { "us-east-1", "us-west-1" }.Select(region => new SeedToken { Name = $"agent-{region}", Role = AccessRole.Agent, Region = region, Hash = AccessToken.HashText(Token(region)) });
        AtomicFile.Write(Path.Combine(_folder, "seeds.json"), SeedToken.File([.. seeds]));
        _server = ServerRole.Build(new ServerRoleOptions
        {
            DataFolder = Path.Combine(_folder, "server"),
            PolicyFile = policy,
            Listen = new IPEndPoint(IPAddress.Loopback, 0),
            SeedTokens = Path.Combine(_folder, "seeds.json"),
            LogToTerminal = false,
        });
        await _server.StartAsync(TestContext.Current.CancellationToken);
    }

    private async Task StartAgentAsync(string region, int port, string? adopt = null)
    {
        var folder = Directory.CreateDirectory(Path.Combine(_folder, region)).FullName;
        File.WriteAllText(Path.Combine(folder, "token"), Token(region));
        File.WriteAllText(Path.Combine(folder, "replication"), AgentHost.ReplicationPassword);
        File.WriteAllText(Path.Combine(folder, "app"), AgentHost.AppPassword);
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        builder.Logging.AddProvider(new LineLog(Path.Combine(folder, "agent.log"), null));
        builder.Services.AddAgent(new AgentOptions
        {
            Region = region,
            DataFolder = Path.Combine(folder, "agent"),
            Server = new Uri(_server.Urls.First()),
            TokenFile = Path.Combine(folder, "token"),
            Host = "127.0.0.1",
            DatabasePort = port,
            SecretsFolder = folder,
            SharedBuffers = "32MB",
            Adopt = adopt,
        }, new DirectNetwork());
        var host = builder.Build();
        _agents[region] = (host, port);
        await host.StartAsync(TestContext.Current.CancellationToken);
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
}
