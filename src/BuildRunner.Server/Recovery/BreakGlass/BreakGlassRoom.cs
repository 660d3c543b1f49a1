using System.Security.Claims;
using BuildRunner.Client.Recovery;
using BuildRunner.Server.Hosting;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Server.Recovery.BreakGlass;

/// <summary>The part of the room for the day on which the server is gone.</summary>
public static class BreakGlassRoom
{
    internal static IServiceCollection AddBreakGlass(this IServiceCollection services) => services.AddSingleton<AdoptionDesk>().AddSingleton<SheetReader>();

    /// <summary>This server acts for one that is gone: it calls the nodes together.</summary>
    internal static IServiceCollection AddStandIn(this IServiceCollection services, StandInOptions options) =>
        services.AddSingleton(options).AddSingleton<HandOver>().AddSingleton<SummonLoop>().AddHostedService(all => all.GetRequiredService<SummonLoop>());

    public static void MapBreakGlass(this IEndpointRouteBuilder routes)
    {
        routes.MapPost("/v1/dr/adopt", async Task<IResult> (AdoptionBundle bundle, AdoptionDesk desk, ClaimsPrincipal user, CancellationToken cancel) =>
        {
            var (answer, refusal) = await desk.AdoptAsync(bundle, user.Identity?.Name ?? "unknown", cancel);
            return answer is not null
                ? TypedResults.Json(answer, AdoptionJson.Default.AdoptionAnswer)
                : Problems.Refused("recovery.not-adopted", "The journal was not adopted.", errors: [refusal!]);
        }).RequireAuthorization("admin");
        routes.MapGet("/v1/dr/sheet", async (string? server, SheetReader sheet, CancellationToken cancel) =>
            TypedResults.Json(await sheet.ReadAsync(server, cancel), SheetJson.Default.RecoverySheet)).RequireAuthorization("viewer");
    }
}
