using BuildRunner.Client.Databases;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Recovery.Dns;
using BuildRunner.Server.Recovery.Failover;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Recovery.Readiness;

/// <summary>Reads everything that readiness is judged on; changes nothing. What does not answer in time is unknown and said.</summary>
internal sealed partial class ReadinessReader(
    IPolicySource policy, RunbookCatalog catalog, RunChecks checks, RunRecords runs, FailoverReader failover, INodeReports reports, IRegionHealth health,
    DnsLoop dns, IStore store, ServerPlace place, IEnumerable<IReadinessSource> sources, ILogger<ReadinessReader> logger)
{
    private static readonly TimeSpan RunbookMax = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan SourceMax = TimeSpan.FromSeconds(5);
    private readonly IReadOnlyList<IReadinessSource> _sources = [.. sources];

    public async Task<(ReadinessReading Reading, IReadOnlyList<ReadinessRunbookItem> Runbooks)> ReadAsync(CancellationToken cancel)
    {
        var document = policy.Current;
        var (runbooks, items) = await RunbooksAsync(cancel);
        var (told, asked) = await SourcesAsync(cancel);
        return (new ReadinessReading
        {
            Policy = document,
            Databases = await DatabasesAsync(document, cancel),
            Runbooks = runbooks,
            Observers = [new("server", place.Region, true), .. document.Regions.Select(r => new ReadinessObserver($"gateway/{r.Code}", r.Code, reports.Gateway(r.Code) is not null))],
            Regions = [.. document.Regions.Select(r => Region(document, r))],
            Server = new(store.Name == StorageRules.Sqlite, place.Region),
            Dns = Names(),
            Told = told,
            Sources = asked,
        }, items);
    }

    private async Task<IReadOnlyList<ReadinessDatabase>> DatabasesAsync(PolicyDocument document, CancellationToken cancel)
    {
        if (document.Regions.All(r => r.DatabaseHost is null))
            return [];
        var underWay = (await runs.ListAsync(cancel)).Where(r => r.State.IsUnderWay() && FailoverRunbook.Moves(r.Runbook)).ToList();
        var databases = new List<ReadinessDatabase>();
        foreach (var name in document.Databases.Select(d => d.Name).DefaultIfEmpty("main"))
            databases.Add(new(await failover.ReadAsync(name, cancel), underWay.FirstOrDefault(r => DatabaseOf(r.Inputs) == name)?.Id));
        return databases;
    }

    private async Task<(IReadOnlyList<ReadinessRunbook>, IReadOnlyList<ReadinessRunbookItem>)> RunbooksAsync(CancellationToken cancel)
    {
        var found = new List<ReadinessRunbook>();
        var items = new List<ReadinessRunbookItem>();
        foreach (var document in catalog.Documents.ToList())
        {
            var evaluation = await EvaluateAsync(document, cancel);
            items.Add(new(document.Name, document.Hash, evaluation.Verdict));
            found.Add(new ReadinessRunbook
            {
                Name = document.Name,
                Sound = evaluation.Verdict != "bad",
                // What waits for its inputs is judged when somebody gives them.
                Problems = evaluation.Verdict == "needs_inputs" ? [] : evaluation.Reasons,
                Warnings = evaluation.Warnings,
                Database = FailoverRunbook.Moves(document.Name) ? DatabaseOf(evaluation.Inputs) : null,
            });
        }
        return (found, items);
    }

    private async Task<RunbookEvaluation> EvaluateAsync(RunbookDocument document, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(RunbookMax);
        try { return await checks.EvaluateAsync(document, new Dictionary<string, string>(), "readiness", limit.Token); }
        catch (Exception error) when (!cancel.IsCancellationRequested)
        {
            LogNotRead(logger, error, document.Name);
            var why = error is OperationCanceledException ? $"its checks did not end within {RunbookMax.TotalSeconds:0} s" : error.Message;
            return new RunbookEvaluation { Runbook = document.Name, Hash = document.Hash, Verdict = "refused", Reasons = [$"'{document.Name}' could not be evaluated: {why}."], Warnings = [] };
        }
    }

    private async Task<(IReadOnlyList<ReadinessFinding>, IReadOnlyList<string>)> SourcesAsync(CancellationToken cancel)
    {
        var told = new List<ReadinessFinding>();
        foreach (var source in _sources)
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            limit.CancelAfter(SourceMax);
            try { told.AddRange(await source.ReadAsync(limit.Token).WaitAsync(limit.Token)); }
            catch (Exception error) when (!cancel.IsCancellationRequested)
            {
                LogNotRead(logger, error, source.Name);
                told.Add(new() { Code = "source.unread", Severity = ReadinessSeverity.Unknown, Reason = $"What is known of {source.Name} could not be read: {(error is OperationCanceledException ? "no answer in time" : error.Message)}.", Remedy = "Look at the server's log." });
            }
        }
        return (told, [.. _sources.Select(s => s.Name)]);
    }

    /// <summary>As the names' own loop last saw them, once a second: asking costs no name server anything.</summary>
    private ReadinessDns? Names()
    {
        if (dns.DriverName == DnsRules.None)
            return null;
        var names = dns.Current;
        var failed = names.FirstOrDefault(n => n.Fault is not null);
        return new(dns.DriverName, names.Count > 0 && names.All(n => n.Settled), DnsStatus.Sentence(dns), failed is { Fault: { } fault } ? $"{failed.Wanted.Name}: {fault.Message}" : null, failed?.Fault?.Fix);
    }

    private ReadinessRegion Region(PolicyDocument document, RegionDefinition region)
    {
        var control = health.Controls.GetValueOrDefault(region.Code) ?? new RegionControl();
        var gateways = document.Regions.Select(r => reports.Gateway(r.Code)).OfType<Client.Routing.GatewayReport>().ToList();
        return new(
            region.Code,
            health.Current.FirstOrDefault(v => v.Code == region.Code)?.Health ?? HealthState.Unknown,
            control is { Draining: false, Weight: > 0 },
            gateways.Count == 0 ? null : gateways.Sum(g => g.Traffic.RatePerRegion.GetValueOrDefault(region.Code)),
            Capacity(document, region));
    }

    /// <summary>What the ready instances of the services with routes take together; null: the policy or the agent does not say.</summary>
    private double? Capacity(PolicyDocument document, RegionDefinition region)
    {
        var sum = 0.0;
        foreach (var service in document.Services.Where(s => s.Routes.Count > 0 && ProbePlanner.RunsIn(s, region)))
        {
            if (service.Capacity is not { } each || Ready(service, region.Code) is not { } count)
                return null;
            sum += each * count;
        }
        return sum;
    }

    private int? Ready(ServiceDefinition service, string region) =>
        service.Endpoints.TryGetValue(region, out var fixedOnes) ? fixedOnes.Count
        : reports.Agent(region) is { } agent ? agent.Instances.Count((InstanceReading i) => i.Service == service.Name && i is { Ready: true, Draining: false })
        : reports.LastAgent(region) is null ? null : 0;

    private static string DatabaseOf(IReadOnlyDictionary<string, string> inputs) => inputs.GetValueOrDefault("database", "main");

    [LoggerMessage(Level = LogLevel.Warning, Message = "Readiness could not read {What}.")]
    private static partial void LogNotRead(ILogger logger, Exception error, string what);
}
