using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Routing;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Regions;

namespace BuildRunner.Server.Routing;

/// <summary>Turns the policy, the verdicts and the newest reports into what a routing table is built of.</summary>
internal static class RoutingReader
{
    public static RoutingInputs Read(
        PolicyDocument policy, IRegionHealth health, INodeReports reports,
        IReadOnlyDictionary<string, EpochRecord> epochs, IReadOnlyDictionary<string, HoldRecord> holds, bool settled)
    {
        var verdicts = health.Current.ToDictionary(v => v.Code, StringComparer.Ordinal);
        var databases = policy.Databases.Count > 0 ? policy.Databases.Select(d => d.Name) : ["main"];
        return new RoutingInputs
        {
            MultiRegion = policy.MultiRegion.Enabled,
            DefaultRegion = policy.MultiRegion.DefaultRegion,
            AllowedRegions = policy.MultiRegion.AllowedRegions,
            Affinity = policy.MultiRegion.StickyAffinity,
            TrustedProxies = policy.MultiRegion.TrustedProxies,
            ReadLagMax = policy.MultiRegion.ReadLagMax,
            Hold = policy.MultiRegion.Hold,
            Settled = settled,
            Regions = [.. policy.Regions.Select(r => Region(r, verdicts.GetValueOrDefault(r.Code), health, reports))],
            Services = [.. policy.Services.Select(s => Service(s, policy, verdicts, reports))],
            Databases = [.. databases.Select(d => new DatabaseInput(d, epochs.GetValueOrDefault(d), holds.GetValueOrDefault(d)?.HoldId))],
            Latencies = [.. policy.Regions.SelectMany(r => Latencies(r.Code, reports))],
        };
    }

    private static RegionInput Region(RegionDefinition region, RegionVerdict? verdict, IRegionHealth health, INodeReports reports) => new()
    {
        Code = region.Code,
        Name = region.Name,
        Role = region.Role,
        Location = region.Location,
        Endpoint = region.Endpoint,
        HasDatabase = region.DatabaseHost is not null,
        ServeReads = region.ServeReads,
        Health = verdict?.Health ?? HealthState.Unknown,
        DatabaseHealth = verdict?.HealthOf(HealthVerdicts.Database) ?? HealthState.Unknown,
        Control = health.Controls.GetValueOrDefault(region.Code) ?? new RegionControl(),
        Reading = reports.Agent(region.Code)?.Database,
        Heard = reports.LastAgent(region.Code) is not null,
    };

    private static ServiceInput Service(ServiceDefinition service, PolicyDocument policy, Dictionary<string, RegionVerdict> verdicts, INodeReports reports) => new()
    {
        Name = service.Name,
        Database = service.Database,
        Routes = service.Routes,
        VerifyPath = service.VerifyPath,
        WarmPath = service.WarmPath,
        Instances = [.. policy.Regions.SelectMany(r => Instances(service, r.Code, verdicts.GetValueOrDefault(r.Code)?.HealthOf(service.Name) ?? HealthState.Unknown, reports))],
    };

    private static IEnumerable<InstanceInput> Instances(ServiceDefinition service, string region, HealthState seen, INodeReports reports)
    {
        if (service.Endpoints.TryGetValue(region, out var fixedOnes))
            return fixedOnes.Select((address, i) => new InstanceInput(region, $"{service.Name}-{i + 1}", address, service.Version, "stable", null, seen));
        if (reports.LastAgent(region) is not { } last)
            return [];
        var fresh = reports.Agent(region) is not null;
        return last.Report.Instances.Where(i => i.Service == service.Name)
            .Select(i => new InstanceInput(region, i.Id, i.Address, i.Version, i.Track, fresh ? Reported(i) : null, seen));
    }

    private static HealthState Reported(InstanceReading instance) =>
        instance.Draining ? HealthState.Draining : instance.Ready ? HealthState.Healthy : HealthState.Unhealthy;

    /// <summary>From a region's gateway to another's; where the other's gateway is not measured, to the nearest of its services.</summary>
    private static IEnumerable<LatencyRow> Latencies(string from, INodeReports reports) =>
        (reports.Gateway(from)?.Targets ?? [])
            .Where(t => t.LatencyMs is not null && t.Region != from)
            .GroupBy(t => t.Region)
            .Select(g => new LatencyRow(from, g.Key, (g.FirstOrDefault(t => t.Service == HealthVerdicts.Gateway) ?? g.MinBy(t => t.LatencyMs)!).LatencyMs!.Value));
}
