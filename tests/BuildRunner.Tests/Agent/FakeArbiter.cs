using System.Net;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Core.Databases;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Tests.Agent;

/// <summary>Says to each renewal what the test says; silent as long as it says nothing.</summary>
internal sealed class FakeArbiter : IAsyncDisposable
{
    private readonly WebApplication _app;
    private int _answers;

    private FakeArbiter(WebApplication app) => _app = app;

    public Func<LeaseAsk, LeaseAnswer?> Says { get; set; } = _ => null;
    public LeaseAsk? Last { get; private set; }
    public Uri Address => new(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());

    public static async Task<FakeArbiter> StartAsync()
    {
        var builder = WebApplication.CreateEmptyBuilder(new());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(k => k.Listen(IPAddress.Loopback, 0));
        var app = builder.Build();
        var arbiter = new FakeArbiter(app);
        app.Run(async context =>
        {
            var ask = (await JsonSerializer.DeserializeAsync(context.Request.Body, WireJson.Default.LeaseAsk))!;
            arbiter.Last = ask;
            if (arbiter.Says(ask) is { } answer)
                await context.Response.WriteAsJsonAsync(answer with { Id = $"a-{Interlocked.Increment(ref arbiter._answers)}", FencingToken = 1 }, WireJson.Default.LeaseAnswer);
            else
                context.Response.StatusCode = 503;
        });
        await app.StartAsync();
        return arbiter;
    }

    public void Grants() => Says = _ => new LeaseAnswer { Id = "", Granted = true };

    public void Refuses(string reason) => Says = _ => new LeaseAnswer { Id = "", Refused = true, Reason = reason };

    public void IsSilent() => Says = _ => null;

    public async ValueTask DisposeAsync() => await _app.DisposeAsync();
}
