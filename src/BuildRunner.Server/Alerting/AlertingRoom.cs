using BuildRunner.Client.Alerting;
using BuildRunner.Core.Alerting;
using BuildRunner.Server.Alerting.Channels;
using BuildRunner.Server.Events;
using BuildRunner.Server.Runbooks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace BuildRunner.Server.Alerting;

/// <summary>The room's door: what is raised becomes an incident, and people are told.</summary>
public static class AlertingRoom
{
    /// <param name="services">The services.</param>
    /// <param name="dataFolder">Where relative paths of channels of type `file` begin.</param>
    public static IServiceCollection AddAlerting(this IServiceCollection services, string dataFolder)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(new AlertRules());
        services.AddSingleton<IncidentBook>();
        services.AddSingleton<Outbox>();
        services.AddSingleton<ChannelSet>();
        services.AddSingleton<INotificationDriver, LogDriver>();
        services.AddSingleton<INotificationDriver>(_ => new FileDriver(dataFolder));
        services.AddSingleton<Alerts>().AddSingleton<IAlerts>(all => all.GetRequiredService<Alerts>());
        services.AddSingleton<OutboxLoop>().AddHostedService(all => all.GetRequiredService<OutboxLoop>());
        services.AddSingleton<AlertLoop>().AddHostedService(all => all.GetRequiredService<AlertLoop>());
        services.AddSingleton<RegionAlertLoop>().AddHostedService(all => all.GetRequiredService<RegionAlertLoop>());
        services.AddSingleton<TimelineLoop>().AddHostedService(all => all.GetRequiredService<TimelineLoop>());
        services.AddSingleton<PostMortemReader>();
        services.AddRunbookAction<NotifyAction>().AddReadinessSource<OverdueActions>();
        return services.ConfigureHttpJsonOptions(json => json.SerializerOptions.TypeInfoResolverChain.Insert(0, AlertingJson.Default));
    }

    public static void MapAlerting(this IEndpointRouteBuilder endpoints) => AlertingEndpoints.Map(endpoints);
}
