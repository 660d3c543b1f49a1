using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Routing;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Routing;
using BuildRunner.Server.Gateway;
using BuildRunner.Server.Hosting;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Tests.Gateway;

/// <summary>A real gateway on a real port, without a server, between two regions of real origins.</summary>
internal sealed class GatewayUnderTest : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("br-gateway-").FullName;
    private readonly HttpClient _http = new(new SocketsHttpHandler { UseCookies = false, UseProxy = false }) { Timeout = TimeSpan.FromSeconds(15) };
    private WebApplication? _app;
    private long _version;

    public Origin Near { get; } = new();
    public Origin Far { get; } = new();
    public RoutingTable Table { get; private set; } = null!;
    public Uri Address { get; private set; } = null!;
    public IServiceProvider Services => _app!.Services;
    public string Folder => _folder;

    public async Task StartAsync(RoutingTable? table = null, long bodyMax = 100L * 1024 * 1024)
    {
        File.WriteAllText(Path.Combine(_folder, "token"), "x");
        var port = FreePort();
        Address = new Uri($"http://127.0.0.1:{port}");
        _app = GatewayRoom.Build(new GatewayOptions
        {
            Region = "near",
            DataFolder = Path.Combine(_folder, "data"),
            Server = new Uri($"http://127.0.0.1:{FreePort()}"), // nobody is there: nothing a user needs asks it
            TokenFile = Path.Combine(_folder, "token"),
            Listen = $"127.0.0.1:{port}",
            ConnectTimeout = TimeSpan.FromMilliseconds(500),
            BodyMax = bodyMax,
        }, new DirectNetwork());
        if (table is not null)
            Apply(table);
        await _app.StartAsync();
    }

    public async Task StopAsync()
    {
        if (_app is null)
            return;
        await _app.StopAsync();
        await _app.DisposeAsync();
        _app = null;
    }

    public void Apply(RoutingTable table)
    {
        Table = table with { Version = ++_version };
        Services.GetRequiredService<GatewayTable>().Apply(new GatewayDocument { Table = Table, AffinityKeys = [Convert.ToBase64String(new byte[32])] });
    }

    public void Apply(Func<DatabaseRow, DatabaseRow> change) => Apply(Table with { Databases = [.. Table.Databases.Select(change)] });

    public GatewayReport Report() => JsonSerializer.Deserialize(Services.GetRequiredService<INodeWork>().Report("test")!, WireJson.Default.GatewayReport)!;

    public async Task<HttpResponseMessage> SendAsync(HttpMethod method, string path, string? body = null, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(method, new Uri(Address.GetLeftPart(UriPartial.Authority) + path));
        if (body is not null)
            request.Content = new StringContent(body);
        foreach (var (name, value) in headers)
            request.Headers.TryAddWithoutValidation(name, value);
        return await _http.SendAsync(request, TestContext.Current.CancellationToken);
    }

    public Task<HttpResponseMessage> GetAsync(string path = "/api/x", params (string Name, string Value)[] headers) => SendAsync(HttpMethod.Get, path, null, headers);

    public Task<HttpResponseMessage> PostAsync(string body = "{}") => SendAsync(HttpMethod.Post, "/api/x", body);

    public RoutingTable Standard(string? near = null, string? far = null) => new()
    {
        Version = 1,
        At = DateTimeOffset.UnixEpoch,
        DefaultRegion = "near",
        AllowedRegions = ["near", "far"],
        Regions = [Region("near", RegionRole.Primary, 0), Region("far", RegionRole.Replica, 50)],
        Services =
        [
            new ServiceRow
            {
                Name = "api",
                Database = "main",
                Routes = [new RouteRow { Pattern = "/api/**", Timeout = TimeSpan.FromSeconds(1) }],
                Instances = [Instance("near", near ?? Near.Address), Instance("far", far ?? Far.Address)],
            },
        ],
        Databases = [new DatabaseRow { Name = "main", Epoch = 3, State = EpochState.Open, Primary = "near" }],
        TrustedProxies = ["127.0.0.0/8"],
        Hold = new HoldRules { Duration = TimeSpan.FromSeconds(10), RequestsMax = 3, BodyBytesMax = 1000 },
    };

    public static InstanceRow Instance(string region, string address, string id = "api-1") => new() { Region = region, Id = id, Address = address, Version = "v1", Health = HealthState.Healthy };

    public static string Refusing => $"http://127.0.0.1:{FreePort()}";

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        await Near.DisposeAsync();
        await Far.DisposeAsync();
        _http.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private static RegionRow Region(string code, RegionRole role, double latitude) => new()
    {
        Code = code, Name = code, Role = role, Location = new GeoPoint(latitude, 0), Endpoint = "http://x", Health = HealthState.Healthy, HasDatabase = true, ServesReads = role == RegionRole.Replica, LagSeconds = role == RegionRole.Replica ? 0 : null,
    };

    private static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }
}
