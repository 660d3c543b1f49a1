using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace BuildRunner.Server.Runbooks;

/// <summary>The room's door. Other rooms bring actions and runbooks by <see cref="AddRunbookAction{T}"/> and <see cref="AddRunbook"/>.</summary>
public static partial class RunbooksRoom
{
    public static IServiceCollection AddRunbooks(this IServiceCollection services)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton<ActionRegistry>();
        services.AddSingleton<RunbookCatalog>();
        services.AddSingleton<RunRecords>();
        services.AddSingleton<RunNotes>();
        services.AddSingleton(_ => CrashPoint.FromEnvironment());
        services.AddSingleton<Lead>(provider => () => provider.GetRequiredService<LeaderLease>().Current);
        services.AddSingleton<RunnerLoop>();
        services.AddSingleton<RunDesk>();
        services.AddHostedService(provider => provider.GetRequiredService<RunnerLoop>());
        return services;
    }

    /// <summary>Registers an action by its name; a second of the same name is an error at start.</summary>
    public static IServiceCollection AddRunbookAction<T>(this IServiceCollection services) where T : class, IAction =>
        services.AddSingleton<IAction, T>();

    /// <summary>Registers a runbook that needs nothing but its steps' own checks.</summary>
    public static IServiceCollection AddRunbook(this IServiceCollection services, Runbook runbook) =>
        services.AddSingleton(new RunbookSource(runbook));

    /// <summary>Registers a runbook with its own admission and report.</summary>
    public static IServiceCollection AddRunbook<T>(this IServiceCollection services) where T : RunbookSource =>
        services.AddSingleton<RunbookSource, T>();
}
