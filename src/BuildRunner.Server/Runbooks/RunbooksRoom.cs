using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace BuildRunner.Server.Runbooks;

/// <summary>The room's door. Other rooms bring actions and runbooks by <see cref="AddRunbookAction{T}(IServiceCollection)"/> and <see cref="AddRunbook"/>.</summary>
public static partial class RunbooksRoom
{
    public static IServiceCollection AddRunbooks(this IServiceCollection services)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton<ActionRegistry>();
        services.AddSingleton(all => new RunbookLibrary(RunbookLibrary.FolderOf(all.GetService<PolicyOptions>()), all.GetServices<Runbook>()));
        services.AddSingleton<RunbookCatalog>();
        services.AddSingleton<RunChecks>();
        services.AddSingleton<RunRecords>();
        services.AddSingleton<RunNotes>();
        services.AddSingleton(_ => CrashPoint.FromEnvironment());
        services.AddSingleton<Lead>(provider => () => provider.GetRequiredService<LeaderLease>().Current);
        services.AddKeyedSingleton<Lead>(Leads.Acting, (provider, _) => () => provider.GetRequiredService<LeaderLease>().Acting);
        services.AddSingleton<RunnerLoop>();
        services.AddSingleton<RunDesk>();
        services.AddRunbookAction<ApprovalAction>().AddRunbookAction<ManualAction>().AddRunbookAction<WaitAction>().AddRunbookAction<HttpAction>().AddRunbookAction<ExecAction>().AddRunbookAction<EtaAction>();
        services.AddSingleton<RunbooksLoop>().AddHostedService(provider => provider.GetRequiredService<RunbooksLoop>());
        services.AddHostedService(provider => provider.GetRequiredService<RunnerLoop>());
        return services;
    }

    /// <summary>Registers an action by its name; a second of the same name is an error at start.</summary>
    public static IServiceCollection AddRunbookAction<T>(this IServiceCollection services) where T : class, IAction =>
        services.AddSingleton<IAction, T>();

    /// <summary>The same action under another name.</summary>
    public static IServiceCollection AddRunbookAction<T>(this IServiceCollection services, string name) where T : class, IAction =>
        services.AddSingleton<IAction>(all => new NamedAction(name, ActivatorUtilities.CreateInstance<T>(all)));

    /// <summary>Registers a runbook that is built in code; most are documents in governance/runbooks, which need no line of code.</summary>
    public static IServiceCollection AddRunbook(this IServiceCollection services, Runbook runbook) => services.AddSingleton(runbook);

    /// <summary>Joins a room's own admission and report to the runbook of the source's name.</summary>
    public static IServiceCollection AddRunbook<T>(this IServiceCollection services) where T : RunbookSource =>
        services.AddSingleton<RunbookSource, T>();
}
