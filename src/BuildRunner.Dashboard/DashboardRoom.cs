using System.Reflection;
using System.Security.Cryptography;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Alerting;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Regions;
using BuildRunner.Core.Alerting;
using BuildRunner.Dashboard.Regions;
using BuildRunner.Dashboard.Shell;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Components;
using Microsoft.AspNetCore.Components.Web;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Dashboard;

/// <summary>
/// The pages. They see only the public API, as whoever looks: the visitor's own cookie or token goes with every call, so a page shows
/// what its visitor may see and nothing else.
/// </summary>
public static class DashboardRoom
{
    private const string Policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    private const int IncidentsMax = 5;
    private static readonly Dictionary<string, (byte[] Bytes, string Type, string Tag)> Assets = new[] { ("app.css", "text/css; charset=utf-8"), ("app.js", "text/javascript; charset=utf-8"), ("icon.svg", "image/svg+xml") }
        .ToDictionary(a => a.Item1, a => Load(a.Item1, a.Item2), StringComparer.Ordinal);

    public static IServiceCollection AddDashboard(this IServiceCollection services)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton<ApiLine>();
        return services;
    }

    public static void MapDashboard(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapGet("/", (Delegate)OverviewAsync).AllowAnonymous();
        endpoints.MapGet("/dashboard/live", (Delegate)LiveAsync).AllowAnonymous();
        endpoints.MapGet("/dashboard/{asset}", Asset).AllowAnonymous();
        endpoints.MapGet("/favicon.ico", () => Asset("icon.svg")).AllowAnonymous();
    }

    private static async Task<IResult> OverviewAsync(HttpContext context, ApiLine line, IServiceProvider services, ILoggerFactory logs, CancellationToken cancel)
    {
        context.Response.Headers.ContentSecurityPolicy = Policy;
        context.Response.Headers.CacheControl = "no-store";
        try
        {
            var api = line.As(context);
            var status = await new RegionsClient(api).StatusAsync(cancel);
            return await PageAsync<OverviewPage>(services, logs, 200, (nameof(OverviewPage.Status), status), (nameof(OverviewPage.Incidents), await IncidentsAsync(api, cancel)), (nameof(OverviewPage.Readiness), await ReadinessAsync(api, cancel)));
        }
        catch (ApiException error) when ((int)error.Status is 401 or 403)
        {
            return await PageAsync<SignInPage>(services, logs, 401);
        }
        catch (Exception error) when (error is ApiException or ApiUnreachableException)
        {
            return await PageAsync<FaultPage>(services, logs, 503, (nameof(FaultPage.Reason), error.Message));
        }
    }

    /// <summary>Server-sent events: the parts of the page, rendered anew whenever the status has changed.</summary>
    private static async Task LiveAsync(HttpContext context, ApiLine line, IServiceProvider services, ILoggerFactory logs, IHostApplicationLifetime life)
    {
        using var until = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, life.ApplicationStopping);
        try
        {
            var api = line.As(context);
            await foreach (var status in new RegionsClient(api).WatchAsync(until.Token))
            {
                if (!context.Response.HasStarted)
                {
                    context.Response.ContentType = "text/event-stream";
                    context.Response.Headers.CacheControl = "no-store";
                }
                var incidents = await IncidentsAsync(api, until.Token);
                var html = await RenderAsync<LiveParts>(services, logs, (nameof(LiveParts.Status), status), (nameof(LiveParts.Incidents), incidents), (nameof(LiveParts.Readiness), await ReadinessAsync(api, until.Token)));
                await context.Response.WriteAsync($"event: status\ndata: {JsonSerializer.Serialize(html, DashboardJson.Default.String)}\n\n", until.Token);
                await context.Response.Body.FlushAsync(until.Token);
            }
        }
        catch (OperationCanceledException) when (until.IsCancellationRequested) { } // the visitor left, or the server stops
        catch (ApiException error) when (!context.Response.HasStarted)
        {
            context.Response.StatusCode = (int)error.Status; // 401: the page signs in again
        }
    }

    /// <summary>The newest incidents that are not over; the page stands without them where they cannot be had.</summary>
    private static async Task<IReadOnlyList<Incident>> IncidentsAsync(ApiConnection api, CancellationToken cancel)
    {
        try { return (await new AlertingClient(api).ListAsync(open: true, IncidentsMax, cancel)).Incidents; }
        catch (Exception error) when (error is ApiException or ApiUnreachableException) { return []; }
    }

    /// <summary>Whether recovery would work tonight; null where the server does not say.</summary>
    private static async Task<ReadinessReport?> ReadinessAsync(ApiConnection api, CancellationToken cancel)
    {
        try { return await api.ReadinessAsync(cancel); }
        catch (Exception error) when (error is ApiException or ApiUnreachableException) { return null; }
    }

    private static async Task<IResult> PageAsync<T>(IServiceProvider services, ILoggerFactory logs, int status, params (string Name, object? Value)[] parameters) where T : IComponent =>
        Results.Content("<!doctype html>\n" + await RenderAsync<T>(services, logs, parameters), "text/html; charset=utf-8", statusCode: status);

    private static async Task<string> RenderAsync<T>(IServiceProvider services, ILoggerFactory logs, params (string Name, object? Value)[] parameters) where T : IComponent
    {
        await using var renderer = new HtmlRenderer(services, logs);
        return await renderer.Dispatcher.InvokeAsync(async () =>
            (await renderer.RenderComponentAsync<T>(ParameterView.FromDictionary(parameters.ToDictionary(p => p.Name, p => p.Value)))).ToHtmlString());
    }

    private static IResult Asset(string asset) =>
        Assets.TryGetValue(asset, out var file)
            ? Results.Bytes(file.Bytes, file.Type, entityTag: new Microsoft.Net.Http.Headers.EntityTagHeaderValue(file.Tag))
            : Results.NotFound();

    private static (byte[], string, string) Load(string name, string type)
    {
        using var stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(name) ?? throw new InvalidOperationException($"{name} is not embedded.");
        var bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return (bytes, type, $"\"{Convert.ToHexStringLower(SHA256.HashData(bytes))[..16]}\"");
    }
}
