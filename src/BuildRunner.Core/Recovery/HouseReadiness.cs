using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Recovery;

/// <summary>What stands against recovery apart from the databases: who looks, where the server stands, names, room for the traffic, backups and drills.</summary>
internal static class HouseReadiness
{
    public const string Backups = "backups";
    public const string Drills = "drills";

    public static IEnumerable<ReadinessFinding> Findings(ReadinessReading reading) =>
        [.. Observers(reading), .. Server(reading), .. Dns(reading), .. Capacity(reading), .. Missing(reading)];

    private static IEnumerable<ReadinessFinding> Observers(ReadinessReading reading)
    {
        if (Primary(reading) is not { } primary)
            yield break;
        var reporting = reading.Observers.Where(o => o.Reports).ToList();
        var outside = reporting.Count(o => o.Region != primary);
        if (reporting.Count >= FailoverVerdict.ObserversMin && outside >= FailoverVerdict.OutsideMin)
            yield break;
        var silent = reading.Observers.Where(o => !o.Reports).Select(o => o.Name).ToList();
        yield return Make("observers.few", Automatic(reading), string.Create(CultureInfo.InvariantCulture, $"{reporting.Count} observer{(reporting.Count == 1 ? " reports" : "s report")}, {outside} of them outside {primary}; an automatic failover is decided by at least {FailoverVerdict.ObserversMin}, {FailoverVerdict.OutsideMin} of them outside.")
            + (silent.Count > 0 ? $" Silent: {string.Join(", ", silent)}." : ""), "Start the gateways that are silent, or run one more in another region.");
    }

    private static IEnumerable<ReadinessFinding> Server(ReadinessReading reading)
    {
        if (!reading.Server.Alone)
            yield break;
        if (reading.Server.Region is { } region && region == Primary(reading))
            yield return Make("server.in_primary_region", Automatic(reading), $"The only server stands in {region}, where the primary is: it is lost with the region, and cannot fail it over.", "Run the server in another region (`br server --region R`).", region);
        yield return Make("server.single", ReadinessSeverity.Warning, $"There is one server{(reading.Server.Region is { } at ? $", in {at}" : "")}: while it is away nothing is failed over and no run goes on; gateways and databases go on.",
            reading.Server.Region is null ? "Keep its data folder on a disk that outlives the machine, and say where it stands (`br server --region R`)." : "Keep its data folder on a disk that outlives the machine.");
    }

    private static IEnumerable<ReadinessFinding> Dns(ReadinessReading reading)
    {
        if (reading.Dns is not { } dns)
            yield return Make("dns.none", ReadinessSeverity.Warning, "No DNS driver is set up: after the loss of a gateway's region the users' name still holds its address.", "Set dns.driver and dns.name, or see to it that something else withdraws the address.");
        else if (dns.WriteError is { } error)
            yield return Make("dns.not_writable", ReadinessSeverity.Red, $"The last write of the DNS driver '{dns.Driver}' failed: {error}", dns.Fix ?? "Give it access to the zone again (address, key, rights); `br dr status` shows what the name servers answer.");
        else if (!dns.Settled)
            yield return Make("dns.not_settled", ReadinessSeverity.Red, $"The DNS driver '{dns.Driver}' has not brought about what should be answered: {dns.Said}", "See whether the driver can write the zone and whether its name servers answer; `br dr status` shows both.");
    }

    private static IEnumerable<ReadinessFinding> Capacity(ReadinessReading reading)
    {
        if (Primary(reading) is not { } primary || reading.Regions.Count == 0)
            yield break;
        if (reading.Regions.Any(r => r.Rate is null))
        {
            yield return Make("capacity.unknown", ReadinessSeverity.Warning, "unknown: whether the surviving regions could carry the traffic; no gateway counts it now.", "Start the gateways.");
            yield break;
        }
        foreach (var lost in reading.Regions.Where(r => r.Rate > 0 || r.Code == primary))
        {
            var left = reading.Regions.Where(r => r.Code != lost.Code && r.TakesTraffic && r.Health is HealthState.Healthy or HealthState.Degraded && r.Capacity is not 0).ToList();
            if (left.Any(r => r.Capacity is null))
            {
                yield return Make("capacity.unknown", ReadinessSeverity.Warning, "unknown: whether the surviving regions could carry the traffic; the policy does not say what an instance takes.", "Measure it, and write it down as `capacity` of each service with routes (requests a second of one instance).");
                yield break;
            }
            var (need, have) = (reading.Regions.Sum(r => r.Rate ?? 0), left.Sum(r => r.Capacity ?? 0));
            if (need > have)
            {
                yield return Make("capacity.missing", lost.Code == primary ? ReadinessSeverity.Red : ReadinessSeverity.Warning,
                    string.Create(CultureInfo.InvariantCulture, $"Without {lost.Code} the other regions take {have:0.#} requests a second, and users send {need:0.#}."), "Run more instances in the other regions, or bring a drained or unhealthy one back.", lost.Code);
            }
        }
    }

    /// <summary>What nobody has recorded is unknown, and never green.</summary>
    private static IEnumerable<ReadinessFinding> Missing(ReadinessReading reading)
    {
        if (!reading.Sources.Contains(Backups))
            yield return Make("backup.unknown", ReadinessSeverity.Warning, "unknown: the age of the last good backup; no backup has been recorded.", "Make one with your own tool and try to restore it, until `br backup` is there.");
        if (!reading.Sources.Contains(Drills))
            yield return Make("drill.unknown", ReadinessSeverity.Warning, "unknown: when recovery was last tried; no drill has been recorded.", "Move the primary there and back in a quiet hour: `br dr switchover --dry-run`, then without.");
    }

    /// <summary>What only an automatic failover needs is red when there is to be one.</summary>
    private static ReadinessSeverity Automatic(ReadinessReading reading) => reading.Policy.Recovery.AutoFailover ? ReadinessSeverity.Red : ReadinessSeverity.Warning;

    private static string? Primary(ReadinessReading reading) => reading.Databases.Count > 0 ? reading.Databases[0].Facts.Record?.Primary : null;

    private static ReadinessFinding Make(string code, ReadinessSeverity severity, string reason, string remedy, string? region = null) =>
        new() { Code = code, Severity = severity, Reason = reason, Remedy = remedy, Region = region };
}
