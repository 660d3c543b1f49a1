using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Policy;

/// <summary>What must hold between values; each error stands where the value was set, be it a line or a variable.</summary>
internal static class PolicyChecks
{
    private const string Multi = "multiregion_performance_dr.multiregion";
    private const string DefaultRegion = Multi + ".default_region";
    private const string AllowedRegions = Multi + ".allowed_regions";

    /// <summary>Fills in values that follow from others.</summary>
    public static PolicyDocument Settle(PolicyDocument document, PolicyReading reading) =>
        reading.IsSet("recovery.fencing") && !(document.Recovery.Fencing == FencingMode.Lease && !document.Recovery.AutoFailover && reading.SourceOf("recovery.auto_failover").IsVariable)
            ? document
            : document with { Recovery = document.Recovery with { Fencing = document.Recovery.AutoFailover && !UnderPatroni(document) ? FencingMode.Lease : FencingMode.Confirm } };

    /// <summary>Patroni has a lease of its own, which no other region can wait for.</summary>
    private static bool UnderPatroni(PolicyDocument document) => document.Databases.Any(d => d.Driver == DatabaseDriver.Patroni);

    public static void Check(PolicyDocument document, PolicyReading reading)
    {
        CheckRegions(document, reading);
        CheckServices(document, reading);
        CheckRecovery(document, reading);
        CheckScaling(document, reading);
        CheckBudgets(document, reading);
        CheckAlerts(document, reading);
        CheckObjectives(document, reading);
        CheckCanary(document, reading);
        CheckRest(document, reading);
    }

    private static void CheckRegions(PolicyDocument document, PolicyReading reading)
    {
        var multi = document.MultiRegion;
        var known = document.Regions.Select(r => r.Code).ToList();
        var listed = reading.IsPlaced("regions");
        if (listed && known.Count == 0)
            reading.Wrong(reading.At("regions"), "regions", "There is no region.", "Write at least one, with role, endpoint, latitude and longitude.");
        if (listed)
        {
            for (var i = 0; i < multi.AllowedRegions.Count; i++)
                Refer(reading, $"{AllowedRegions}[{i}]", multi.AllowedRegions[i], known, "regions");
            if (known.Count > 0 && reading.IsSet(DefaultRegion))
                Refer(reading, DefaultRegion, multi.DefaultRegion, known, "regions");
            else if (known.Count > 0 && !reading.IsPlaced(DefaultRegion) && !known.Contains(multi.DefaultRegion))
                reading.Wrong(reading.At("regions"), DefaultRegion, $"`default_region` is not written, and its default, {multi.DefaultRegion}, is not among `regions`.", $"Write `default_region: {known[0]}`.");
            if (document.Regions.FirstOrDefault(r => r.Code == multi.DefaultRegion) is { Role: RegionRole.Edge })
                reading.Wrong(reading.At(DefaultRegion), DefaultRegion, $"{multi.DefaultRegion} is an edge: it runs no service.", "Name a region that does.");
        }
        if (multi.AllowedRegions.Count > 0 && (!listed || known.Contains(multi.DefaultRegion)))
            Allow(reading, DefaultRegion, multi.DefaultRegion, multi);
        CheckRoles(document, reading);
        foreach (var region in document.Regions)
        {
            if (region is { Role: RegionRole.Edge, DatabaseHost: not null })
                reading.Wrong(reading.At($"regions.{region.Code}.database_host"), $"regions.{region.Code}.database_host", "An edge has no database.", "Remove the key, or give the region another role.");
        }
    }

    private static void CheckRoles(PolicyDocument document, PolicyReading reading)
    {
        var primaries = document.Regions.Where(r => r.Role == RegionRole.Primary).ToList();
        if (primaries is [var first, var second, ..])
        {
            var at = $"regions.{second.Code}.role";
            reading.Wrong(reading.At(at), at, $"{first.Code} (line {reading.At($"regions.{first.Code}.role").Line}) is the primary already.", "Write standby or replica: one region takes writes.");
        }
        if (primaries.Count == 0 && document.Regions.Count > 0 && document.Regions.All(r => reading.IsSet($"regions.{r.Code}.role")) && document.Regions.Any(r => r.DatabaseHost is not null))
            reading.Wrong(reading.At("regions"), "regions", "No region with a database is the primary.", "Write `role: primary` for the one that takes writes at first.");
    }

