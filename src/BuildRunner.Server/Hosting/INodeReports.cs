using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Client.Routing;

namespace BuildRunner.Server.Hosting;

/// <summary>The newest report of each gateway and agent; kept in memory, because a second after a restart all of them have reported again.</summary>
public interface INodeReports
{
    /// <summary>Newest report of a region's agent; null when there is none younger than <paramref name="maxAge"/> (default 3 s).</summary>
    AgentReport? Agent(string region, TimeSpan? maxAge = null);
    GatewayReport? Gateway(string region, TimeSpan? maxAge = null);

    /// <summary>Newest report whatever its age, with the age; null: never reported to this server process.</summary>
    (AgentReport Report, TimeSpan Age)? LastAgent(string region);
    (GatewayReport Report, TimeSpan Age)? LastGateway(string region);

    /// <summary>Called after each report; must not block.</summary>
    IDisposable OnReport(Action<NodeName> reported);

    /// <summary>Waits until a condition over the reports holds, looking again after each report; false when the time is up.</summary>
    Task<bool> WaitAsync(Func<INodeReports, bool> condition, TimeSpan timeout, CancellationToken cancel);
}
