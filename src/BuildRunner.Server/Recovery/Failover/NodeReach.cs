using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;

namespace BuildRunner.Server.Recovery.Failover;

/// <summary>
/// Which nodes a step may wait for. A line that broke is gone at once; one that is silent, after 3 s; and while this server has only just
/// started, a node that it has not heard of is no less alive for that.
/// </summary>
internal sealed class NodeReach(INodeLinks links, INodeReports reports, IPolicySource policy, TimeProvider time)
{
    private static readonly TimeSpan ListenMax = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(50);
    private readonly long _started = time.GetTimestamp();

    public bool Agent(string region) => reports.Agent(region) is not null && !links.IsBroken(Orders.Agent(region));

    public bool Gateway(string region) => reports.Gateway(region) is not null && !links.IsBroken(Orders.Gateway(region));

    /// <summary>Regions of the policy whose gateways can be reached.</summary>
    public IReadOnlyList<string> Gateways => [.. policy.Current.Regions.Select(r => r.Code).Where(Gateway)];

    /// <summary>Why an agent is not waited for, for people.</summary>
    public string AgentAway(string region) => links.IsBroken(Orders.Agent(region)) ? "its agent's connection broke"
        : reports.LastAgent(region) is { } last ? string.Create(CultureInfo.InvariantCulture, $"its agent last reported {last.Age.TotalSeconds:0} s ago")
        : "its agent has never reported";

    /// <summary>Right after a start of the server: waits until everyone has called in, at most until this server has listened for 3 s.</summary>
    public async Task ListenAsync(CancellationToken cancel)
    {
        var left = ListenMax - time.GetElapsedTime(_started);
        if (left > TimeSpan.Zero)
            await reports.WaitAsync(seen => policy.Current.Regions.All(r => seen.LastGateway(r.Code) is not null && (r.DatabaseHost is null || seen.LastAgent(r.Code) is not null)), left, cancel);
    }

    /// <summary>Waits for an answer for as long as the gateway's line holds; null: it broke.</summary>
    public async Task<T?> WhileGatewayAsync<T>(string region, Func<CancellationToken, Task<T>> ask, CancellationToken cancel) where T : class
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var asked = ask(stop.Token);
        try
        {
            while (!asked.IsCompleted)
            {
                if (!Gateway(region))
                    return null;
                await ((Task)asked).WaitAsync(Look, time, cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                cancel.ThrowIfCancellationRequested();
            }
            return await asked;
        }
        finally
        {
            await stop.CancelAsync();
            await ((Task)asked).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