    private static void CheckServices(PolicyDocument document, PolicyReading reading)
    {
        var databases = document.Databases.Select(d => d.Name).ToList();
        foreach (var service in document.Services)
        {
            var path = $"services.{service.Name}";
            if (service.Database is { } database)
                Refer(reading, $"{path}.database", database, databases, "databases");
            for (var i = 0; i < service.Regions.Count; i++)
                ReferAndAllow(document, reading, $"{path}.regions[{i}]", service.Regions[i]);
            foreach (var region in service.Endpoints.Keys)
                ReferAndAllow(document, reading, $"{path}.endpoints.{region}", region);
            for (var i = 0; i < service.Routes.Count; i++)
            {
                for (var j = 0; j < service.Routes[i].StayIn.Count; j++)
                    ReferAndAllow(document, reading, $"{path}.routes[{i}].stay_in[{j}]", service.Routes[i].StayIn[j]);
            }
            foreach (var (name, value) in service.Environment)
            {
                if (Secrets.Wrong(name, value, isSecret: false) is { } secret)
                    reading.Wrong(reading.At($"{path}.environment.{name}"), $"{path}.environment.{name}", secret, Secrets.Fix(service.Name, name));
            }
            if (service is { Command.Count: > 0, PortFrom: 0 } && !reading.IsPlaced($"{path}.port_from"))
                reading.Wrong(reading.At(path), $"{path}.port_from", "A service with a command needs `port_from`.", "Write the first port that its instances listen on.");
        }
        CheckPorts(document, reading);
    }

    /// <summary>Services of one host must not meet on a port, at their largest.</summary>
    private static void CheckPorts(PolicyDocument document, PolicyReading reading)
    {
        var ranges = document.Services.Where(s => s.PortFrom > 0)
            .Select(s => (s.Name, From: s.PortFrom, To: s.PortFrom + Math.Max(1, Math.Max(s.Instances, document.Autoscaling.FirstOrDefault(a => a.Service == s.Name)?.InstancesMax ?? 0)) - 1))
            .OrderBy(r => r.From).ToList();
        for (var i = 0; i < ranges.Count; i++)
        {
            var at = $"services.{ranges[i].Name}.port_from";
            if (ranges[i].To > 65535)
                reading.Wrong(reading.At(at), at, $"{ranges[i].Name} would need ports up to {ranges[i].To}.", "Ports end at 65535: begin lower.");
            if (i > 0 && ranges[i].From <= ranges[i - 1].To)
                reading.Wrong(reading.At(at), at, $"{ranges[i - 1].Name} takes ports {ranges[i - 1].From} to {ranges[i - 1].To} when it is largest.", $"Begin {ranges[i].Name} at {ranges[i - 1].To + 1} or later.");
        }
    }

