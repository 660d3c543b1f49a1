using System.Text.Json;
using BuildRunner.Client.Regions;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;
using BuildRunner.Server.Hosting;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Hosting;

namespace BuildRunner.Server.Regions;

/// <summary>`/v1/regions` and `/v1/status`.</summary>
internal static class RegionEndpoints
{
    /// <summary>A watcher hears of changes at most this often, and of nothing at least this often.</summary>
    private static readonly TimeSpan WatchInterval = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan Heartbeat = TimeSpan.FromSeconds(5);

    public static void Map(IEndpointRouteBuilder routes)
    {
        var regions = routes.MapGroup("/v1/regions").RequireAuthorization("viewer");
        regions.MapGet("/", ListAsync);
        regions.MapGet("/health", HealthAsync);
        regions.MapGet("/{code}", ShowAsync);
        routes.MapGet("/v1/status", StatusAsync).RequireAuthorization("viewer");
        routes.MapGet("/v1/status/watch", (Delegate)WatchAsync).RequireAuthorization("viewer");
    }

    private static Task<IResult> ListAsync(RegionViews views, TimeProvider time, string? from, CancellationToken cancel) =>
        AnswerAsync(views, time, from, static _ => true, cancel);

    private static Task<IResult> HealthAsync(RegionViews views, TimeProvider time, string? from, bool? all, CancellationToken cancel) =>
        AnswerAsync(views, time, from, r => all == true || r.Health != HealthState.Healthy, cancel);

    private static async Task<IResult> AnswerAsync(RegionViews views, TimeProvider time, string? from, Func<RegionItem, bool> shown, CancellationToken cancel)
    {
        from ??= RegionViews.FromServer;
        if (!views.Knows(from))
            return NoSuchRegion(from, await views.ListAsync(RegionViews.FromServer, cancel));
        var items = await views.ListAsync(from, cancel);
        var now = time.GetUtcNow();
        var verdict = StatusVerdict.Decide(new StatusFacts { Regions = [.. items.Select(StatusView.Region)] }, now);
        return Results.Json(new RegionsAnswer
        {
            At = now,
            From = from,
            Verdict = verdict.Sentence,
            AllHealthy = items.All(r => r.Health == HealthState.Healthy),
            Regions = [.. items.Where(shown)],
        }, RegionsJson.Default.RegionsAnswer);
    }

    private static async Task<IResult> ShowAsync(RegionViews views, TimeProvider time, string code, string? from, CancellationToken cancel)
    {
        from ??= RegionViews.FromServer;
        var items = await views.ListAsync(views.Knows(from) ? from : RegionViews.FromServer, cancel);
        if (!views.Knows(from))
            return NoSuchRegion(from, items);
        return items.FirstOrDefault(r => r.Code == code) is { } region
            ? Results.Json(new RegionAnswer { At = time.GetUtcNow(), From = from, Region = region }, RegionsJson.Default.RegionAnswer)
            : NoSuchRegion(code, items);
    }

    private static async Task<IResult> StatusAsync(StatusView status, CancellationToken cancel) =>
        Results.Json(await status.ReadAsync(cancel), RegionsJson.Default.StatusAnswer);

    /// <summary>One status a line: at once, and again when it has changed. Reads at an interval, so a lost hint costs nothing.</summary>
    private static async Task WatchAsync(HttpContext context, StatusView status, TimeProvider time, IHostApplicationLifetime lifetime)
    {
        using var until = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, lifetime.ApplicationStopping);
        context.Response.ContentType = "application/x-ndjson";
        context.Response.Headers.CacheControl = "no-store";
        using var timer = new PeriodicTimer(WatchInterval, time);
        var (last, sent) = ("", time.GetTimestamp());
        try
        {
            do
            {
                var answer = await status.ReadAsync(until.Token);
                var text = JsonSerializer.Serialize(answer with { At = default }, RegionsJson.Default.StatusAnswer);
                if (text == last && time.GetElapsedTime(sent) < Heartbeat)
                    continue;
                (last, sent) = (text, time.GetTimestamp());
                await JsonSerializer.SerializeAsync(context.Response.Body, answer, RegionsJson.Default.StatusAnswer, until.Token);
                await context.Response.WriteAsync("\n", until.Token);
                await context.Response.Body.FlushAsync(until.Token);
            }
            while (await timer.WaitForNextTickAsync(until.Token));
        }
        catch (OperationCanceledException) when (until.IsCancellationRequested) { } // the watcher left, or the server stops
    }

    private static IResult NoSuchRegion(string code, IReadOnlyList<RegionItem> known) => Problems.NotFound(
        "regions.unknown", $"There is no region '{code}'.",
        known.Count == 0 ? "The policy names none." : $"{(Nearest.To(code, known.Select(r => r.Code)) is { } near ? $"Did you mean {near}? " : "")}Known: {string.Join(", ", known.Select(r => r.Code))}.");
}
