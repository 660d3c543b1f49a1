namespace BuildRunner.Core.Regions;

/// <summary>Says how healthy each region is, from what several observers saw. Unknown is never green, and one observer alone raises no alarm.</summary>
public static class HealthVerdicts
{
    public const string Gateway = "gateway";
    public const string Database = "db";

    /// <summary>One verdict a region, in the order given. <paramref name="before"/> keeps `since` where the state stays.</summary>
    public static IReadOnlyList<RegionVerdict> Decide(
        IReadOnlyList<RegionFacts> regions, IReadOnlyList<Observer> observers, PassiveRules rules, IReadOnlyList<RegionVerdict> before, DateTimeOffset now)
    {
        var speaking = Speaking(observers);
        var cut = speaking.Where(o => IsCut(o, speaking, rules)).ToList();
        var believed = speaking.Except(cut).ToList();
        return [.. regions.Select(region => Decide(region, observers, believed, cut, rules, before.FirstOrDefault(v => v.Code == region.Code), now))];
    }

    /// <summary>Observers that report and are not cut off themselves.</summary>
    public static IReadOnlyList<Observer> Believed(IReadOnlyList<Observer> observers)
    {
        var (speaking, rules) = (Speaking(observers), new PassiveRules());
        return [.. speaking.Where(o => !IsCut(o, speaking, rules))];
    }

    private static List<Observer> Speaking(IReadOnlyList<Observer> observers) => [.. observers.Where(o => o.SilentFor is null && o.Sightings.Count > 0)];

    private static RegionVerdict Decide(
        RegionFacts region, IReadOnlyList<Observer> all, List<Observer> believed, List<Observer> cut, PassiveRules rules, RegionVerdict? before, DateTimeOffset now)
    {
        var evidence = new List<string>();
        var services = new List<ServiceVerdict> { Judge(region.Code, Gateway, believed, rules, evidence) };
        foreach (var service in region.Services)
        {
            services.Add(service.Instances == 0
                ? new ServiceVerdict { Service = service.Service, Health = HealthState.Unhealthy, Reason = "no instance runs here" }
                : Judge(region.Code, service.Service, believed, rules, evidence));
        }
        if (region.Database is { } database)
        {
            var verdict = Knocked(DatabaseVerdict.Decide(region.Code, database), Judge(region.Code, Database, believed, rules, evidence));
            services.Add(verdict);
            if (verdict.Reason.Length > 0)
                evidence.Add($"agent/{region.Code}: db: {verdict.Reason}");
        }
        evidence.AddRange(cut.Select(o => $"{o.Name}: not believed: it sees every other region down while others see some of them up, so it is cut off itself"));
        evidence.AddRange(all.Where(o => o.SilentFor is not null).Select(o => $"{o.Name}: silent for {Words.Of(o.SilentFor!.Value)}"));

        var (health, reason) = State(region, services);
        return new RegionVerdict
        {
            Code = region.Code,
            Health = health,
            Since = before is not null && before.Health == health ? before.Since : now,
            Reason = reason,
            Services = services,
            Evidence = evidence,
            CheckFailures = Vital(region, services).Select(s => s.CheckFailures).DefaultIfEmpty(0).Max(),
        };
    }

    private static (HealthState, string) State(RegionFacts region, List<ServiceVerdict> services)
    {
        var gateway = services[0];
        if (gateway.Health == HealthState.Unknown)
            return (HealthState.Unknown, "nobody could look at it");
        if (Vital(region, services).FirstOrDefault(s => s.Health == HealthState.Unhealthy) is { } vital)
            return (HealthState.Unhealthy, $"{vital.Service}: {vital.Reason}");
        var applications = services.Where(s => s.Service is not (Gateway or Database)).ToList();
        if (applications.Count > 0 && applications.All(s => s.Health == HealthState.Unhealthy))
        {
            // They wait for the database in most cases: why it is not there is what a person wants to read.
            var database = services.Find(s => s.Service == Database && s.Health != HealthState.Healthy && s.Reason.Length > 0);
            return (HealthState.Unhealthy, database is null ? "no service is up" : $"no service is up; {Database}: {database.Reason}");
        }
        if (region.Control.Draining)
            return (HealthState.Draining, region.Control.Reason.Length > 0 ? $"drained: {region.Control.Reason}" : "drained");
        var faults = services.Where(s => s.Health != HealthState.Healthy).ToList();
        return faults.Count == 0
            ? (HealthState.Healthy, "")
            : (HealthState.Degraded, string.Join("; ", faults.Select(s => $"{s.Service}: {s.Reason}")));
    }

    /// <summary>What the region cannot do without: its gateway, and where writes go its database.</summary>
    private static IEnumerable<ServiceVerdict> Vital(RegionFacts region, List<ServiceVerdict> services) =>
        services.Where(s => s.Service == Gateway || (s.Service == Database && region.Role == RegionRole.Primary));

