using BuildRunner.Client.Hosting;
using BuildRunner.Server.Agent.Adoption;
using BuildRunner.Server.Agent.Instances;
using BuildRunner.Server.Agent.Patroni;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace BuildRunner.Server.Agent;

public static class AgentRoom
{
    /// <summary>The role `agent`: its host's PostgreSQL and instances, driven by the server's assignments and orders.</summary>
    public static IServiceCollection AddAgent(this IServiceCollection services, AgentOptions options, INetwork network)
    {
        Directory.CreateDirectory(options.DataFolder);
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(options);
        services.AddSingleton(network);
        services.AddSingleton(new NodeClientOptions
        {
            Name = new(NodeKind.Agent, options.Region),
            Server = options.Server,
            Token = File.ReadAllText(options.TokenFile).Trim(),
            MemoryFolder = Path.Combine(options.DataFolder, "orders"),
        });
        services.AddSingleton<ServerLine>();
        services.AddSingleton<AgentStateFile>();
        services.AddSingleton<AssignmentBook>();
        services.AddSingleton(_ => PostgresAccount.Find());
        services.AddSingleton<PostgresTools>();
        services.AddSingleton<Leftovers>();
        services.AddSingleton<PostgresHome>();
        services.AddSingleton<GuardClient>();
        services.AddSingleton<PostgresDriver>();
        services.AddSingleton<SalvageKeeper>();
        services.AddSingleton<DatabaseRejoin>();
        services.AddSingleton<AdoptionReader>();
        services.AddSingleton<AdoptionWork>();
        services.AddSingleton<UnfencedLoop>();
        services.AddSingleton<UnfencedDatabase>();
        services.AddSingleton<AdoptionDesk>();
        services.AddSingleton<DatabaseDrivers>();
        services.AddSingleton<DatabaseKeeper>();
        services.AddSingleton<PatroniFence>();
        services.AddSingleton<PatroniApi>();
        services.AddSingleton<PatroniDatabase>();
        services.AddSingleton<AddressWriter>();
        services.AddSingleton<DatabaseOrderDesk>();
        services.AddSingleton(provider => new ReadySession(provider.GetRequiredService<PostgresDriver>(), "buildrunner-agent", timeoutSeconds: 30));
        services.AddSingleton<SwitchoverDesk>();
        services.AddSingleton<ExecDesk>();
        services.AddSingleton<SqlDesk>();
        services.AddSingleton<FaultDesk>();
        services.AddSingleton<PromiseKeeper>();
        services.AddSingleton<PeerCalls>();
        services.AddSingleton<SyncKeeper>();
        services.AddSingleton<LeaseKeeper>();
        services.AddSingleton<DatabaseLoop>();
        services.AddSingleton<ReadingLoop>();
        services.AddSingleton<PostgresDatabase>();
        services.AddSingleton<PatroniLoop>();
        services.AddSingleton<SettingsLoop>().AddHostedService(all => all.GetRequiredService<SettingsLoop>());
        services.AddSingleton<InstanceLoop>();
        services.AddSingleton<INodeWork, AgentWork>();
        services.AddSingleton<NodeClient>();
        services.AddHostedService(all => all.GetRequiredService<FaultDesk>());
        services.AddHostedService(all => all.GetRequiredService<LeaseKeeper>());
        services.AddHostedService<PeerDoor>();
        services.AddHostedService(all => all.GetRequiredService<InstanceLoop>());
        services.AddHostedService(all => all.GetRequiredService<ReadingLoop>());
        services.AddHostedService(all => all.GetRequiredService<DatabaseLoop>());
        services.AddHostedService(all => all.GetRequiredService<PatroniLoop>());
        services.AddHostedService(all => all.GetRequiredService<UnfencedLoop>());
        services.AddHostedService(all =>
        {
            // What the server waits for goes out at once.
            var client = all.GetRequiredService<NodeClient>();
            all.GetRequiredService<DatabaseKeeper>().Changed += client.ReportNow;
            all.GetRequiredService<PatroniDatabase>().Changed += client.ReportNow;
            all.GetRequiredService<InstanceLoop>().Changed += client.ReportNow;
            return client;
        });
        return services;
    }
}
