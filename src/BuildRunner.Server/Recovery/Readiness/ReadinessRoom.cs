using BuildRunner.Client.Recovery;
using BuildRunner.Server.Hosting;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Server.Recovery.Readiness;

/// <summary>The part of the room that says whether recovery would work tonight.</summary>
internal static class ReadinessRoom
{
    public static IServiceCollection AddReadiness(this IServiceCollection services, string? serverRegion)
    {
        services.AddSingleton(new ServerPlace(serverRegion));
        services.AddSingleton<ReadinessReader>();
        services.AddSingleton<ReadinessRecords>();
        services.AddSingleton<ReadinessLoop>().AddHostedService(all => all.GetRequiredService<ReadinessLoop>());
        return services;
    }

    public static void MapReadiness(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/v1/dr/readiness", async (ReadinessRecords records, TimeProvider time, CancellationToken cancel) =>
            TypedResults.Json(await records.ShowAsync(time.GetUtcNow(), cancel), ReadinessJson.Default.ReadinessReport)).RequireAuthorization("viewer");
        routes.MapPost("/v1/dr/readiness", async Task<IResult> (ReadinessLoop loop, ReadinessRecords records, TimeProvider time, CancellationToken cancel) =>
            await loop.EvaluateAsync(cancel)
                ? TypedResults.Json(await records.ShowAsync(time.GetUtcNow(), cancel), ReadinessJson.Default.ReadinessReport)
                : Problems.Unavailable("recovery.no-lead", "This server does not lead now, and only the leader evaluates.", "Ask again in a few seconds.")).RequireAuthorization("operator");
    }
}

/// <summary>The region in which this server stands; null: it does not say.</summary>
internal sealed record ServerPlace(string? Region);
