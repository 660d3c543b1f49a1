using BuildRunner.Core.Databases;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Routing;

/// <summary>
/// Which region serves a request. Order: `br-region`, `br-affinity`, the place of the address, the gateway's own region, the default region.
/// A write to a database goes where its epoch is and nowhere else; `allowed_regions` and `stay_in` are refused rather than got around.
/// </summary>
public static class RegionChoice
{
    /// <summary>Latencies closer than this are equal, and distance decides.</summary>
    public const double LatencyStepMs = 10;

    /// <summary>The decision for a request; sentences only when <paramref name="explain"/> is set. <paramref name="match"/> stands for the path's own route.</summary>
    public static RegionDecision Choose(RequestFacts facts, RoutingView view, DateTimeOffset now, bool explain = false, RouteMatch? match = null)
    {
        var why = explain ? new List<string>() : null;
        match ??= view.Match(facts.Path);
        if (match is null)
            return new RegionDecision.Refuse(404, "routing.no-route", $"No service has a route for {facts.Path}.") { Reasons = (IReadOnlyList<string>?)why ?? [] };
        return new Question(facts, view, match, now, why).Decide();
    }

    /// <summary>How willingly a region is taken: the lower the better.</summary>
    private enum Tier
    {
        Good,

        /// <summary>Nobody knows how it is: a last resort for reads, and never a reason to write there.</summary>
        Unknown,

        /// <summary>This gateway itself sees it down.</summary>
        SeenDown,
        Draining,
        Never,
    }

    private readonly record struct Candidate(RegionRow Region, Tier Tier, bool Shed, bool Fallback, double? LatencyMs, double DistanceKm)
    {
        /// <summary>Candidates of one class are compared by nearness, classes by this.</summary>
        public int Class => ((int)Tier * 4) + (Shed ? 2 : 0) + (Fallback ? 1 : 0);
    }

    private sealed class Question(RequestFacts facts, RoutingView view, RouteMatch match, DateTimeOffset now, List<string>? why)
    {
        private ServiceRow Service => match.Service;
        private RouteRow Route => match.Route;

        public RegionDecision Decide()
        {
            var isWrite = match.IsWrite(facts.Method, facts.Stream);
            why?.Add($"route {Route.Pattern} of service {Service.Name}: {(facts.Stream ? "a stream" : facts.Method)} {(isWrite ? "may write" : "reads")}");
            var (home, precision) = FindHome();
            var decision = !view.Table.MultiRegion ? InDefaultRegion(isWrite)
                : isWrite && Service.Database is { } database ? Write(database, null)
                : Read(home, precision);
            return decision with { Home = home?.Code, Match = match, IsWrite = isWrite, Reasons = (IReadOnlyList<string>?)why ?? [] };
        }

        private (RegionRow? Home, RoutePrecision Precision) FindHome()
        {
            if (facts.Place is { Point: { } point } place && view.Nearest(point) is { } nearest)
            {
                var km = nearest.Location.DistanceKm(point);
                why?.Add(place.City
                    ? $"the address is at {point.Latitude:0.0}, {point.Longitude:0.0} (city database): home is {nearest.Code}, {km:0} km away"
                    : $"the address is in {place.Country} (country data, centre of its population): home is {nearest.Code}, {km:0} km away");
                return (nearest, place.City ? RoutePrecision.City : RoutePrecision.Country);
            }
            if (view.Region(facts.Gateway) is { } own)
            {
                why?.Add($"the place of the address is unknown: home is the gateway's own region {own.Code}");
                return (own, RoutePrecision.Latency);
            }
            why?.Add($"the place of the address and the gateway's region are unknown: home is the default region {view.Table.DefaultRegion}");
            return (view.Region(view.Table.DefaultRegion), RoutePrecision.Default);
        }

        private RegionDecision InDefaultRegion(bool isWrite)
        {
            var region = view.Table.DefaultRegion;
            why?.Add($"multi-region routing is off: everything goes to the default region {region}");
            if (isWrite && Service.Database is { } database)
                return Write(database, region);
            return Forbidden(region) as RegionDecision ?? new RegionDecision.Send(region, null, null, 0) { Precision = RoutePrecision.Default };
        }

