using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Regions;

namespace BuildRunner.Server.Recovery.Failover;

/// <summary>Reads what a failover is planned from; changes nothing.</summary>
internal sealed class FailoverReader(IPolicySource policy, Epochs epochs, INodeReports reports, IRegionHealth health, LagWatch lags, NodeReach reach, IPowerDriver power, Leases leases)
{
    public async Task<FailoverFacts> ReadAsync(string database, CancellationToken cancel)
    {
        var document = policy.Current;
        var record = await epochs.GetAsync(database, cancel);
        return new FailoverFacts
        {
            Database = database,
            Rules = document.Recovery,
            Record = record,
            PowerReady = power.Ready,
            LeaseEnforced = record is not null && LeaseFence.Proves(record) && await leases.IsEnforcedAsync(record, cancel),
            Regions = [.. document.Regions.Select(region => Read(region, record?.Primary))],
        };
    }

    /// <summary>When the primary's region took the state it is in, if that is a bad one: the first failed check, as far as it is known.</summary>
    public DateTimeOffset? DetectedAt(string? primary) =>
        health.Current.FirstOrDefault(v => v.Code == primary) is { Health: Core.Regions.HealthState.Unhealthy } verdict ? verdict.Since : null;

    private FailoverRegion Read(RegionDefinition region, string? primary)
    {
        var verdict = health.Current.FirstOrDefault(v => v.Code == region.Code);
        var last = reports.LastAgent(region.Code);
        var lag = primary is null || primary == region.Code ? null : lags.Of(region.Code, primary, last?.Report.Database);
        return new FailoverRegion
        {
            Code = region.Code,
            Role = region.Role,
            HasDatabase = region.DatabaseHost is not null,
            Health = verdict?.Health ?? Core.Regions.HealthState.Unknown,
            HealthReason = verdict?.Reason ?? "",
            AgentReachable = reach.Agent(region.Code),
            ReportAge = last?.Age,
            GatewayLive = reach.Gateway(region.Code),
            Reading = last?.Report.Database,
            KnownLag = lag?.Lag,
            KnownLagBytes = lag?.Bytes,
        };
    }
}
