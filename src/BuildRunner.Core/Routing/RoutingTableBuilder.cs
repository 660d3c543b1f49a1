using BuildRunner.Core.Databases;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Routing;

/// <summary>Makes the routing table; what only trembles (latency, lag) is damped, so that a table changes when something has changed.</summary>
public static class RoutingTableBuilder
{
    /// <summary>A latency moves in the table when it is off by more than both.</summary>
    public const double LatencyStepMs = 5;
    public const double LatencyStepShare = 0.2;
    private static readonly double[] LagSteps = [0, 1, 2, 5, 10, 30, 60, 300, 3600];

    /// <summary>The table without a version of its own: the caller numbers it if it differs from <paramref name="before"/>.</summary>
    public static RoutingTable Build(RoutingInputs inputs, RoutingTable? before) => new()
    {
        Version = 0,
        At = default,
        MultiRegion = inputs.MultiRegion,
        DefaultRegion = inputs.DefaultRegion,
        AllowedRegions = inputs.AllowedRegions.Count > 0 ? inputs.AllowedRegions : [.. inputs.Regions.Select(r => r.Code)],
        Affinity = inputs.Affinity,
        TrustedProxies = inputs.TrustedProxies,
        ReadLagMax = inputs.ReadLagMax,
        Hold = inputs.Hold,
        Regions = [.. inputs.Regions.Select(r => Region(r, inputs, before?.Regions.FirstOrDefault(b => b.Code == r.Code)))],
        Services = [.. inputs.Services.Select(s => Service(s, inputs, before?.Services.FirstOrDefault(b => b.Name == s.Name)))],
        Databases = [.. inputs.Databases.Where(d => d.Record is not null).Select(d => Database(d, inputs))],
        Latencies = Latencies(inputs, before),
    };

    /// <summary>
    /// Whether the primary is known to be unable to take a write. Its own agent is believed first; when that is silent, the observers. Unknown is
    /// no reason to refuse: the host itself refuses what it must not take.
    /// </summary>
    public static bool IsWritable(EpochRecord record, RegionInput? primary) => primary switch
    {
        null => false,
        // Read before this epoch's marker was written, which is there before the epoch opens: no news of this epoch.
        { Reading.MarkerEpoch: { } marker } when marker < record.Epoch => true,
        // With the marker of the epoch that is promoted to, all that is left to an agent that promotes is to say so.
        // Applications that used it before it was known here go on; nothing is held or fenced for them.
        { Reading: { State: DatabaseState.Unfenced, AcceptsConnections: true } } => true,
        { Reading.State: DatabaseState.Primary or DatabaseState.Sealed or DatabaseState.Promoting or DatabaseState.Unknown } => true,
        { Reading: not null } => record.State != EpochState.Open,
        _ => primary.DatabaseHealth != HealthState.Unhealthy && primary.Health != HealthState.Unhealthy,
    };

    private static RegionRow Region(RegionInput region, RoutingInputs inputs, RegionRow? before)
    {
        var row = new RegionRow
        {
            Code = region.Code,
            Name = region.Name,
            Role = region.Role,
            Location = region.Location,
            Endpoint = region.Endpoint,
            Health = region.Health,
            Draining = region.Control.Draining,
            Weight = Math.Clamp(region.Control.Weight, 0, 100),
            HasDatabase = region.HasDatabase,
            ServesReads = ServesReads(region, inputs),
            LagSeconds = region.HasDatabase && region.Reading is { State: DatabaseState.Standby, LagSeconds: { } lag } ? Step(lag, inputs.ReadLagMax) : null,
        };
        if (before is null || inputs.Settled)
            return row;
        if (row.Health == HealthState.Unknown)
            row = row with { Health = before.Health };
        return region.Heard ? row : row with { ServesReads = before.ServesReads, LagSeconds = before.LagSeconds };
    }