        /// <summary>A write goes to the primary (or, with multi-region off, to the default region) when the epoch is open, waits when a run holds it, and is refused otherwise.</summary>
        private RegionDecision Write(string database, string? only)
        {
            if (view.Database(database) is not { } row)
                return Refuse(503, "routing.no-primary", $"Nobody is known to hold database {database}.");
            var region = only ?? row.Primary;
            why?.Add($"database {database} is at epoch {row.Epoch} ({Word(row.State)}), its primary is {row.Primary}");
            if (Forbidden(region) is { } forbidden)
                return forbidden;
            var precision = only is null ? RoutePrecision.Primary : RoutePrecision.Default;
            if (row.HoldId is { } hold)
            {
                why?.Add($"writes to {database} wait: {hold} holds them");
                return new RegionDecision.Hold(region, database, hold, row.Epoch) { Precision = precision };
            }
            if (row.State != EpochState.Open)
                return Refuse(503, "routing.epoch-moving", $"Nobody may write to {database} now: its epoch {row.Epoch} is {Word(row.State)}.");
            if (!row.Writable)
                return Refuse(503, "routing.primary-down", $"The primary of {database}, {row.Primary}, cannot take writes now.");
            if (!HasInstance(region))
                return Refuse(503, "routing.no-instance", $"No instance of {Service.Name} runs in {region}, where {database} is written.");
            if (view.Region(region) is { Draining: true })
                why?.Add($"{region} drains, but nobody else may write");
            why?.Add($"{region} takes the write");
            return new RegionDecision.Send(region, null, database, row.Epoch) { Precision = precision };
        }

        private RegionDecision Read(RegionRow? home, RoutePrecision precision)
        {
            var candidates = Candidates(home);
            if (candidates.Length == 0)
                return Nobody();
            var (chosen, by) = Preferred(candidates) ?? (candidates[0], precision);
            if (why is not null && by == precision)
                why.Add(Nearness(home, candidates));
            if (chosen.Tier != Tier.Good)
                why?.Add($"{chosen.Region.Code} is a last resort: {TierWord(chosen.Tier)}");
            string? retry = null;
            foreach (var candidate in candidates)
            {
                if (candidate.Region.Code == chosen.Region.Code)
                    continue;
                retry = candidate.Region.Code;
                break;
            }
            why?.Add(retry is null ? $"{chosen.Region.Code} serves" : $"{chosen.Region.Code} serves; if the connection fails, {retry} is tried once");
            return new RegionDecision.Send(chosen.Region.Code, retry, null, 0) { Precision = by };
        }

        /// <summary>The user's own choice, then affinity: both only among regions that are well and may serve this request.</summary>
        private (Candidate, RoutePrecision)? Preferred(ReadOnlySpan<Candidate> candidates)
        {
            if (facts.RegionCookie is { Length: > 0 } wish)
            {
                if (Find(candidates, wish) is { } found && found.Tier == Tier.Good && found.Region.Weight > 0 && !Overloads(found))
                {
                    why?.Add($"br-region asks for {found.Region.Code}");
                    return (found, RoutePrecision.Cookie);
                }
                why?.Add($"br-region is left aside: {(view.Region(wish) is null ? "it names no region" : $"{wish} cannot serve this request now")}");
            }
            if (facts.Affinity is { } claim && claim.Expires > now)
            {
                if (Find(candidates, claim.Region) is { } found && found.Tier == Tier.Good && !found.Shed && !Overloads(found))
                {
                    why?.Add($"br-affinity holds to {claim.Region} until {claim.Expires:HH:mm:ss} UTC");
                    return (found, RoutePrecision.Affinity);
                }
                why?.Add($"br-affinity to {claim.Region} is left: it cannot serve this request now");
            }
            return null;
        }

