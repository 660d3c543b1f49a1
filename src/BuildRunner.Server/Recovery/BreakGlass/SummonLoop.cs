using System.Collections.Concurrent;
using BuildRunner.Client.Databases;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Recovery.BreakGlass;

/// <summary>Calls together everybody who does not call by himself: also one that comes back, and one that has lost this server for a moment.</summary>
internal sealed partial class SummonLoop(StandInOptions options, INetwork network, INodeReports reports, TimeProvider time, ILogger<SummonLoop> logger)
    : ReconcileLoop(TimeSpan.FromSeconds(1), time, logger)
{
    private readonly HouseCalls _calls = new(options.Secret, network);
    private readonly ConcurrentDictionary<string, string?> _said = new(StringComparer.Ordinal);

    /// <summary>Why a node does not call, by its name; null: it was summoned and took it.</summary>
    public IReadOnlyDictionary<string, string?> Said => _said;

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        var ask = new SummonAsk(options.Server.ToString(), options.Id);
        await Task.WhenAll(
            options.Agents.Where(a => reports.Agent(a.Region) is null).Select(async a => Note($"agent/{a.Region}", await _calls.SummonAgentAsync(a, ask, cancel)))
                .Concat(options.Gateways.Where(g => reports.Gateway(g.Key) is null).Select(async g => Note($"gateway/{g.Key}", (await _calls.SummonGatewayAsync(g.Key, g.Value, ask, cancel)).Error))));
    }

    public override void Dispose()
    {
        _calls.Dispose();
        base.Dispose();
    }

    private void Note(string node, string? error)
    {
        if (_said.TryGetValue(node, out var before) && before == error)
            return;
        _said[node] = error;
        LogSummoned(logger, node, error ?? "it calls this server");
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Summons of {Node}: {Outcome}.")]
    private static partial void LogSummoned(ILogger logger, string node, string outcome);
}
