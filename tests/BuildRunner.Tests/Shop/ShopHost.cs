using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using BuildRunner.Tests.Support;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Shop;

namespace BuildRunner.Tests.Shop;

/// <summary>An instance of Shop in this process, on a port of its own.</summary>
internal sealed class ShopHost : IAsyncDisposable
{
    private readonly WebApplication _app;

    private ShopHost(WebApplication app, HttpClient http) => (_app, Http) = (app, http);

    public HttpClient Http { get; }

    public IServiceProvider Services => _app.Services;

    public static async Task<ShopHost> StartAsync(string service, TestAddress address, string region = "us-east-1", string version = "v1", string workMs = "0", bool ready = true)
    {
        var options = ShopOptions.Parse(
            ["--service", service, "--port", "0", "--region", region, "--instance", $"{service}-1", "--version", version, "--work-ms", workMs, "--address-file", address.Path], out var wrong)
            ?? throw new InvalidOperationException(wrong);
        var app = ShopApplication.Build(options);
        await app.StartAsync();
        var url = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();
        var host = new ShopHost(app, new HttpClient { BaseAddress = new Uri(url), Timeout = TimeSpan.FromSeconds(30) });
        if (!ready)
            return host;
        var last = "";
        try
        {
            await Eventually.TrueAsync(async () =>
            {
                using var answer = await host.Http.GetAsync("/readyz");
                last = await answer.Content.ReadAsStringAsync();
                return answer.IsSuccessStatusCode;
            }, "shop is ready", TestContext.Current.CancellationToken, TimeSpan.FromSeconds(15));
        }
        catch (TimeoutException error)
        {
            await host.DisposeAsync();
            throw new InvalidOperationException($"{error.Message} {last}");
        }

        return host;
    }

    public Task<HttpResponseMessage> OrderAsync(Guid id, int product = 1, int quantity = 2, long? epoch = null)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, "/api/orders")
        {
            Content = new StringContent($$"""{"id":"{{id}}","productId":{{product}},"quantity":{{quantity}}}""", new MediaTypeHeaderValue("application/json")),
        };
        if (epoch is not null)
            request.Headers.Add("BuildRunner-Epoch", epoch.ToString());
        return Http.SendAsync(request);
    }

    public static async Task<JsonNode> JsonAsync(HttpResponseMessage answer) => JsonNode.Parse(await answer.Content.ReadAsStringAsync())!;

    public async Task<JsonNode> GetAsync(string path) => await JsonAsync(await Http.GetAsync(path));

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _app.StopAsync();
        await _app.DisposeAsync();
    }
}