        /// <summary>A route that prefers replicas does so whatever a cookie says.</summary>
        private bool Overloads(Candidate candidate) => Route.PreferReplica && candidate.Fallback;

        private static Candidate? Find(ReadOnlySpan<Candidate> candidates, string code)
        {
            foreach (var candidate in candidates)
            {
                if (candidate.Region.Code == code)
                    return candidate;
            }
            return null;
        }

        private Candidate[] Candidates(RegionRow? home)
        {
            var found = new Candidate[view.Table.Regions.Count];
            var count = 0;
            foreach (var region in view.Table.Regions)
            {
                var fault = Fault(region, out var tier, out var isPrimary);
                if (fault is not null)
                {
                    why?.Add($"{region.Code} does not serve: {fault}");
                    continue;
                }
                var shed = region.Weight < 100 && ClientKey.Percentile(facts.Client, region.Code) >= region.Weight;
                if (shed)
                    why?.Add($"{region.Code} takes {region.Weight} % of what would come, and this client is not among them");
                found[count++] = new Candidate(
                    region, tier, shed,
                    Fallback: isPrimary && (Route.PreferReplica || region.Code != home?.Code),
                    home is null ? null : view.Latency(home.Code, region.Code),
                    home is null ? 0 : home.Location.DistanceKm(region.Location));
            }
            var candidates = found[..count];
            Order(candidates, view.Table.DefaultRegion);
            return candidates;
        }

        /// <summary>Why a region cannot answer this read; null: it can, as willingly as the tier says.</summary>
        private string? Fault(RegionRow region, out Tier tier, out bool isPrimary)
        {
            tier = Tier.Never;
            isPrimary = false;
            var stops = false;
            if (!view.IsAllowed(region.Code))
                return "not among the allowed regions";
            if (!MayStay(region.Code))
                return $"the route's data stays in {string.Join(", ", Route.StayIn)}";
            var instances = Instances(region.Code);
            if (instances == Tier.Never)
                return $"no instance of {Service.Name} there can take requests";
            if (Service.Database is { } name)
            {
                if (!region.HasDatabase)
                    return "it has no database";
                isPrimary = view.Database(name) is { } row && row.Primary == region.Code && row.State != EpochState.Moving;
                stops = isPrimary && view.Database(name) is { HoldId: not null }; // a run is about to stop it
                if (!isPrimary)
                {
                    if (!region.ServesReads)
                        return "its copy takes no reads";
                    if (region.LagSeconds is not { } lag)
                        return "how far its copy is behind is unknown";
                    if (lag > view.Table.ReadLagMax.TotalSeconds)
                        return $"its copy is {lag:0.#} s behind, {view.Table.ReadLagMax.TotalSeconds:0.#} s are allowed";
                }
            }
            if (region.Health == HealthState.Unhealthy)
                return "it is unhealthy";
            tier = stops || region.Draining || region.Health == HealthState.Draining ? Tier.Draining
                : facts.SeenDown.Contains((region.Code, Service.Name)) ? Tier.SeenDown
                : region.Health == HealthState.Unknown ? Tier.Unknown
                : instances;
            return null;
        }

        private Tier Instances(string region)
        {
            var best = Tier.Never;
            foreach (var instance in view.Instances(Service.Name, region))
            {
                if (instance.Health is HealthState.Healthy or HealthState.Degraded)
                    return Tier.Good;
                if (instance.Health == HealthState.Unknown)
                    best = Tier.Unknown;
            }
            return best;
        }

        private bool HasInstance(string region) => Instances(region) != Tier.Never;

        private bool MayStay(string region)
        {
            if (Route.StayIn.Count == 0)
                return true;
            foreach (var code in Route.StayIn)
            {
                if (code == region)
                    return true;
            }
            return false;
        }

        /// <summary>The rules that always hold: refused rather than rerouted.</summary>
        private RegionDecision.Refuse? Forbidden(string region) =>
            !view.IsAllowed(region) ? Refuse(403, "routing.region-not-allowed", $"{region} would have to serve this, and is not among the allowed regions.")
            : !MayStay(region) ? Refuse(451, "routing.data-residency", $"The data of {Route.Pattern} stays in {string.Join(", ", Route.StayIn)}, and {region} would have to serve this.")
            : null;