    /// <summary>A copy serves reads while it follows the timeline of the epoch in force.</summary>
    private static bool ServesReads(RegionInput region, RoutingInputs inputs)
    {
        if (!region.HasDatabase || region.Reading is not { State: DatabaseState.Standby, AcceptsConnections: true } reading)
            return false;
        if (region.Role != RegionRole.Replica && !region.ServeReads)
            return false;
        var record = inputs.Databases.FirstOrDefault(d => d.Name == reading.Database)?.Record;
        return record is not { State: EpochState.Open } || reading.MarkerEpoch is not { } marker || marker >= record.Epoch;
    }

    /// <summary>The lowest step that covers the lag: a copy that is now 0.2 s and now 0.4 s behind makes no new table.</summary>
    private static double Step(double lag, TimeSpan max)
    {
        foreach (var step in LagSteps.Append(max.TotalSeconds).Order())
        {
            if (lag <= step)
                return step;
        }
        return Math.Ceiling(lag / 3600) * 3600;
    }

    private static ServiceRow Service(ServiceInput service, RoutingInputs inputs, ServiceRow? before)
    {
        var unheard = inputs.Regions.Where(r => !r.Heard).Select(r => r.Code).ToHashSet(StringComparer.Ordinal);
        var known = service.Instances.Select(i => i.Region).ToHashSet(StringComparer.Ordinal);
        // An agent that has not called since this server started has not said that its instances are gone.
        var kept = (before?.Instances ?? []).Where(i => unheard.Contains(i.Region) && !known.Contains(i.Region))
            .Select(i => inputs.Settled ? i with { Health = HealthState.Unknown } : i);
        return new ServiceRow
        {
            Name = service.Name,
            Database = service.Database,
            Routes = service.Routes,
            Tracks = service.Tracks,
            VerifyPath = service.VerifyPath,
            WarmPath = service.WarmPath,
            Instances =
            [
                .. service.Instances.Select(Instance).Concat(kept)
                    .OrderBy(i => i.Region, StringComparer.Ordinal).ThenBy(i => i.Id, StringComparer.Ordinal),
            ],
        };
    }

    private static InstanceRow Instance(InstanceInput instance) => new()
    {
        Region = instance.Region,
        Id = instance.Id,
        Address = instance.Address.TrimEnd('/'),
        Version = instance.Version,
        Track = instance.Track,
        Health = instance.Reported ?? instance.ServiceHealth,
    };

    private static DatabaseRow Database(DatabaseInput database, RoutingInputs inputs)
    {
        var record = database.Record!;
        return new DatabaseRow
        {
            Name = database.Name,
            Epoch = record.Epoch,
            State = record.State,
            Primary = record.Primary,
            // While a run moves the epoch writes wait, whichever is written first, the hold or the record: none is refused in between.
            HoldId = database.HoldId ?? (record.State == EpochState.Open ? null : record.Run),
            Writable = IsWritable(record, inputs.Regions.FirstOrDefault(r => r.Code == record.Primary)),
        };
    }

    private static List<LatencyRow> Latencies(RoutingInputs inputs, RoutingTable? before)
    {
        var codes = inputs.Regions.Select(r => r.Code).ToHashSet(StringComparer.Ordinal);
        var rows = new SortedDictionary<(string From, string To), double>();
        // A pair that nobody measures now keeps its last value: a distance does not change because an observer is away.
        foreach (var old in before?.Latencies ?? [])
            rows[(old.From, old.To)] = old.Milliseconds;
        foreach (var now in inputs.Latencies)
        {
            var key = (now.From, now.To);
            var change = rows.TryGetValue(key, out var old) ? Math.Abs(now.Milliseconds - old) : double.MaxValue;
            if (change > LatencyStepMs && change > old * LatencyStepShare)
                rows[key] = Math.Round(now.Milliseconds, 1);
        }
        return [.. rows.Where(r => codes.Contains(r.Key.From) && codes.Contains(r.Key.To) && r.Key.From != r.Key.To).Select(r => new LatencyRow(r.Key.From, r.Key.To, r.Value))];
    }
}