    /// <summary>
    /// A database is what its agent reads off it. When observers knock at its door as well and most find nobody, it is down whatever the agent
    /// says, and also when the agent says nothing; one observer alone is not believed against the agent.
    /// </summary>
    private static ServiceVerdict Knocked(ServiceVerdict read, ServiceVerdict knock) => knock switch
    {
        { Health: HealthState.Unhealthy, Down: > 1 } when read.Health != HealthState.Unhealthy =>
            knock with { Reason = read.Health == HealthState.Healthy ? knock.Reason : $"{knock.Reason}; {read.Reason}" },
        _ => read with { CheckFailures = knock.CheckFailures, Up = knock.Up, Down = knock.Down, Unsure = knock.Unsure },
    };

    private static ServiceVerdict Judge(string region, string service, List<Observer> believed, PassiveRules rules, List<string> evidence)
    {
        var votes = believed
            .Select(o => (Observer: o, Sighting: o.Sightings.FirstOrDefault(s => s.Region == region && s.Service == service)))
            .Where(v => v.Sighting is not null)
            .Select(v => (v.Observer, Sighting: v.Sighting!, Says: Vote(v.Sighting!, rules)))
            .ToList();
        var (up, down) = (votes.Count(v => v.Says == true), votes.Count(v => v.Says == false));
        foreach (var (observer, sighting, says) in votes)
        {
            if (says == false || sighting.FailuresInRow > 0 || sighting.Down.Count > 0)
                evidence.Add($"{observer.Name}{(observer.Region == region ? " (in the region itself)" : "")}: {service}: {Statement(sighting, says, rules)}");
        }

        var failures = MajorityFailures(votes.Where(v => v.Says is not null).Select(v => v.Sighting.FailuresInRow).ToList());
        var verdict = new ServiceVerdict { Service = service, Health = HealthState.Healthy, Up = up, Down = down, Unsure = votes.Count - up - down, CheckFailures = failures };
        if (up + down == 0)
            return verdict with { Health = HealthState.Unknown, Reason = "nobody could look at it" };
        var faults = votes.Where(v => v.Says == false).Select(v => Fault(v.Sighting, rules)).Distinct().ToList();
        if (down * 2 > up + down)
            return verdict with { Health = HealthState.Unhealthy, Reason = $"{down} of {up + down} observers see it down ({faults[0]})" };

        // Part of the instances is down, by the same majority.
        var partly = votes.Where(v => v.Says == true && v.Sighting.Down.Count > 0).ToList();
        return partly.Count * 2 > up + down
            ? verdict with { Health = HealthState.Degraded, Reason = $"{partly[0].Sighting.Down.Count} of {partly[0].Sighting.Targets} instances down" }
            : verdict;
    }

    private static bool? Vote(Sighting sighting, PassiveRules rules) => PassivelyDown(sighting, rules) ? false : sighting.Up;

    private static bool PassivelyDown(Sighting sighting, PassiveRules rules) =>
        sighting.PassiveRequests >= Math.Max(1, rules.RequestsMin)
        && sighting.PassiveFailures >= rules.FailureShare * sighting.PassiveRequests
        && sighting.PassiveFailures > 0;

    private static string Statement(Sighting sighting, bool? says, PassiveRules rules) => says switch
    {
        false => $"down, {Fault(sighting, rules)}",
        true when sighting.Down.Count > 0 => $"up, but {sighting.Down.Count} of {sighting.Targets} instances are down",
        true => $"up, though its last {sighting.FailuresInRow} checks failed ({sighting.Error})",
        null => $"not yet sure: {sighting.FailuresInRow} failed checks ({sighting.Error})",
    };

    private static string Fault(Sighting sighting, PassiveRules rules) => PassivelyDown(sighting, rules)
        ? $"{sighting.PassiveFailures} of {sighting.PassiveRequests} user requests failed in 10 s"
        : sighting.Error ?? "no answer";

    /// <summary>The largest number of failures in a row that more than half of them saw.</summary>
    private static int MajorityFailures(List<int> failures)
    {
        if (failures.Count == 0)
            return 0;
        failures.Sort((a, b) => b.CompareTo(a));
        return failures[failures.Count / 2];
    }

    /// <summary>Sees every region but its own down, while another observer sees one of them up: it is the observer that is cut off.</summary>
    private static bool IsCut(Observer observer, List<Observer> speaking, PassiveRules rules)
    {
        var others = observer.Sightings.Where(s => s.Region != observer.Region && s.Service == Gateway).Select(s => (s.Region, Says: Vote(s, rules))).Where(s => s.Says is not null).ToList();
        if (others.Count < 2 || others.Any(s => s.Says == true))
            return false;
        // A region that looks at itself proves nothing about the way to it.
        return speaking.Any(o => o != observer && o.Sightings.Any(s => s.Service == Gateway && s.Region != o.Region && s.Region != observer.Region && Vote(s, rules) == true));
    }
}