    private static void CheckRecovery(PolicyDocument document, PolicyReading reading)
    {
        var recovery = document.Recovery;
        CheckPatroni(document, reading);
        if (recovery.AutoFailover && recovery.Fencing == FencingMode.Confirm && !UnderPatroni(document))
            reading.Wrong(reading.At("recovery.fencing"), "recovery.fencing", $"Automatic failover ({reading.SourceOf("recovery.auto_failover").Source}) needs `lease`: nobody is there to confirm.", "Write `fencing: lease`, or remove the key.");
        if (!recovery.AutoFailover && recovery.Fencing == FencingMode.Lease)
            reading.Wrong(reading.At("recovery.fencing"), "recovery.fencing", "`lease` needs automatic failover: without it a lost server would only stop the primary.", "Write `fencing: confirm`, or `auto_failover: true`.");
        if (recovery.AutoFailover && document.Regions.Count > 0 && !document.Regions.Any(r => r is { Role: RegionRole.Standby, DatabaseHost: not null }))
            reading.Wrong(reading.At("recovery.auto_failover"), "recovery.auto_failover", "Automatic failover needs a standby with a database, and there is none.", "Give a region `role: standby` and `database_host`, or switch it off.");
        if (!recovery.LeaseIsSafe())
        {
            var at = reading.IsSet("recovery.lease_hold") ? "recovery.lease_hold" : reading.IsSet("recovery.lease_kill") ? "recovery.lease_kill" : reading.IsSet("recovery.lease_ttl") ? "recovery.lease_ttl" : "recovery.clock_rate_error";
            reading.Wrong(reading.At(at), at,
                $"The lease is not safe: (hold {Units.Write(recovery.Hold())} + kill {Units.Write(recovery.LeaseKill)}) × (1 + ρ) must be at most ttl {Units.Write(recovery.LeaseTtl)} × (1 − ρ), ρ = {Units.Plain((decimal)recovery.ClockRateError * 100)}%.",
                $"Write `lease_hold` of at most {Units.Write(recovery.HoldMax())}, or a longer `lease_ttl`.");
        }
        else if (recovery.Hold() <= recovery.LeaseTtl / 5)
        {
            var at = reading.IsSet("recovery.lease_hold") ? "recovery.lease_hold" : "recovery.lease_ttl";
            reading.Wrong(reading.At(at), at, $"A hold of {Units.Write(recovery.Hold())} leaves no time for two renewals, {Units.Write(recovery.LeaseTtl / 10)} apart.", "Write `lease_ttl` of 3s or more, and `lease_hold` more than a fifth of it.");
        }
        if (recovery is { PowerDriver: "exec", PowerCommand.Count: 0 })
            reading.Wrong(reading.At("recovery.power_driver"), "recovery.power_command", "`power_driver: exec` needs a command.", "Write `power_command: /path/to/command {region}`.");
    }

    private static void CheckPatroni(PolicyDocument document, PolicyReading reading)
    {
        foreach (var database in document.Databases)
        {
            var path = $"databases.{database.Name}";
            if (database.Driver != DatabaseDriver.Patroni)
            {
                if (database.Patroni.Count > 0)
                    reading.Wrong(reading.At($"{path}.patroni"), $"{path}.patroni", "Addresses of Patroni are of use with its driver only.", "Write `driver: patroni`, or remove them.");
                continue;
            }
            foreach (var code in database.Patroni.Keys)
                Refer(reading, $"{path}.patroni", code, [.. document.Regions.Select(r => r.Code)], "regions");
            foreach (var region in document.Regions.Where(r => r.DatabaseHost is not null && !(database.Patroni.GetValueOrDefault(r.Code) is { Count: > 0 })))
                reading.Wrong(reading.At($"{path}.driver"), $"{path}.patroni", $"{region.Code} has a database, and no address of its Patroni is given.", $"Write `{region.Code}: [http://HOST:8008, …]` under `patroni`, one for each member.");
            if (document.Recovery.Replication != ReplicationMode.Asynchronous)
                reading.Wrong(reading.At("recovery.replication"), "recovery.replication", "Whom writes wait for is Patroni's to say under its driver; between regions it is asynchronous.", "Write `asynchronous`, and Patroni's `synchronous_mode` inside a region.");
            if (document.Recovery.Fencing == FencingMode.Lease)
                reading.Wrong(reading.At("recovery.fencing"), "recovery.fencing", "A region under Patroni has Patroni's lease and not ours: its end proves nothing to another region.", "Remove the key.");
            if (document.Recovery is { AutoFailover: true, PowerDriver: "none" })
                reading.Wrong(reading.At("recovery.auto_failover"), "recovery.auto_failover", "Under Patroni only a power driver can prove a lost region silent, so nothing could fail over by itself.", "Set `power_driver`, or `auto_failover: false`.");
        }
    }

    private static void CheckScaling(PolicyDocument document, PolicyReading reading)
    {
        foreach (var scaling in document.Autoscaling)
        {
            var min = $"autoscaling.{scaling.Service}.min_instances";
            var max = $"autoscaling.{scaling.Service}.max_instances";
            if (scaling.InstancesMin > scaling.InstancesMax)
            {
                var at = reading.IsSet(max) ? max : min;
                reading.Wrong(reading.At(at), at, $"`min_instances` {scaling.InstancesMin} ({reading.SourceOf(min).Source}) is more than `max_instances` {scaling.InstancesMax} ({reading.SourceOf(max).Source}).", "Raise the one or lower the other.");
            }
        }
    }

