using BuildRunner.Client.Databases;
using BuildRunner.Client.Regions;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;

namespace BuildRunner.Server.Regions;

/// <summary>Regions as the API shows them: the policy's, with verdict, role in force, replication and latency.</summary>
internal sealed class RegionViews(IPolicySource policy, IRegionHealth health, INodeReports reports, Epochs epochs, Prober prober, TimeProvider time)
{
    public const string FromServer = "server";

    /// <summary>True when `--from` names something that measures.</summary>
    public bool Knows(string from) => from == FromServer || policy.Current.Regions.Any(r => r.Code == from);

    public async Task<IReadOnlyList<RegionItem>> ListAsync(string from, CancellationToken cancel)
    {
        var current = policy.Current;
        var epoch = await epochs.GetAsync(RegionReader.DatabaseOf(current), cancel);
        var readings = from == FromServer ? prober.Read() : reports.Gateway(from)?.Targets ?? [];
        var instances = RegionReader.Instances(current, reports);
        return [.. current.Regions.Select(region => Item(current, region, epoch, readings, instances))];
    }

    private RegionItem Item(
        PolicyDocument current, RegionDefinition region, EpochRecord? epoch, IReadOnlyList<TargetReading> readings, IReadOnlyDictionary<string, IReadOnlyList<InstanceReading>> instances)
    {
        var verdict = health.Current.FirstOrDefault(v => v.Code == region.Code)
            ?? new RegionVerdict { Code = region.Code, Health = HealthState.Unknown, Since = time.GetUtcNow(), Reason = "nobody has looked yet" };
        var control = health.Controls.GetValueOrDefault(region.Code) ?? new RegionControl();
        return new RegionItem
        {
            Code = region.Code,
            Name = region.Name,
            Role = CurrentRole.Of(region.Role, region.Code, epoch?.Primary),
            PolicyRole = region.Role,
            Endpoint = region.Endpoint,
            Active = verdict.Health == HealthState.Healthy,
            LatencyMs = readings.FirstOrDefault(r => r.Region == region.Code && r.Service == HealthVerdicts.Gateway)?.LatencyMs is { } latency ? Math.Round(latency, 2) : null,
            Health = verdict.Health,
            Since = verdict.Since,
            Reason = verdict.Reason,
            CheckFailures = verdict.CheckFailures,
            Draining = control.Draining,
            Weight = control.Weight,
            Coordinates = new(region.Location.Latitude, region.Location.Longitude),
            Replication = region.DatabaseHost is null ? null : Replication(region.Code, epoch),
            Services = [.. verdict.Services.Select(s => new RegionService
            {
                Service = s.Service,
                Health = s.Health,
                Reason = s.Reason,
                CheckFailures = s.CheckFailures,
                ObserversUp = s.Up,
                ObserversDown = s.Down,
                ObserversUnsure = s.Unsure,
                Instances = current.Services.FirstOrDefault(d => d.Name == s.Service) is { } service ? ProbePlanner.Instances(service, region.Code, instances) : null,
            })],
            Evidence = verdict.Evidence,
        };
    }

    private RegionReplication Replication(string region, EpochRecord? epoch)
    {
        if (reports.Agent(region)?.Database is not { } reading)
            return new RegionReplication { State = "unknown" };
        var isPrimary = reading.State is DatabaseState.Primary or DatabaseState.Sealed;
        return new RegionReplication
        {
            State = reading.State.ToString().ToLowerInvariant(),
            Epoch = reading.MarkerEpoch ?? (isPrimary && epoch?.Primary == region ? epoch.Epoch : null),
            Following = reading.Streaming ? reading.Following : null,
            Timeline = reading.Timeline,
            Lsn = (isPrimary ? reading.Written : Furthest(reading.Received, reading.Replayed))?.ToString(),
            LagBytes = isPrimary ? 0 : reading.LagBytes,
            LagSeconds = isPrimary ? 0 : reading.LagSeconds,
        };
    }

    /// <summary>The received position can be behind the replayed one (FAILOVER.md 6), so the larger counts.</summary>
    private static Lsn? Furthest(Lsn? received, Lsn? replayed) => (received, replayed) switch
    {
        ({ } a, { } b) => Lsn.Max(a, b),
        _ => received ?? replayed,
    };
}
