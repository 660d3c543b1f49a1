using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace BuildRunner.Server.Regions;

/// <summary>The room's door.</summary>
public static class RegionsRoom
{
    public static IServiceCollection AddRegions(this IServiceCollection services)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.TryAddSingleton<Epochs>();
        services.AddSingleton<RegionRecords>();
        services.AddSingleton<RegionHealth>().AddSingleton<IRegionHealth>(all => all.GetRequiredService<RegionHealth>()).AddSingleton<IProbePlan>(all => all.GetRequiredService<RegionHealth>());
        services.AddSingleton(all => new Prober(all.GetRequiredService<INetwork>(), all.GetRequiredService<TimeProvider>()));
        services.AddSingleton<IObservers, Observers>();
        services.AddSingleton<HealthLoop>().AddHostedService(all => all.GetRequiredService<HealthLoop>());
        services.AddSingleton<RegionViews>();
        services.AddSingleton<StatusView>();
        services.AddRunbookAction<RegionControlAction>().AddRunbookAction<RegionSeenAction>().AddRunbookAction<HealthVerifyAction>().AddRunbookAction<RegionScopeAction>();
        services.AddRunbookAction<DrainAction>().AddRunbookAction<ShiftAction>();
        foreach (var runbook in RegionRunbooks.All)
            services.AddSingleton<RunbookSource>(all => Source(all, runbook));
        return services;
    }

    public static void MapRegions(this IEndpointRouteBuilder endpoints) => RegionEndpoints.Map(endpoints);

    private static RegionRunbookSource Source(IServiceProvider all, string runbook) =>
        new(runbook, all.GetRequiredService<IPolicySource>(), all.GetRequiredService<IRegionHealth>(), all.GetRequiredService<Epochs>());
}
