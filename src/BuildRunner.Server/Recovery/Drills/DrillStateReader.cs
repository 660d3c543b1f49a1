using BuildRunner.Core.Databases;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Recovery.Dns;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Routing;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Recovery.Drills;

/// <summary>Reads how the house stands, for a comparison; changes nothing.</summary>
internal sealed class DrillStateReader(IPolicySource policy, Epochs epochs, INodeReports reports, IRegionHealth health, RegionRecords regions, DnsLoop dns, IStore store)
{
    /// <summary>Null: the database has no epoch yet.</summary>
    public async Task<DrillState?> ReadAsync(string database, CancellationToken cancel)
    {
        if (await epochs.GetAsync(database, cancel) is not { } record)
            return null;
        var (controls, _) = await regions.ReadAsync(cancel);
        var holds = await store.ListAsync(RoutingRecords.HoldPrefix, cancel);
        return new DrillState
        {
            Primary = record.Primary,
            Regions = [.. policy.Current.Regions.Select(region => Region(region.Code, region.DatabaseHost is not null, controls.GetValueOrDefault(region.Code) ?? new RegionControl()))],
            Names = [.. (await dns.DesiredAsync(cancel)).Select(r => $"{r.Name} {DnsRecord.Said(r.Values)}")],
            Holds = [.. holds.Select(h => h.Key)],
        };
    }

    private DrillRegion Region(string code, bool hasDatabase, RegionControl control)
    {
        var reading = reports.Agent(code)?.Database;
        var verdict = health.Current.FirstOrDefault(v => v.Code == code);
        return new DrillRegion(
            code, !hasDatabase ? "none" : Words.Of(reading?.State ?? DatabaseState.Unknown), reading?.Following,
            [.. (reading?.Replicas ?? []).Where(r => r.State == "streaming").Select(r => r.Region).Order(StringComparer.Ordinal)],
            reading?.Slots ?? [], Words.Of(verdict?.Health ?? HealthState.Unknown),
            control.Draining ? "drained" : $"{control.Weight.ToString(CultureInfo.InvariantCulture)} %", reading?.Fault, reading?.SyncNames ?? "");
    }
}