        private RegionDecision.Refuse Nobody()
        {
            var allowed = view.Table.Regions.Where(r => view.IsAllowed(r.Code)).ToList();
            if (Route.StayIn.Count > 0 && !allowed.Any(r => Route.StayIn.Contains(r.Code)))
                return Refuse(451, "routing.data-residency", $"The data of {Route.Pattern} stays in {string.Join(", ", Route.StayIn)}, and no allowed region is among them.");
            return Route.StayIn.Count > 0
                ? Refuse(503, "routing.nobody-serves", $"The data of {Route.Pattern} stays in {string.Join(", ", Route.StayIn)}, and nobody there can serve it now.")
                : Refuse(503, "routing.nobody-serves", $"No region can serve {Service.Name} now.");
        }

        private RegionDecision.Refuse Refuse(int status, string problem, string because)
        {
            why?.Add(because);
            return new RegionDecision.Refuse(status, problem, because);
        }

        private static string Nearness(RegionRow? home, ReadOnlySpan<Candidate> candidates)
        {
            var text = new System.Text.StringBuilder();
            foreach (var candidate in candidates)
            {
                text.Append(text.Length == 0 ? $"in order of nearness to {home?.Code ?? "the gateway"}: " : ", ")
                    .Append(candidate.Region.Code)
                    .Append(CultureInfo.InvariantCulture, $" ({(candidate.LatencyMs is { } ms ? $"{ms:0} ms" : "latency unknown")}, {candidate.DistanceKm:0} km{(candidate.Fallback ? ", the primary: after the copies" : "")})");
            }
            return text.ToString();
        }
    }

    /// <summary>By class; within a class again and again the nearest of the rest: among those within 10 ms of the lowest latency the one with the shortest way.</summary>
    private static void Order(Span<Candidate> candidates, string defaultRegion)
    {
        for (var at = 0; at < candidates.Length; at++)
        {
            var rest = candidates[at..];
            var best = 0;
            var (lowestClass, lowest, known) = (int.MaxValue, double.MaxValue, true);
            foreach (ref readonly var candidate in rest)
            {
                if (candidate.Class > lowestClass)
                    continue;
                if (candidate.Class < lowestClass)
                    (lowestClass, lowest, known) = (candidate.Class, double.MaxValue, true);
                // One unknown latency in a class, and the whole class goes by distance: a guess is not compared with a measurement.
                known &= candidate.LatencyMs is not null;
                lowest = Math.Min(lowest, candidate.LatencyMs ?? double.MaxValue);
            }
            var found = false;
            for (var i = 0; i < rest.Length; i++)
            {
                if (rest[i].Class != lowestClass || (known && rest[i].LatencyMs > lowest + LatencyStepMs))
                    continue;
                if (!found || IsNearer(rest[i], rest[best], defaultRegion))
                    best = i;
                found = true;
            }
            (rest[0], rest[best]) = (rest[best], rest[0]);
        }
    }

    private static bool IsNearer(Candidate a, Candidate b, string defaultRegion)
    {
        if (a.DistanceKm != b.DistanceKm)
            return a.DistanceKm < b.DistanceKm;
        if (a.Region.Code == defaultRegion || b.Region.Code == defaultRegion)
            return a.Region.Code == defaultRegion;
        return string.CompareOrdinal(a.Region.Code, b.Region.Code) < 0;
    }

    private static string TierWord(Tier tier) => tier switch
    {
        Tier.Unknown => "its health is unknown, and no healthy region can serve this",
        Tier.SeenDown => "this gateway does not reach it, and no other region can serve this",
        Tier.Draining => "it drains, and no other region can serve this",
        _ => "",
    };

    private static string Word(EpochState state) => state switch
    {
        EpochState.Open => "open",
        EpochState.Closing => "closing",
        _ => "moving",
    };
}
