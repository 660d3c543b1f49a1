using System.Net;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Regions;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;
using BuildRunner.Dashboard;
using BuildRunner.Server.Access;
using BuildRunner.Server.Alerting;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;

namespace BuildRunner.Tests.Regions;

/// <summary>A server with the rooms that Regions stands on, real probes to real services, and reports that the test gives.</summary>
internal sealed class RegionsHouse : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly string _folder;
    private readonly DatabaseDoor _door;

    private RegionsHouse(WebApplication app, string folder, Dictionary<string, FakeService> gateways, DatabaseDoor door)
    {
        (_app, _folder, Gateways, _door) = (app, folder, gateways, door);
    }

    public static readonly (string Code, string Name, RegionRole Role, GeoPoint Place)[] Four =
    [
        ("us-east-1", "US East (Virginia)", RegionRole.Primary, new(38.9, -77.4)),
        ("us-west-1", "US West (California)", RegionRole.Standby, new(37.4, -121.9)),
        ("eu-west-1", "Europe (Ireland)", RegionRole.Replica, new(53.3, -6.3)),
        ("ap-south-1", "Asia Pacific (Mumbai)", RegionRole.Edge, new(19.1, 72.9)),
    ];

    /// <summary>A region's gateway and api are the same little server here.</summary>
    public Dictionary<string, FakeService> Gateways { get; }
    public Uri Address => new(_app.Urls.First());
    public string Token => File.ReadAllText(Path.Combine(_folder, "token")).Trim();
    public T Get<T>() where T : notnull => _app.Services.GetRequiredService<T>();
    public ApiConnection Api => ApiConnection.Create(Address, Token);
    public RegionsClient Regions => new(Api);

    public static async Task<RegionsHouse> StartAsync(bool databases = false)
    {
        var folder = Directory.CreateTempSubdirectory("br-regions-").FullName;
        var gateways = new Dictionary<string, FakeService>();
        foreach (var region in Four)
            gateways[region.Code] = await FakeService.StartAsync();
        var door = new DatabaseDoor();
        var policy = new FixedPolicy(Policy(gateways, databases, door.Port));

        var builder = WebApplication.CreateEmptyBuilder(new() { ApplicationName = "br" });
        builder.WebHost.UseKestrelCore().ConfigureKestrel(k => k.Listen(IPAddress.Loopback, 0));
        builder.Services.AddRoutingCore();
        builder.Services.AddLogging();
        builder.Services.AddStorage(folder, NullLoggerFactory.Instance).AddEvents().AddAccess(new AccessOptions { DataFolder = folder }).AddHosting(folder, new DirectNetwork());
        builder.Services.AddSingleton<IPolicySource>(policy);
        builder.Services.AddRunbooks().AddRegions().AddAlerting(folder).AddDashboard();
        var app = builder.Build();
        app.UseProblemAnswers();
        app.UseAccess();
        app.MapHosting();
        app.MapEvents();
        app.MapAccess();
        app.MapRunbooks();
        app.MapRegions();
        app.MapAlerting();
        app.MapDashboard();
        await app.StartAsync();
        var house = new RegionsHouse(app, folder, gateways, door);
        if (databases)
            await house.Get<Epochs>().CreateAsync(Epoch("us-east-1", 1), null, CancellationToken.None);
        return house;
    }

    public static EpochRecord Epoch(string primary, long epoch) =>
        new() { Database = "main", Epoch = epoch, State = EpochState.Open, Primary = primary, Candidates = ["us-east-1", "us-west-1", "eu-west-1"], At = DateTimeOffset.UnixEpoch };

    /// <summary>An agent's report: its copy streams from the primary, or is the primary.</summary>
    public void Report(string region, DatabaseState state, double? lag = 0.1) => Get<NodeReports>().Take(region, new AgentReport
    {
        Incarnation = "test",
        At = DateTimeOffset.UtcNow,
        Host = "127.0.0.1",
        Database = new DatabaseReading
        {
            Database = "main",
            State = state,
            AcceptsConnections = true,
            Timeline = 1,
            MarkerEpoch = 1,
            Written = state == DatabaseState.Primary ? Lsn.Parse("0/5000148") : null,
            Received = state == DatabaseState.Standby ? Lsn.Parse("0/5000148") : null,
            Replayed = state == DatabaseState.Standby ? Lsn.Parse("0/5000148") : null,
            LagSeconds = state == DatabaseState.Standby ? lag : null,
            LagBytes = state == DatabaseState.Standby ? 0 : null,
            Streaming = state == DatabaseState.Standby,
            Following = state == DatabaseState.Standby ? "us-east-1" : null,
        },
    });

    public async Task SettleAsync(CancellationToken cancel) =>
        await Support.Eventually.TrueAsync(() => Get<IRegionHealth>() is { Settled: true, Current: { Count: 4 } verdicts } && verdicts.All(v => v.Health == HealthState.Healthy), "four healthy regions", cancel);

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
        foreach (var gateway in Gateways.Values)
            await gateway.DisposeAsync();
        await _door.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private static PolicyDocument Policy(Dictionary<string, FakeService> gateways, bool databases, int port) => new()
    {
        Regions = [.. Four.Select(r => new RegionDefinition
        {
            Code = r.Code,
            Name = r.Name,
            Role = r.Role,
            Location = r.Place,
            Endpoint = gateways[r.Code].Address,
            DatabaseHost = databases && r.Role != RegionRole.Edge ? "127.0.0.1" : null,
            DatabasePort = port,
        })],
        Services = [new ServiceDefinition { Name = "api", Endpoints = Four.Where(r => r.Role != RegionRole.Edge).ToDictionary(r => r.Code, r => (IReadOnlyList<string>)[gateways[r.Code].Address]) }],
        Databases = [new DatabaseDefinition { Name = "main" }],
        Health = new HealthRules { Interval = TimeSpan.FromMilliseconds(100), Timeout = TimeSpan.FromSeconds(1), Fall = 2, Rise = 1 },
    };
}

internal sealed class FixedPolicy(PolicyDocument policy) : IPolicySource
{
    public PolicyDocument Current { get; } = policy;
    public string Hash => "test";
    public Freeze? Freeze => null;
    public IDisposable OnChange(Action changed) => new Nothing();

    private sealed class Nothing : IDisposable
    {
        public void Dispose() { }
    }
}
