using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Client.Routing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;

namespace BuildRunner.Server.Hosting;

public static class HostingRoom
{
    private const int ReportBytesMax = 1024 * 1024;

    /// <summary>What the server role needs: lines to nodes, their reports, the right to lead, problem answers.</summary>
    /// <param name="services">The server's.</param>
    /// <param name="dataFolder">Folder of the server's identity.</param>
    /// <param name="network">How others are reached.</param>
    /// <param name="listen">How long it listens before it acts (<see cref="Standing"/>).</param>
    /// <param name="tokenFloor">Its fencing token is above this one.</param>
    public static IServiceCollection AddHosting(this IServiceCollection services, string dataFolder, INetwork network, TimeSpan listen = default, long tokenFloor = 0)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(all => new Standing(all.GetRequiredService<TimeProvider>(), listen, tokenFloor));
        services.AddSingleton(network);
        services.AddSingleton(ServerIdentity.Load(dataFolder));
        services.AddSingleton<NodeLinks>().AddSingleton<INodeLinks>(all => all.GetRequiredService<NodeLinks>());
        services.AddSingleton<NodeReports>().AddSingleton<INodeReports>(all => all.GetRequiredService<NodeReports>());
        services.AddSingleton<LeaderLease>().AddHostedService(all => all.GetRequiredService<LeaderLease>());
        services.ConfigureHttpJsonOptions(json =>
        {
            json.SerializerOptions.PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower;
            json.SerializerOptions.TypeInfoResolverChain.Insert(0, WireJson.Default);
            json.SerializerOptions.TypeInfoResolverChain.Insert(0, HostingJson.Default);
        });
        services.Configure<RouteHandlerOptions>(options => options.ThrowOnBadRequest = true);
        return services;
    }

    /// <summary>First in the pipeline: whatever fails behind it becomes a problem answer.</summary>
    public static IApplicationBuilder UseProblemAnswers(this IApplicationBuilder app) => app.UseMiddleware<ProblemAnswers>();

    public static void MapHosting(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapGet("/healthz", () => Results.Text("ok\n")).AllowAnonymous();
        endpoints.MapGet("/v1/version", () => Results.Json(new VersionAnswer { Version = VersionAnswer.Running }, HostingJson.Default.VersionAnswer)).RequireAuthorization("viewer");

        MapLine(endpoints, NodeKind.Gateway, "gateway");
        MapLine(endpoints, NodeKind.Agent, "agent");

        endpoints.MapPost("/v1/agents/{region}/report", (string region, AgentReport report, NodeLinks links, NodeReports reports) =>
        {
            if (!links.Hear(new(NodeKind.Agent, region), report.Incarnation))
                return Replaced(new(NodeKind.Agent, region));
            reports.Take(region, report);
            return Results.NoContent();
        }).RequireAuthorization("agent").WithMetadata(new BodyLimit(ReportBytesMax));

        endpoints.MapPost("/v1/gateways/{region}/report", (string region, GatewayReport report, NodeLinks links, NodeReports reports) =>
        {
            if (!links.Hear(new(NodeKind.Gateway, region), report.Incarnation))
                return Replaced(new(NodeKind.Gateway, region));
            reports.Take(region, report);
            return Results.NoContent();
        }).RequireAuthorization("gateway").WithMetadata(new BodyLimit(ReportBytesMax));
    }

    /// <summary>The role `gateway` or `agent` is bound to its region by the policy of the same name, which reads the route's `region`.</summary>
    private static void MapLine(IEndpointRouteBuilder endpoints, NodeKind kind, string word)
    {
        var group = endpoints.MapGroup($"/v1/nodes/{word}/{{region}}").RequireAuthorization(word).WithMetadata(new BodyLimit(ReportBytesMax));

        group.MapPost("/poll", async (string region, NodePoll poll, NodeLinks links, IHostApplicationLifetime life, CancellationToken aborted) =>
        {
            using var end = CancellationTokenSource.CreateLinkedTokenSource(aborted, life.ApplicationStopping);
            try
            {
                return await links.PollAsync(new(kind, region), poll, end.Token) is { } answer
                    ? Results.Json(answer, WireJson.Default.NodePollAnswer)
                    : Replaced(new(kind, region));
            }
            catch (OperationCanceledException) when (life.ApplicationStopping.IsCancellationRequested)
            {
                return Problems.Unavailable("hosting.stopping", "The server is stopping.", "Call again.");
            }
        });

        group.MapPost("/results", (string region, OrderResult result, NodeLinks links) =>
        {
            links.Finish(new(kind, region), result);
            return Results.NoContent();
        });
    }

    private static IResult Replaced(NodeName node) =>
        Problems.Conflict("hosting.node-replaced", $"Another process has called in as {node} since.", "Only one process may bear that name: end one of the two.");

    private sealed class BodyLimit(long bytes) : IRequestSizeLimitMetadata
    {
        public long? MaxRequestBodySize => bytes;
    }
}
