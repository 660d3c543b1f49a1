using BuildRunner.Client.Regions;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Regions;

/// <summary>The whole on one page: the sentence, what it rests on, and what happened last.</summary>
internal sealed class StatusView(RegionViews regions, IPolicySource policy, INodeReports reports, IEventLog events, RunRecords runs, TimeProvider time)
{
    private const int EventsMax = 12;

    public async Task<StatusAnswer> ReadAsync(CancellationToken cancel)
    {
        var current = policy.Current;
        var items = await regions.ListAsync(RegionViews.FromServer, cancel);
        var freeze = policy.Freeze;
        var underWay = (await runs.ListAsync(cancel)).Where(r => r.FinishedAt is null).Select(r => new StatusRun(r.Id, Title(r), r.State.ToString().ToLowerInvariant(), r.StartedAt)).ToList();
        var now = time.GetUtcNow();
        var verdict = StatusVerdict.Decide(new StatusFacts
        {
            Regions = [.. items.Select(Region)],
            Observe = current.Mode == PolicyMode.Observe,
            MultiRegion = current.MultiRegion.Enabled,
            DefaultRegion = current.MultiRegion.DefaultRegion,
            RecoveryEnabled = current.Recovery.Enabled,
            Freeze = freeze is null ? null : new StatusFreeze(freeze.Reason, freeze.By, freeze.Until),
            Runs = underWay,
        }, now);
        return new StatusAnswer
        {
            At = now,
            Health = verdict.Health,
            Sentence = verdict.Sentence,
            Problems = [.. verdict.Problems.Select(p => new StatusProblemItem(p.Region, p.Health, p.What, p.Since, p.Next))],
            Notes = verdict.Notes,
            Next = verdict.Next,
            Mode = current.Mode == PolicyMode.Observe ? "observe" : "act",
            Freeze = freeze is null ? null : new StatusFreezeItem(freeze.Reason, freeze.By, freeze.Until),
            RecoveryEnabled = current.Recovery.Enabled,
            MultiRegion = current.MultiRegion.Enabled,
            Runs = [.. underWay.Select(r => new StatusRunItem(r.Id, r.Title, r.State, r.Since))],
            Regions = items,
            RequestsPerSecond = Rates(current),
            Events = [.. (await events.ListAsync(EventsMax, cancel)).OrderByDescending(e => e.Id).Select(e => new StatusEventItem(e.Id, e.At, e.Kind, e.Actor, e.Summary))],
        };
    }

    public static StatusRegion Region(RegionItem item) => new(item.Code, item.Role, item.Health, item.Since, item.Reason, item.Replication is not null);

    /// <summary>`failover to us-west-1`, `drain-region of eu-west-1`.</summary>
    private static string Title(RunRecord run) =>
        run.Inputs.TryGetValue("target", out var target) ? $"{run.Runbook} to {target}"
        : run.Inputs.TryGetValue("region", out var region) ? $"{run.Runbook} of {region}"
        : run.Runbook;

    private Dictionary<string, double> Rates(PolicyDocument current)
    {
        var rates = current.Regions.ToDictionary(r => r.Code, _ => 0.0, StringComparer.Ordinal);
        foreach (var report in current.Regions.Select(r => reports.Gateway(r.Code)).OfType<Client.Routing.GatewayReport>())
        {
            foreach (var (region, rate) in report.Traffic.RatePerRegion)
                rates[region] = Math.Round(rates.GetValueOrDefault(region) + rate, 1);
        }
        return rates;
    }
}
