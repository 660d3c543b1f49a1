using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using BuildRunner.Client;
using BuildRunner.Client.Access;
using Microsoft.AspNetCore.Builder;

namespace BuildRunner.Tests.Support;

/// <summary>The whole server role in this process, on a real Kestrel at a free port.</summary>
public sealed class TestServer : IAsyncDisposable
{
    private readonly TempFolder? _own;
    private readonly WebApplication _app;

    private TestServer(WebApplication app, string folder, TempFolder? own) => (_app, Folder, _own) = (app, folder, own);

    public string Folder { get; }
    public IServiceProvider Services => _app.Services;
    public Uri Address => new(_app.Urls.First());
    public int Port => Address.Port;
    public string AdminToken => File.ReadAllText(Path.Combine(Folder, "token")).Trim();

    public static async Task<TestServer> StartAsync(string? folder = null, int port = 0, string? seedTokens = null, string? policyFile = null)
    {
        var own = folder is null ? new TempFolder() : null;
        folder ??= own!.Path;
        var app = ServerRole.Build(new ServerRoleOptions { DataFolder = folder, Listen = new IPEndPoint(IPAddress.Loopback, port), LogToTerminal = false, SeedTokens = seedTokens, PolicyFile = policyFile });
        try { await app.StartAsync(TestContext.Current.CancellationToken); }
        catch
        {
            await app.DisposeAsync();
            throw;
        }
        return new TestServer(app, folder, own);
    }

    public ApiConnection Connect(string? token = null) => ApiConnection.Create(Address, token ?? AdminToken);

    /// <summary>A plain HTTP client: no cookies, no redirects, no token unless given.</summary>
    public HttpClient Http(string? token = null)
    {
        var http = new HttpClient(new SocketsHttpHandler { UseProxy = false, UseCookies = false, AllowAutoRedirect = false }) { BaseAddress = Address, Timeout = TimeSpan.FromSeconds(20) };
        if (token is not null)
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        return http;
    }

    public async Task<TokenCreated> TokenAsync(AccessRole role, string? region = null) =>
        await new AccessClient(Connect()).CreateAsync(new TokenRequest { Role = role, Region = region }, TestContext.Current.CancellationToken);

    public static async Task<ApiProblem> ProblemAsync(HttpResponseMessage answer)
    {
        Assert.Equal("application/problem+json", answer.Content.Headers.ContentType?.MediaType);
        return await answer.Content.ReadFromJsonAsync(ApiJson.Default.ApiProblem, TestContext.Current.CancellationToken) ?? throw new InvalidOperationException("null");
    }

    public async Task StopAsync() => await _app.StopAsync(TestContext.Current.CancellationToken);

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
        _own?.Dispose();
    }
}