    private static void CheckBudgets(PolicyDocument document, PolicyReading reading)
    {
        foreach (var budget in document.Performance.Budgets)
        {
            var path = $"performance_budgets.{budget.Service}";
            if (budget.P50 > budget.P95)
                reading.Wrong(reading.At($"{path}.p50"), $"{path}.p50", $"p50 {Units.Write(budget.P50.Value)} is more than p95 {Units.Write(budget.P95.Value)}.", "Percentiles only grow.");
            if (budget.P95 > budget.P99)
                reading.Wrong(reading.At($"{path}.p95"), $"{path}.p95", $"p95 {Units.Write(budget.P95.Value)} is more than p99 {Units.Write(budget.P99.Value)}.", "Percentiles only grow.");
        }
    }

    private static void CheckAlerts(PolicyDocument document, PolicyReading reading)
    {
        var known = reading.IsPlaced("channels") ? [.. document.Channels.Select(c => c.Name)] : ChannelsKey.TypeNames;
        foreach (var alert in document.Alerts)
        {
            for (var i = 0; i < alert.Channels.Count; i++)
                Refer(reading, $"alerts.{alert.Name}.channels[{i}]", alert.Channels[i], known, "channels");
        }
    }

    private static void CheckObjectives(PolicyDocument document, PolicyReading reading)
    {
        if (!reading.IsPlaced("services"))
            return;
        var known = document.Services.Select(s => s.Name).Concat(document.Performance.Budgets.Select(b => b.Service)).Distinct(StringComparer.Ordinal).ToList();
        foreach (var objective in document.Objectives)
            Refer(reading, $"objectives.{objective.Service}", objective.Service, known, "services");
    }

    private static void CheckCanary(PolicyDocument document, PolicyReading reading)
    {
        var canary = document.Canary;
        var rises = canary.Steps.Zip(canary.Steps.Skip(1)).All(pair => pair.First < pair.Second);
        if (canary.Steps.Count == 0 || !rises || canary.Steps[^1] != 100)
            reading.Wrong(reading.At("canary.steps"), "canary.steps", canary.Steps.Count == 0 ? "There is no step." : !rises ? "The steps do not grow." : "The last step is not 100%.", "Write them from small to 100%: [5%, 10%, 25%, 50%, 100%].");
        if (canary.WarmMin > canary.WarmMax)
        {
            var at = reading.IsSet("canary.warm_max") ? "canary.warm_max" : "canary.warm_min";
            reading.Wrong(reading.At(at), at, $"`warm_min` {Units.Write(canary.WarmMin)} is more than `warm_max` {Units.Write(canary.WarmMax)}.", "Lower the one or raise the other.");
        }
    }

    private static void CheckRest(PolicyDocument document, PolicyReading reading)
    {
        if (document.Health.Timeout > document.Health.Interval)
            reading.Wrong(reading.At("health.timeout"), "health.timeout", $"A check of {Units.Write(document.Health.Timeout)} does not fit into an interval of {Units.Write(document.Health.Interval)}.", "Make the timeout at most the interval.");
        CheckDns(document, reading);
    }

