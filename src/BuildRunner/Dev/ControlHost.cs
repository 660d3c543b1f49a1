using BuildRunner.Core.Recovery;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Dev;

/// <summary>The supervisor's own API, on a Unix socket that only its user can open: `br dev status | stop | kill | …`, and the server's power switch.</summary>
internal static class ControlHost
{
    public static async Task<WebApplication> StartAsync(Supervisor supervisor)
    {
        var socket = supervisor.Layout.ControlSocket;
        File.Delete(socket);
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel => kestrel.ListenUnixSocket(socket));
        builder.Logging.ClearProviders();
        builder.Services.AddRoutingCore();
        // Signals are the supervisor's business.
        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();
        var app = builder.Build();
        app.UseRouting();
        Map(app, supervisor);
        app.UseEndpoints(_ => { });
        await app.StartAsync();
        File.SetUnixFileMode(socket, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return app;
    }

    private static void Map(WebApplication app, Supervisor supervisor)
    {
        app.Map("GET", "/v1/status", _ => Task.FromResult(supervisor.Status()), DevJson.Default.SandboxStatus);
        app.Map("POST", "/v1/stop", context =>
        {
            // Answered first: stopping ends this host too, and the answer with it.
            context.Response.OnCompleted(() =>
            {
                supervisor.AskToStop();
                return Task.CompletedTask;
            });
            return Task.FromResult(new Done("stopping"));
        }, DevJson.Default.Done);
        app.Map("POST", "/v1/regions/{region}/kill", context => supervisor.KillAsync(Region(context)), DevJson.Default.Done);
        app.Map("POST", "/v1/regions/{region}/partition", context => supervisor.PartitionAsync(Region(context), context.Request.Query["silent"] == "true" || context.Request.Query.ContainsKey("way"), One<Silence>(context, "way"), Seconds(context), context.Request.Query["by"], context.Request.Query["filter"] == "true"), DevJson.Default.Done);
        app.Map("POST", "/v1/regions/{region}/connect", context => supervisor.ConnectAsync(Region(context), context.Request.Query["by"].ToString()), DevJson.Default.Done);
        app.Map("POST", "/v1/regions/{region}/freeze", context => supervisor.FreezeAsync(Region(context), [.. context.Request.Query["part"].Select(Named<FaultPart>)]), DevJson.Default.Done);
        app.Map("POST", "/v1/server/freeze", _ => supervisor.FreezeServerAsync(), DevJson.Default.Done);
        app.Map("POST", "/v1/server/heal", _ => supervisor.HealServerAsync(), DevJson.Default.Done);
        app.Map("POST", "/v1/regions/{region}/heal", context => supervisor.HealAsync(Region(context)), DevJson.Default.Done);
        app.Map("POST", "/v1/power/{region}/off", context => supervisor.PowerOffAsync(Region(context)), DevJson.Default.PowerOff);
        app.Map("POST", "/v1/server/stop", _ => supervisor.StopServerAsync(), DevJson.Default.Done);
        app.Map("POST", "/v1/server/restart", async context =>
        {
            var start = context.Request.HasJsonContentType() ? await context.Request.ReadFromJsonAsync(DevJson.Default.ServerStart, context.RequestAborted) : null;
            return await supervisor.RestartServerAsync(start?.Environment ?? new Dictionary<string, string>());
        }, DevJson.Default.Done);
    }

    private static void Map<T>(this WebApplication app, string method, string path, Func<HttpContext, Task<T>> act, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type) =>
        app.MapMethods(path, [method], async (HttpContext context) =>
        {
            IResult answer;
            try { answer = TypedResults.Json(await act(context), type); }
            catch (Cli.CliException error) { answer = Problem(StatusCodes.Status404NotFound, error.Message); }
            catch (Exception error) when (error is InvalidOperationException or IOException) { answer = Problem(StatusCodes.Status409Conflict, error.Message); }
            await answer.ExecuteAsync(context);
        });

    private static TimeSpan? Seconds(HttpContext context) => !context.Request.Query.TryGetValue("seconds", out var text) ? null
        : double.TryParse(text, CultureInfo.InvariantCulture, out var seconds) && seconds is > 0 and <= 86_400 ? TimeSpan.FromSeconds(seconds)
        : throw new InvalidOperationException($"'{text}' is no number of seconds from 1 to 86400.");

    private static T One<T>(HttpContext context, string name) where T : struct, Enum => context.Request.Query.TryGetValue(name, out var value) ? Named<T>(value) : default;

    private static T Named<T>(string? text) where T : struct, Enum => Enum.TryParse<T>(text, ignoreCase: true, out var value) && Enum.IsDefined(value)
        ? value
        : throw new InvalidOperationException($"'{text}' is none of {string.Join(", ", Enum.GetNames<T>()).ToLowerInvariant()}.");

    private static DevRegion Region(HttpContext context) => DevRegion.Find((string)context.Request.RouteValues["region"]!);

    private static JsonHttpResult<Client.ApiProblem> Problem(int status, string title) =>
        TypedResults.Json(new Client.ApiProblem { Status = status, Title = title }, ControlJson.Default.ApiProblem, "application/problem+json", status);

    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;
        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}

[System.Text.Json.Serialization.JsonSourceGenerationOptions(PropertyNamingPolicy = System.Text.Json.Serialization.JsonKnownNamingPolicy.SnakeCaseLower)]
[System.Text.Json.Serialization.JsonSerializable(typeof(Client.ApiProblem))]
internal sealed partial class ControlJson : System.Text.Json.Serialization.JsonSerializerContext;
