using System.Net;
using BuildRunner.Client;
using BuildRunner.Client.Routing;
using BuildRunner.Core.Routing;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Hosting.Geo;
using BuildRunner.Server.Runbooks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Routing;

/// <summary>The room's door.</summary>
public static class RoutingRoom
{
    private const int PathMax = 4096;

    /// <param name="services">The server's.</param>
    /// <param name="geoCityFile">City database for `br route explain`; the same file that the gateways are given. Null: BR_GEO_CITY, else countries only.</param>
    public static IServiceCollection AddTrafficRouting(this IServiceCollection services, string? geoCityFile = null)
    {
        services.AddSingleton<RoutingRecords>();
        services.AddSingleton<RoutingDesk>();
        services.AddSingleton<ITrafficControl, TrafficControl>();
        services.AddSingleton<RoutingLoop>().AddHostedService(all => all.GetRequiredService<RoutingLoop>());
        services.AddSingleton<TrafficHoursLoop>().AddHostedService(all => all.GetRequiredService<TrafficHoursLoop>());
        services.AddRunbookAction<QuietestAction>().AddRunbookAction<DrainedAction>();
        services.AddSingleton(all => new GeoReader(geoCityFile ?? GeoReader.FileFromEnvironment, all.GetRequiredService<ILogger<GeoReader>>()));
        services.AddSingleton<IGeoReader>(all => all.GetRequiredService<GeoReader>());
        services.AddHostedService<GeoReloadLoop>();
        return services;
    }

    public static void MapTrafficRouting(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapGet("/v1/routing/table", (RoutingDesk desk) => desk.View is { } view ? Results.Json(view.Table, WireJson.Default.RoutingTable) : NoTable()).RequireAuthorization("viewer");
        endpoints.MapGet("/v1/route/explain", Explain).RequireAuthorization("viewer");
    }

    private static IResult Explain(RoutingDesk desk, IGeoReader geo, INodeReports reports, TimeProvider time, string? ip, string? path, string? method, string? from, [Microsoft.AspNetCore.Mvc.FromQuery(Name = "region_cookie")] string? regionCookie)
    {
        if (desk.View is not { } view)
            return NoTable();
        var faults = new List<string>();
        if (!TryAddress(ip, out var address))
            faults.Add($"ip: '{ip}' is not an address; write it as 81.2.69.142 or 2001:db8::1.");
        if (path is not { Length: > 0 and <= PathMax } || path[0] != '/')
            faults.Add($"path: '{path}' is not a path; it starts with /, such as /api/orders.");
        var gateway = from ?? view.Table.DefaultRegion;
        if (view.Region(gateway) is null)
            faults.Add($"from: there is no region {gateway}; known are {string.Join(", ", view.Table.Regions.Select(r => r.Code))}.");
        if (faults.Count > 0)
            return Problems.Invalid("routing.bad-question", "The question cannot be answered.", errors: faults);

        var plain = path!.Split('?', 2)[0];
        var facts = new RequestFacts
        {
            Gateway = gateway,
            Method = (method ?? "GET").ToUpperInvariant(),
            Path = Uri.UnescapeDataString(plain),
            Client = ClientKey.Of(address),
            Place = geo.Find(address),
            RegionCookie = regionCookie,
            SeenDown = (reports.Gateway(gateway)?.Targets ?? []).Where(t => t.Up == false).Select(t => (t.Region, t.Service)).ToHashSet(),
        };
        return Results.Json(RouteExplainer.Explain(facts, address, view, time.GetUtcNow()), RoutingJson.Default.RouteExplanation);
    }

    private static bool TryAddress(string? text, out IPAddress address)
    {
        address = IPAddress.None;
        // A bare number is an address to IPAddress, and a mistake to everyone else.
        if (text is null || text.AsSpan().IndexOfAny('.', ':') < 0 || !IPAddress.TryParse(text, out var found))
            return false;
        address = found.IsIPv4MappedToIPv6 ? found.MapToIPv4() : found;
        return true;
    }

    private static IResult NoTable() => Problems.Unavailable("routing.no-table", "There is no routing table yet.", "The server has just started; ask again in a moment.");
}
