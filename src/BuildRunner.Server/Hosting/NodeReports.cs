using System.Collections.Concurrent;
using System.Collections.Immutable;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Client.Routing;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Hosting;

internal sealed partial class NodeReports(TimeProvider time, ILogger<NodeReports> logger) : INodeReports
{
    public static readonly TimeSpan AgeMax = TimeSpan.FromSeconds(3);

    private readonly ConcurrentDictionary<string, (AgentReport Report, long At)> _agents = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, (GatewayReport Report, long At)> _gateways = new(StringComparer.Ordinal);
    private ImmutableList<Listener> _listeners = [];

    public AgentReport? Agent(string region, TimeSpan? maxAge = null) => LastAgent(region) is { } last && last.Age <= (maxAge ?? AgeMax) ? last.Report : null;

    public GatewayReport? Gateway(string region, TimeSpan? maxAge = null) => LastGateway(region) is { } last && last.Age <= (maxAge ?? AgeMax) ? last.Report : null;

    public (AgentReport Report, TimeSpan Age)? LastAgent(string region) => _agents.TryGetValue(region, out var last) ? (last.Report, time.GetElapsedTime(last.At)) : null;

    public (GatewayReport Report, TimeSpan Age)? LastGateway(string region) => _gateways.TryGetValue(region, out var last) ? (last.Report, time.GetElapsedTime(last.At)) : null;

    public IDisposable OnReport(Action<NodeName> reported)
    {
        var listener = new Listener(this, reported);
        ImmutableInterlocked.Update(ref _listeners, (all, one) => all.Add(one), listener);
        return listener;
    }

    public async Task<bool> WaitAsync(Func<INodeReports, bool> condition, TimeSpan timeout, CancellationToken cancel)
    {
        var from = time.GetTimestamp();
        var next = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var listening = OnReport(_ => Volatile.Read(ref next).TrySetResult());
        while (true)
        {
            // Renewed before looking: a report that arrives meanwhile makes another look.
            var mine = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            Volatile.Write(ref next, mine);
            if (condition(this))
                return true;
            var left = timeout - time.GetElapsedTime(from);
            if (left <= TimeSpan.Zero)
                return false;
            await mine.Task.WaitAsync(left, time, cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            cancel.ThrowIfCancellationRequested();
        }
    }

    public void Take(string region, AgentReport report)
    {
        _agents[region] = (report, time.GetTimestamp());
        Tell(new(NodeKind.Agent, region));
    }

    public void Take(string region, GatewayReport report)
    {
        _gateways[region] = (report, time.GetTimestamp());
        Tell(new(NodeKind.Gateway, region));
    }

    private void Tell(NodeName node)
    {
        foreach (var listener in _listeners)
        {
            try { listener.Reported(node); }
            catch (Exception error) { LogListenerFailed(logger, error, node); }
        }
    }

    private sealed class Listener(NodeReports owner, Action<NodeName> reported) : IDisposable
    {
        public Action<NodeName> Reported => reported;

        public void Dispose() => ImmutableInterlocked.Update(ref owner._listeners, (all, one) => all.Remove(one), this);
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "A listener to the report of {Node} failed.")]
    private static partial void LogListenerFailed(ILogger logger, Exception error, NodeName node);
}
