using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Tests.Regions;

/// <summary>A real HTTP server that answers what the test says.</summary>
internal sealed class FakeService : IAsyncDisposable
{
    private readonly WebApplication _app;
    private int _asked;

    private FakeService(WebApplication app) => _app = app;

    public int Status { get; set; } = 200;
    public TaskCompletionSource? Hang { get; set; }
    public int Asked => _asked;
    public string Address => _app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();

    public static async Task<FakeService> StartAsync()
    {
        var builder = WebApplication.CreateEmptyBuilder(new());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(k => k.Listen(IPAddress.Loopback, 0));
        var app = builder.Build();
        var service = new FakeService(app);
        app.Run(async context =>
        {
            Interlocked.Increment(ref service._asked);
            if (service.Hang is { } hang)
                await hang.Task.WaitAsync(context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            context.Response.StatusCode = service.Status;
            await context.Response.WriteAsync("ok");
        });
        await app.StartAsync();
        return service;
    }

    public async ValueTask DisposeAsync()
    {
        Hang?.TrySetResult();
        await _app.DisposeAsync();
    }
}
