using BuildRunner.Server.Recovery.Adoption;
using BuildRunner.Server.Recovery.BreakGlass;
using BuildRunner.Server.Recovery.Dns;
using BuildRunner.Server.Recovery.Drills;
using BuildRunner.Server.Recovery.Failover;
using BuildRunner.Server.Recovery.Readiness;
using BuildRunner.Server.Recovery.Switchover;
using BuildRunner.Server.Runbooks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace BuildRunner.Server.Recovery;

/// <summary>The room's door: failover, and the names that follow the gateways and the primary.</summary>
public static class RecoveryRoom
{
    /// <param name="services">The services.</param>
    /// <param name="dataFolder">The server's folder.</param>
    /// <param name="serverRegion">The region in which this server stands; null: it does not say.</param>
    public static IServiceCollection AddRecovery(this IServiceCollection services, string dataFolder, string? serverRegion = null)
    {
        services.AddReadiness(serverRegion);
        services.AddSingleton<LagWatch>();
        services.AddSingleton<NodeReach>();
        services.AddSingleton<IPowerDriver, PolicyPowerDriver>();
        services.AddSingleton<CutFence>();
        services.AddSingleton<LeaseFence>();
        services.AddSingleton<FailoverReader>();
        services.AddHostedService<AutoFailoverLoop>();
        services.AddHostedService<UncutLoop>();
        services.AddSingleton<FailoverReports>();
        services.AddRunbook<FailoverSource>();
        services.AddRunbook<PlannedMove>();
        services.AddRunbook<Failback>();
        services.AddRunbookAction<AdoptAction>();
        services.AddRunbookAction<AdoptedAction>();
        services.AddRunbookAction<PrepareAction>();
        services.AddRunbookAction<HoldWritesAction>();
        services.AddRunbookAction<SealAction>();
        services.AddRunbookAction<CatchUpAction>();
        services.AddRunbookAction<SettleMoveAction>();
        services.AddRunbookAction<CloseAction>();
        services.AddRunbookAction<HoldAction>();
        services.AddRunbookAction<FenceAction>();
        services.AddRunbookAction<SelectAction>();
        services.AddRunbookAction<MoveAction>();
        services.AddRunbookAction<PromoteAction>();
        services.AddRunbookAction<OpenAction>();
        services.AddRunbookAction<UpdateDnsAction>();
        services.AddRunbookAction<WarmAction>();
        services.AddRunbookAction<VerifyAction>();
        services.AddRunbookAction<ResumeAction>();
        services.AddRunbookAction<SettleFollowersAction>();
        services.AddRunbookAction<HoldAction>("traffic.hold").AddRunbookAction<ResumeAction>("traffic.resume");
        services.AddRunbookAction<CloseAction>("database.close").AddRunbookAction<SealAction>("database.seal").AddRunbookAction<CatchUpAction>("database.catch-up");
        services.AddRunbookAction<FenceAction>("database.fence").AddRunbookAction<SelectAction>("database.select").AddRunbookAction<MoveAction>("database.move");
        services.AddRunbookAction<PromoteAction>("database.promote").AddRunbookAction<OpenAction>("database.open");
        services.AddRunbookAction<VerifyAction>("database.verify").AddRunbookAction<SettleFollowersAction>("database.follow");

        services.AddSingleton<DnsBook>();
        services.AddSingleton<AuthoritativeServers>();
        services.AddSingleton<EmbeddedDns>();
        services.AddSingleton<IDnsDriver>(provider => provider.GetRequiredService<EmbeddedDns>());
        services.AddSingleton<IDnsDriver, FileDns>();
        services.AddSingleton<IDnsDriver, Rfc2136Dns>();
        services.AddSingleton<IDnsDriver, CloudflareDns>();
        services.AddSingleton<IDnsDriver, ExecDns>();
        services.AddSingleton<DnsLoop>();
        services.AddSingleton<DnsWatchLoop>();
        services.AddSingleton<IHostedService>(provider => provider.GetRequiredService<EmbeddedDns>());
        services.AddSingleton<IHostedService>(provider => provider.GetRequiredService<DnsLoop>());
        services.AddSingleton<IHostedService>(provider => provider.GetRequiredService<DnsWatchLoop>());
        services.AddHostedService<RunReportLoop>();
        services.AddDrills(dataFolder);
        services.AddBreakGlass();
        return services;
    }

    public static IEndpointRouteBuilder MapRecovery(this IEndpointRouteBuilder routes)
    {
        // The watch hears reports from the start, not from the first failover on.
        _ = routes.ServiceProvider.GetRequiredService<LagWatch>();
        _ = routes.ServiceProvider.GetRequiredService<NodeReach>();
        routes.MapReadiness();
        routes.MapDrills();
        routes.MapBreakGlass();
        routes.MapGet("/v1/dr/status", RecoveryEndpoints.StatusAsync).RequireAuthorization("viewer");
        return routes;
    }
}
