using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Server.Databases;

public static class DatabasesRoom
{
    /// <summary>Epoch records, assignments to agents, and what is known of each copy.</summary>
    public static IServiceCollection AddDatabases(this IServiceCollection services)
    {
        services.AddSingleton<Epochs>();
        services.AddSingleton<Leases>();
        services.AddSingleton<SyncDesk>();
        services.AddHostedService<ArbiterLoop>();
        services.AddRunbookAction<SqlAction>();
        services.AddSingleton<AssignmentLoop>().AddHostedService(all => all.GetRequiredService<AssignmentLoop>());
        return services;
    }

    public static void MapDatabases(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapPost("/v1/agents/{region}/lease", async (string region, LeaseAsk ask, Leases leases, CancellationToken cancel) =>
            ask.Region != region ? Problems.Invalid("lease.region", $"{region} asks for the lease of {ask.Region}.", "An agent renews its own.")
            : await leases.RenewAsync(ask, cancel) is { } answer ? Results.Json(answer, WireJson.Default.LeaseAnswer)
            : Problems.Unavailable("lease.no-arbiter", "This server is no arbiter now: it does not lead.", "Ask again; the primary goes on while every candidate promises.")).RequireAuthorization("agent");
        endpoints.MapGet("/v1/databases", async (Epochs epochs, IPolicySource policy, INodeReports reports, CancellationToken cancel) =>
            Results.Json(await ViewAsync(epochs, policy.Current, reports, cancel), DatabasesJson.Default.DatabasesView)).RequireAuthorization("viewer");
    }

    private static async Task<DatabasesView> ViewAsync(Epochs epochs, PolicyDocument policy, INodeReports reports, CancellationToken cancel)
    {
        var views = new List<DatabaseView>();
        foreach (var database in policy.Databases.DefaultIfEmpty(new DatabaseDefinition { Name = "main" }))
        {
            views.Add(new DatabaseView
            {
                Name = database.Name,
                Record = await epochs.GetAsync(database.Name, cancel),
                Regions = [.. policy.Regions.Where(r => r.DatabaseHost is not null).Select(r => Copy(r.Code, reports))],
            });
        }
        return new DatabasesView { Databases = views };
    }

    private static DatabaseCopyView Copy(string region, INodeReports reports)
    {
        var last = reports.LastAgent(region);
        var fresh = reports.Agent(region) is not null;
        var reading = last?.Report.Database;
        return new DatabaseCopyView
        {
            Region = region,
            State = fresh && reading is not null ? reading.State : DatabaseState.Unknown,
            ReportAgeSeconds = last?.Age.TotalSeconds,
            Reading = reading,
        };
    }
}
