using System.Net;
using BuildRunner.Client;
using BuildRunner.Client.Events;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Server.Events;

public static class EventsRoom
{
    private const int LimitMax = 1000;

    public static IServiceCollection AddEvents(this IServiceCollection services)
    {
        services.AddSingleton<EventLog>().AddSingleton<IEventLog>(all => all.GetRequiredService<EventLog>());
        services.AddSingleton<IAlerts, NoAlerts>(); // the room Alerting puts its own in its place
        return services.ConfigureHttpJsonOptions(json => json.SerializerOptions.TypeInfoResolverChain.Insert(0, EventsJson.Default));
    }

    public static void MapEvents(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapGet("/v1/events", async (int? limit, IEventLog log, CancellationToken cancel) =>
        {
            if (limit is < 1 or > LimitMax)
                return Wrong($"limit is {limit}; it is a number from 1 to {LimitMax}.");
            var entries = await log.ListAsync(limit ?? 50, cancel);
            return Results.Json(new EventList { Events = [.. entries.Select(RowOf)] }, EventsJson.Default.EventList);
        }).RequireAuthorization("viewer");

        endpoints.MapPost("/v1/events", async (EventNote note, HttpContext context, EventLog log) =>
        {
            var summary = note.Summary?.Trim() ?? "";
            if (summary.Length is 0 or > EventLog.SummaryMax)
                return Wrong($"The note's summary has {summary.Length} characters; it has 1 to {EventLog.SummaryMax}.");
            var entry = await log.AppendAsync("note", context.User.Identity?.Name ?? "unknown", summary, null, CancellationToken.None);
            return Results.Json(RowOf(entry), EventsJson.Default.EventRow, statusCode: (int)HttpStatusCode.Created);
        }).RequireAuthorization("operator");
    }

    private static EventRow RowOf(EventEntry entry) => new() { Id = entry.Id, At = entry.At, Kind = entry.Kind, Actor = entry.Actor, Summary = entry.Summary, Data = entry.Data };

    /// <summary>Events stands below Hosting and cannot use its problem answers.</summary>
    private static IResult Wrong(string title) => Results.Json(
        new ApiProblem { Type = "https://buildrunner.dev/problems/events.invalid", Title = title, Status = 400, ExitCode = 2 },
        ApiJson.Default.ApiProblem, "application/problem+json", 400);
}
