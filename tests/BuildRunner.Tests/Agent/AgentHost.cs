using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Agent;
using BuildRunner.Server.Agent.Adoption;
using BuildRunner.Server.Hosting;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace BuildRunner.Tests.Agent;

/// <summary>An agent in this process, its loops driven by hand, over a real guard and a real PostgreSQL.</summary>
internal sealed class AgentHost : IAsyncDisposable
{
    public const string ReplicationPassword = "repl'pass:word";
    public const string AppPassword = "app-password";
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);
    private readonly string _folder;
    private ServiceProvider _services;
    private long _version;
    private DatabaseAssignment? _assignment;

    public AgentHost(string folder, string region, string? lifeline = null, bool sandbox = true, Uri? server = null, PostgresServer? adopt = null)
    {
        _folder = Path.Combine(folder, region);
        Region = region;
        Port = adopt?.Port ?? FreePort();
        Directory.CreateDirectory(_folder);
        var secrets = Path.Combine(_folder, "secrets");
        Directory.CreateDirectory(secrets);
        File.WriteAllText(Path.Combine(secrets, "replication"), ReplicationPassword);
        File.WriteAllText(Path.Combine(secrets, "app"), AppPassword);
        File.WriteAllText(Path.Combine(_folder, "token"), "token");
        Options = new AgentOptions
        {
            Region = region,
            DataFolder = Path.Combine(_folder, "agent"),
            Server = server ?? new Uri("http://127.0.0.1:1"),
            TokenFile = Path.Combine(_folder, "token"),
            Host = "127.0.0.1",
            DatabasePort = Port,
            PeerPort = FreePort(),
            SecretsFolder = secrets,
            SharedBuffers = "32MB",
            Lifeline = lifeline,
            IsSandbox = sandbox,
            Adopt = adopt?.DataFolder,
        };
        _services = Build();
    }

    public string Region { get; }
    public int Port { get; }

    /// <summary>What the agent is started with; another one counts from <see cref="RestartAsync"/> on.</summary>
    public AgentOptions Options { get; set; }
    public long Token { get; set; } = 1;
    public PostgresHome Home => _services.GetRequiredService<PostgresHome>();
    public string LogFile => Path.Combine(_folder, "agent.log");
    public GuardClient Guard => _services.GetRequiredService<GuardClient>();
    public AgentState State => _services.GetRequiredService<AgentStateFile>().Current;
    public void Change(Func<AgentState, AgentState> change) => _services.GetRequiredService<AgentStateFile>().Change(change);
    public AgentWork Work => (AgentWork)_services.GetRequiredService<INodeWork>();

    /// <summary>What is reported of a PostgreSQL that is not adopted yet.</summary>
    public async Task<DatabaseReading?> UnfencedAsync()
    {
        var loop = _services.GetRequiredService<UnfencedLoop>();
        await loop.RunOnceAsync(TestContext.Current.CancellationToken);
        return loop.Last;
    }

    public DatabaseReading? Reading => _services.GetRequiredService<ReadingLoop>().Last;

    /// <summary>Starts what keeps leases: the loop that renews, and the door for peers.</summary>
    public async Task KeepLeasesAsync()
    {
        foreach (var service in _services.GetServices<Microsoft.Extensions.Hosting.IHostedService>().Where(s => s is LeaseKeeper or PeerDoor))
            await service.StartAsync(TestContext.Current.CancellationToken);
    }

    /// <summary>What the agent does about a fault that a former one left, before it does anything else.</summary>
    public Task BeginFaultsAsync() => _services.GetRequiredService<FaultDesk>().StartAsync(TestContext.Current.CancellationToken);

    public LeaseReading? Lease => _services.GetRequiredService<LeaseKeeper>().Reading;

    /// <summary>A new folder that PostgreSQL's user can enter.</summary>
    public static string NewFolder()
    {
        var folder = Directory.CreateTempSubdirectory("br-agent-").FullName;
        File.SetUnixFileMode(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute);
        return folder;
    }

    /// <summary>The agent ends without a word and starts again from what is on its disk; PostgreSQL and its guard go on.</summary>
    public async Task RestartAsync()
    {
        await EndServicesAsync();
        _services = Build();
    }

    /// <summary>Server with a store of its own: epochs of another one cannot be compared with these.</summary>
    public string? Lineage { get; set; }

    public DatabaseAssignment Duty(long epoch, AgentHost primary, EpochState state = EpochState.Open, PromoteResult? moved = null, AgentHost? former = null, bool initialise = false) => new()
    {
        Name = "main",
        Lineage = Lineage,
        Epoch = epoch,
        State = state,
        Duty = state != EpochState.Open ? DatabaseDuty.Keep : primary == this ? DatabaseDuty.Primary : DatabaseDuty.Standby,
        Primary = primary.Region,
        PrimaryHost = "127.0.0.1",
        PrimaryPort = primary.Port,
        Initialise = initialise,
        Fork = moved?.Fork,
        FormerEpoch = former is null ? null : epoch - 1,
        FormerPrimary = former?.Region,
    };

    /// <summary>Gives an assignment, and confirms what the agent asks as a server would.</summary>
    public void Assign(DatabaseAssignment assignment, bool confirm = true)
    {
        _assignment = confirm ? assignment : null;
        _services.GetRequiredService<AssignmentBook>().Take(new Assignment { Version = ++_version, Region = Region, FencingToken = Token, Database = assignment });
    }

    public async Task PassAsync(bool confirm = true)
    {
        await ReconcileAsync(confirm);
        await ReadAsync();
    }

    /// <summary>A pass of the database's loop alone: the reading's loop may run beside it, as it does in an agent, but never twice at once.</summary>
    public async Task ReconcileAsync(bool confirm = true)
    {
        var keeper = _services.GetRequiredService<DatabaseKeeper>();
        if (confirm && keeper.StartAsk is { } ask && _assignment is { Duty: DatabaseDuty.Primary } assignment && assignment.ConfirmedAsk != ask)
            Assign(assignment with { ConfirmedAsk = ask });
        await _services.GetRequiredService<DatabaseLoop>().RunOnceAsync(TestContext.Current.CancellationToken);
    }

    public Task ReadAsync() => _services.GetRequiredService<ReadingLoop>().RunOnceAsync(TestContext.Current.CancellationToken);

    public async Task UntilAsync(Func<DatabaseReading, bool> condition, string what)
    {
        try
        {
            await Eventually.TrueAsync(async () =>
            {
                await PassAsync();
                return Reading is { } reading && condition(reading);
            }, what, TestContext.Current.CancellationToken, Limit);
        }
        catch (Exception error)
        {
            Assert.Fail($"{Region}: {what}: {error.Message}; last reading: {JsonSerializer.Serialize(Reading, WireJson.Default.DatabaseReading)}; log: {(File.Exists(Home.Log) ? string.Join('\n', File.ReadLines(Home.Log).TakeLast(15)) : "")}");
        }
    }

    public Task BecomesPrimaryAsync(long epoch) => UntilAsync(r => r.State == DatabaseState.Primary && r.MarkerEpoch == epoch, $"primary of epoch {epoch}");

    public Task FollowsAsync(long epoch) => UntilAsync(r => r.State == DatabaseState.Standby && r.Streaming && r.MarkerEpoch == epoch, $"standby streams epoch {epoch}");

    public async Task<OrderResult> OrderAsync<TOrder>(string kind, long epoch, TOrder order, System.Text.Json.Serialization.Metadata.JsonTypeInfo<TOrder> type, long? token = null) =>
        await Work.CarryOutAsync(new Order { Id = Guid.NewGuid().ToString(), Kind = kind, Epoch = epoch, FencingToken = token ?? Token, Arguments = JsonSerializer.SerializeToElement(order, type) }, TestContext.Current.CancellationToken);

    public async Task<FenceResult> FenceAsync(long epoch)
    {
        var result = await OrderAsync(DatabaseOrders.Fence, epoch, new FenceOrder("main", epoch, "run-1"), WireJson.Default.FenceOrder);
        Assert.True(result.Done, result.Error);
        return result.Data!.Value.Deserialize(WireJson.Default.FenceResult)!;
    }

    public async Task<PromoteResult> PromoteAsync(long epoch, string kind = DatabaseOrders.Promote)
    {
        var result = await OrderAsync(kind, epoch, new PromoteOrder("main", epoch, $"run-{epoch}"), WireJson.Default.PromoteOrder);
        Assert.True(result.Done, result.Error);
        return result.Data!.Value.Deserialize(WireJson.Default.PromoteResult)!;
    }

    public AddressFile Address() => JsonSerializer.Deserialize(File.ReadAllBytes(Path.Combine(Options.DataFolder, "address-main.json")), WireJson.Default.AddressFile)!;

    public async Task ExecuteAsync(string sql)
    {
        await using var connection = await OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
    }

    public async Task<T> ScalarAsync<T>(string sql)
    {
        await using var connection = await OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        return (T)(await command.ExecuteScalarAsync(TestContext.Current.CancellationToken))!;
    }

    public async Task<NpgsqlConnection> OpenAsync()
    {
        var connection = new NpgsqlConnection($"Host=127.0.0.1;Port={Port};Username=app;Password={AppPassword};Database=app;Pooling=false;Timeout=5");
        await connection.OpenAsync(TestContext.Current.CancellationToken);
        return connection;
    }

    /// <summary>Processes of this host's PostgreSQL that can run code, by their working directory.</summary>
    public IReadOnlyList<int> Processes() => [.. Left().Where(pid => !BuildRunner.Server.Guard.DataProcesses.IsDying(pid))];

    /// <summary>And those that were killed and that the kernel has not taken apart yet.</summary>
    public IReadOnlyList<int> Left() => Home.IsPrepared && Home.HasData ? new BuildRunner.Server.Guard.DataProcesses(Home.Data).Running() : [];

    public async ValueTask DisposeAsync()
    {
        try
        {
            if (Home.IsPrepared && Home.HasData)
            {
                await Guard.StopAsync(TimeSpan.Zero, CancellationToken.None);
                Remove(Home.PermitFolder());
            }
        }
        catch (IOException) { } // the folder goes with the machine
        await EndServicesAsync();
    }

    private async Task EndServicesAsync()
    {
        foreach (var service in _services.GetServices<Microsoft.Extensions.Hosting.IHostedService>().Where(s => s is LeaseKeeper or PeerDoor))
            await service.StopAsync(CancellationToken.None);
        await _services.DisposeAsync();
    }

    /// <summary>Takes away a permit folder, and the cluster's when it was the last in it.</summary>
    public static void Remove(string permitFolder)
    {
        var cluster = Path.GetDirectoryName(permitFolder)!;
        if (Directory.Exists(permitFolder))
            Directory.Delete(permitFolder, recursive: true);
        if (Directory.Exists(cluster) && !Directory.EnumerateFileSystemEntries(cluster).Any())
            Directory.Delete(cluster);
    }

    private ServiceProvider Build()
    {
        var services = new ServiceCollection();
        services.AddLogging(logging => logging.AddProvider(new LineLog(Path.Combine(_folder, "agent.log"), null, LogLevel.Debug)));
        services.AddAgent(Options, new DirectNetwork());
        return services.BuildServiceProvider();
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