    private static void CheckDns(PolicyDocument document, PolicyReading reading)
    {
        var dns = document.Dns;
        var regions = document.Regions.Select(r => r.Code).ToList();
        foreach (var code in dns.Weights.Keys)
            Refer(reading, $"dns.weights.{code}", code, regions, "regions");
        foreach (var code in dns.Addresses.Keys)
            Refer(reading, $"dns.addresses.{code}", code, regions, "regions");
        if (dns.Driver == DnsRules.None)
            return;

        void Needs(string path, string what, string fix) => reading.Wrong(reading.At("dns.driver"), path, $"`driver: {dns.Driver}` needs {what}.", fix);
        if (dns.Name.Length == 0)
            Needs("dns.name", "a name", "Write `name:` with the name that users resolve.");
        switch (dns.Driver)
        {
            case DnsRules.Zonefile when dns.File is null:
                Needs("dns.file", "a file", "Write `file:` with the path of the zone file.");
                break;
            case DnsRules.Rfc2136:
                if (dns.Update.Server is null)
                    Needs("dns.rfc2136.server", "the server that takes updates", "Write `rfc2136:` and below it `server: 10.0.0.53`: the zone's primary server.");
                if (dns.Update.Key is null)
                    Needs("dns.rfc2136.key", "a TSIG key", "Write `key: env:NAME` or `key: file:PATH` under `rfc2136:`; `tsig-keygen` makes one.");
                break;
            case DnsRules.Cloudflare:
                if (dns.CloudflareApi.Token is null)
                    Needs("dns.cloudflare.token", "an API token", "Write `cloudflare:` and below it `token: env:NAME` or `token: file:PATH`.");
                if (dns.Ttl < TimeSpan.FromSeconds(30))
                    reading.Wrong(reading.At(reading.IsSet("dns.ttl") ? "dns.ttl" : "dns.driver"), "dns.ttl", $"Cloudflare takes no `ttl` of {Units.Write(dns.Ttl)}.", "Write `ttl: 60s`; an Enterprise zone takes 30s.");
                break;
            case DnsRules.Exec when dns.Command.Command.Count == 0:
                Needs("dns.exec.command", "a command", "Write `exec:` and below it `command: [/path/to/program, argument]`.");
                break;
            case DnsRules.Embedded when dns.NameServers.Count == 0 && (dns.Listen.StartsWith("0.0.0.0:", StringComparison.Ordinal) || dns.Listen.StartsWith("[::]:", StringComparison.Ordinal)):
                reading.Wrong(reading.At("dns.listen"), "dns.name_servers", "It listens on every address, so it does not know under which one the world finds it.", "Write `name_servers: [ns1.example.org]`, the names that the parent zone delegates to.");
                break;
        }
        // Beside others a name cannot be a CNAME: a region that has only a host name could not be told to users.
        if (document.Regions.Count < 2)
            return;
        foreach (var region in document.Regions)
        {
            var hosts = dns.Addresses.GetValueOrDefault(region.Code) ?? (Uri.TryCreate(region.Endpoint, UriKind.Absolute, out var uri) ? [uri.Host.Trim('[', ']')] : []);
            if (hosts.Count > 0 && hosts.All(h => !System.Net.IPAddress.TryParse(h, out _)))
                reading.Wrong(reading.At(reading.IsSet($"dns.addresses.{region.Code}") ? $"dns.addresses.{region.Code}" : "dns.driver"), $"dns.addresses.{region.Code}", $"{region.Code} is reached at {PolicyReading.Quote(hosts[0])}, and a name with several regions holds addresses, not host names.", $"Write `addresses:` and below it `{region.Code}: [192.0.2.1]`, the addresses that users reach its gateway at.");
        }
    }

    private static void ReferAndAllow(PolicyDocument document, PolicyReading reading, string path, string region)
    {
        var known = document.Regions.Select(r => r.Code).ToList();
        if (!reading.IsPlaced("regions") || Refer(reading, path, region, known, "regions"))
            Allow(reading, path, region, document.MultiRegion);
    }

    private static bool Refer(PolicyReading reading, string path, string name, IReadOnlyCollection<string> known, string section)
    {
        if (known.Contains(name))
            return true;
        reading.Wrong(reading.At(path), path, $"'{PolicyReading.Quote(name)}' is not among `{section}`.", Nearest.Fix(name, known));
        return false;
    }

    private static void Allow(PolicyReading reading, string path, string region, MultiRegionRules multi)
    {
        if (multi.AllowedRegions.Count > 0 && !multi.AllowedRegions.Contains(region))
            reading.Wrong(reading.At(path), path, $"{region} is not among `allowed_regions` ({reading.At(AllowedRegions).Source}).", $"Allow it there, or write one of {string.Join(", ", multi.AllowedRegions)}.");
    }
}
