using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Alerting;

/// <summary>Alerts that follow from the verdicts on regions: the loss of the region that takes writes.</summary>
public sealed record RegionAlerts(IReadOnlyList<Alert> Raise, IReadOnlyList<(string Key, string Reason)> Clear)
{
    /// <summary>The name of SPEC's alert, so that its channels are told.</summary>
    public const string Kind = "region_failure";

    public static string KeyOf(string region) => $"{Kind}/{region}";

    /// <param name="regions">Regions with the role and the verdict in force.</param>
    /// <param name="policy">Switches: whether somebody acts without being asked, and whether anybody may.</param>
    /// <param name="frozen">Whether a freeze is in force.</param>
    /// <param name="firing">Keys of alerts that fire.</param>
    public static RegionAlerts Decide(IReadOnlyList<StatusRegion> regions, PolicyDocument policy, bool frozen, IReadOnlyCollection<string> firing)
    {
        var raise = regions.Where(r => r is { Role: RegionRole.Primary, Health: HealthState.Unhealthy }).Select(r => Lost(r, regions, policy, frozen)).ToList();
        var clear = new List<(string, string)>();
        foreach (var key in firing.Where(key => Alert.KindOf(key) == Kind && raise.TrueForAll(alert => alert.Key != key)))
        {
            var code = Alert.ThingOf(key);
            var region = regions.FirstOrDefault(r => r.Code == code);
            if (region is null)
                clear.Add((key, $"{code} is no region of the policy any more."));
            else if (region.Role != RegionRole.Primary && regions.FirstOrDefault(r => r.Role == RegionRole.Primary) is { } primary)
                clear.Add((key, $"{primary.Code} takes writes now."));
            else if (region.Health == HealthState.Healthy)
                clear.Add((key, $"{code} is healthy again."));
            // Degraded, draining and unknown neither raise it nor clear it: nobody knows yet how it will end.
        }
        return new RegionAlerts(raise, clear);
    }

    private static Alert Lost(StatusRegion region, IReadOnlyList<StatusRegion> regions, PolicyDocument policy, bool frozen)
    {
        var heir = region.HasDatabase ? StatusVerdict.Heir(regions) : null;
        var (said, command) = (policy.WhyNoFailover(), policy.WhyNoAutomaticFailover(frozen), heir) switch
        {
            (_, _, null) => (region.HasDatabase ? "No other region's copy can take over now." : "It has no database that could be moved.", null),
            ({ } forbidden, _, _) => (forbidden, null),
            (_, { } byHand, { } to) => ($"{byHand} Look with `br dr failover --dry-run --target {to.Code}`, then run the command.", $"br dr failover --target {to.Code} --reason \"{region.Code} is unhealthy\""),
            _ => ("Automatic failover is on; watch it with `br dr status`.", (string?)null),
        };
        var why = region.Reason.Length > 0 ? $"{region.Reason}." : "";
        return new Alert(KeyOf(region.Code), AlertSeverity.Critical, $"{region.Code} is unhealthy, and it takes the writes", $"{why} {said}".Trim(), command) { Regions = [region.Code] };
    }
}
