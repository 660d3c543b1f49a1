using BuildRunner.Core.Regions;
using BuildRunner.Core.Routing;

namespace BuildRunner.Core.Policy;

/// <summary>Every key of a policy, what it means, how it is written and where it goes: reading, writing and the reference page follow from this.</summary>
internal static class PolicySchema
{
    private static readonly ScalarForm<TimeSpan> Latency = Forms.Duration(TimeSpan.FromMilliseconds(0.1), TimeSpan.FromHours(1));
    private static readonly ScalarForm<TimeSpan> Minutes = Forms.Bare(TimeSpan.FromMinutes(1), "minutes", TimeSpan.Zero, TimeSpan.FromDays(7));
    private static readonly ScalarForm<TimeSpan> Seconds = Forms.Duration(TimeSpan.FromMilliseconds(10), TimeSpan.FromHours(1));
    private static readonly ScalarForm<TimeSpan> Longer = Forms.Duration(TimeSpan.Zero, TimeSpan.FromDays(366));
    private static readonly ScalarForm<TimeSpan> Retention = Forms.Duration(TimeSpan.FromHours(1), TimeSpan.FromDays(3660));

    private static readonly PolicyShape<MultiRegionRules> MultiRegion = new PolicyShape<MultiRegionRules>()
        .Key("enabled", Forms.Switch, r => r.Enabled, (r, v) => r with { Enabled = v }, "false: every request goes to `default_region`, and nothing fails over.")
        .Key("default_region", Forms.Name, r => r.DefaultRegion, (r, v) => r with { DefaultRegion = v }, "Decides when cookie, address and latency do not.")
        .Key("allowed_regions", Forms.Names, r => r.AllowedRegions, (r, v) => r with { AllowedRegions = v }, "Regions that may serve; empty: all of `regions`.")
        .Key("sticky_affinity_minutes", Minutes, r => r.StickyAffinity, (r, v) => r with { StickyAffinity = v }, "How long a session stays with its region after its last request.");

    private static readonly PolicyShape<RecoveryRules> DisasterRecovery = new PolicyShape<RecoveryRules>()
        .Key("rpo_minutes", Minutes, r => r.Rpo, (r, v) => r with { Rpo = v }, "Recovery point objective: data loss that is acceptable.")
        .Key("rto_minutes", Minutes, r => r.Rto, (r, v) => r with { Rto = v }, "Recovery time objective: downtime that is acceptable.")
        .Shorthand("drill_schedule", "drills.weekly", Forms.Cron, Forms.Cron, (d, v) => d with { Drills = d.Drills with { Weekly = v } }, "When the weekly drill runs.");

    private static readonly PolicyShape<PerformanceRules> Shorthands = new PolicyShape<PerformanceRules>()
        .With(new BudgetShorthandKey())
        .Shorthand("error_budget_pct", "performance_budgets.api.error_rate", Forms.BareShare(0, 100), Forms.Share(0, 100), (d, v) => d.WithBudget("api", b => b with { ErrorRateMax = v }), "The api's budget of errors.");

    private static readonly PolicyShape<PolicyDocument> Block = new PolicyShape<PolicyDocument>()
        .Part("multiregion", MultiRegion, d => d.MultiRegion, (d, v) => d with { MultiRegion = v }, "Which region serves.")
        .Part("disaster_recovery", DisasterRecovery, d => d.Recovery, (d, v) => d with { Recovery = v }, "Objectives of recovery.")
        .Part("performance", new PolicyShape<PolicyDocument>()
            .Part("budgets", Shorthands, d => d.Performance, (d, v) => d with { Performance = v }, "Budgets in short; `performance_budgets` is the long form."),
            d => d, (_, v) => v, "Performance in short.");

    private static readonly PolicyShape<RegionDefinition> Region = new PolicyShape<RegionDefinition>()
        .Key("name", Forms.Text, r => r.Name, (r, v) => r with { Name = v }, "Name for people; default: the code.")
        .Key("role", Forms.Word<RegionRole>(), r => r.Role, (r, v) => r with { Role = v }, "What the region is for.", required: true)
        .Key("endpoint", Forms.Url, r => r.Endpoint, (r, v) => r with { Endpoint = v }, "Base address of the region's gateway.", required: true)
        .Key("latitude", Forms.Number(-90, 90), r => r.Location.Latitude, (r, v) => r with { Location = r.Location with { Latitude = v } }, "Degrees north.", required: true)
        .Key("longitude", Forms.Number(-180, 180), r => r.Location.Longitude, (r, v) => r with { Location = r.Location with { Longitude = v } }, "Degrees east.", required: true)
        .Key("database_host", Forms.Host, r => r.DatabaseHost!, (r, v) => r with { DatabaseHost = v }, "Host of the region's PostgreSQL; without it the region has none.")
        .Key("database_port", Forms.Count(1, 65535), r => r.DatabasePort, (r, v) => r with { DatabasePort = v }, "Its port.")
        .Key("serve_reads", Forms.Switch, r => r.ServeReads, (r, v) => r with { ServeReads = v }, "Whether a standby's copy takes reads.");

    private static readonly PolicyShape<DatabaseDefinition> Database = new PolicyShape<DatabaseDefinition>()
        .Key("database", Forms.Name, d => d.DatabaseName, (d, v) => d with { DatabaseName = v }, "Database that applications use.")
        .Key("user", Forms.Name, d => d.User, (d, v) => d with { User = v }, "Role that applications use.")
        .Key("driver", Forms.Word<DatabaseDriver>(), d => d.Driver, (d, v) => d with { Driver = v }, "`postgresql`: one PostgreSQL a region, run by its agent; `patroni`: a Patroni cluster a region, in all but one of them a standby cluster.")
        .Key("patroni", new MapForm<IReadOnlyList<string>>(new ListForm<string>(Forms.Url, "list of addresses"), "REGION: list of addresses", Forms.NameWrong), d => d.Patroni, (d, v) => d with { Patroni = v }, "Patroni's REST API in each region, as the region's agent reaches it.")
        .Key("runbook_roles", Forms.Names, d => d.RunbookRoles, (d, v) => d with { RunbookRoles = v }, "Roles as which runbooks may run statements (action `sql`); empty: none does.");

    private static readonly PolicyShape<RouteRow> Route = new PolicyShape<RouteRow>()
        .Key("path", Forms.Path, r => r.Pattern, (r, v) => r with { Pattern = v }, "Pattern: `*` is one segment, `**` the rest.", required: true)
        .Key("reads", Forms.Word<ReadKind>(), r => r.Reads, (r, v) => r with { Reads = v }, "Which requests a replica may answer: GET and HEAD, every method, or none.")
        .Key("prefer", Forms.Word("nearest", "replica"), r => r.PreferReplica ? "replica" : "nearest", (r, v) => r with { PreferReplica = v == "replica" }, "`replica` keeps reads off the primary also in its own region.")
        .Key("stay_in", Forms.Names, r => r.StayIn, (r, v) => r with { StayIn = v }, "Data residency: served in these regions or refused; empty: anywhere allowed.")
        .Key("cache", Forms.Word("static", "api", "public", "user"), r => r.Cache!, (r, v) => r with { Cache = v }, "Class of caching; without it nothing is cached.")
        .Key("timeout", Seconds, r => r.Timeout, (r, v) => r with { Timeout = v }, "How long an answer may take.");

    private static readonly PolicyShape<ServiceDefinition> Service = new PolicyShape<ServiceDefinition>()
        .Key("database", Forms.Name, s => s.Database!, (s, v) => s with { Database = v }, "Database it writes to; without it any region takes its writes.")
        .Key("regions", Forms.Names, s => s.Regions, (s, v) => s with { Regions = v }, "Regions that run it; empty: every region with a database.")
        .Key("instances", Forms.Count(0, 1000), s => s.Instances, (s, v) => s with { Instances = v }, "Instances in each region.")
        .Key("capacity", Forms.Optional(Forms.Number(0.001m, 10_000_000)), s => s.Capacity, (s, v) => s with { Capacity = v }, "Requests a second that one instance takes; readiness judges by it whether the other regions could carry the traffic. Without it that is unknown.")
        .Key("version", Forms.Text, s => s.Version, (s, v) => s with { Version = v }, "Version that runs.")
        .Key("command", new ListForm<string>(Forms.Text, "command line, or list of arguments", splitsText: true), s => s.Command.Count == 0 ? null! : s.Command, (s, v) => s with { Command = v }, "What the agent starts; `{service}`, `{port}`, `{host}`, `{region}`, `{instance}`, `{version}` and `{address_file}` are filled in. Without it the instances are those of `endpoints`.")
        .Key("environment", new MapForm<string>(Forms.Text, "NAME: value", Forms.VariableNameWrong), s => s.Environment, (s, v) => s with { Environment = v }, "Environment of the command; secrets do not belong here.")
        .Key("port_from", Forms.Count(0, 65535), s => s.PortFrom, (s, v) => s with { PortFrom = v }, "Instances listen on this port, the next, ….")
        .Key("health_path", Forms.Path, s => s.HealthPath, (s, v) => s with { HealthPath = v }, "Answers `expected_status` while the instance lives.")
        .Key("ready_path", Forms.Path, s => s.ReadyPath, (s, v) => s with { ReadyPath = v }, "Answers 200 when the instance can take requests.")
        .Key("expected_status", Forms.Count(100, 599), s => s.ExpectedStatus, (s, v) => s with { ExpectedStatus = v }, "Status of a healthy answer.")
        .Key("verify_path", Forms.Path, s => s.VerifyPath!, (s, v) => s with { VerifyPath = v }, "POST writes a row and GET reads it: a failover verifies by it.")
        .Key("warm_path", Forms.Path, s => s.WarmPath!, (s, v) => s with { WarmPath = v }, "GET warms an instance's caches after a failover.")
        .Key("endpoints", new MapForm<IReadOnlyList<string>>(new ListForm<string>(Forms.Url, "list of addresses"), "REGION: list of addresses", Forms.NameWrong), s => s.Endpoints, (s, v) => s with { Endpoints = v }, "Fixed instances of each region.")
        .Items("routes", Route, () => new RouteRow { Pattern = "" }, s => s.Routes, (s, v) => s with { Routes = v }, "Paths that the service answers; the first that fits decides.");

    private static readonly PolicyShape<BudgetDefinition> Budget = new PolicyShape<BudgetDefinition>()
        .Key("p50", Forms.Optional(Latency), b => b.P50, (b, v) => b with { P50 = v }, "Half of all answers are faster.")
        .Key("p95", Forms.Optional(Latency), b => b.P95, (b, v) => b with { P95 = v }, "95 of 100 answers are faster.")
        .Key("p99", Forms.Optional(Latency), b => b.P99, (b, v) => b with { P99 = v }, "99 of 100 answers are faster.")
        .Key("error_rate", Forms.Optional(Forms.Share(0, 100)), b => b.ErrorRateMax, (b, v) => b with { ErrorRateMax = v }, "Share of answers that may be errors.")
        .Key("availability", Forms.Optional(Forms.Share(0, 100)), b => b.AvailabilityMin, (b, v) => b with { AvailabilityMin = v }, "Share of time in which it works.")
        .Key("throughput", Forms.Optional(Forms.Number(0, 10_000_000)), b => b.ThroughputMin, (b, v) => b with { ThroughputMin = v }, "Requests a second that it must at least do.")
        .Key("lcp", Forms.Optional(Latency), b => b.Lcp, (b, v) => b with { Lcp = v }, "Largest Contentful Paint.")
        .Key("fid", Forms.Optional(Latency), b => b.Fid, (b, v) => b with { Fid = v }, "First Input Delay.")
        .Key("inp", Forms.Optional(Latency), b => b.Inp, (b, v) => b with { Inp = v }, "Interaction to Next Paint.")
        .Key("cls", Forms.Optional(Forms.Number(0, 10)), b => b.ClsMax, (b, v) => b with { ClsMax = v }, "Cumulative Layout Shift.")
        .Key("alert_threshold_pct", Forms.Number(1, 100), b => b.AlertThresholdPercent, (b, v) => b with { AlertThresholdPercent = v }, "From this share of the budget on, in percent, the verdict is a warning.")
        .Key("errors", new ListForm<string>(Forms.Word("4xx", "5xx"), "list of 4xx, 5xx"), b => b.Errors, (b, v) => b with { Errors = v }, "Answers that count as errors.");

    private static readonly PolicyShape<ScalingRules> Scaling = new PolicyShape<ScalingRules>()
        .Key("min_instances", Forms.Count(0, 1000), s => s.InstancesMin, (s, v) => s with { InstancesMin = v }, "Never fewer in a region.")
        .Key("max_instances", Forms.Count(0, 1000), s => s.InstancesMax, (s, v) => s with { InstancesMax = v }, "Never more in a region.")
        .Key("target_cpu", Forms.Optional(Forms.Percent(1, 100)), s => s.TargetCpuPercent, (s, v) => s with { TargetCpuPercent = v }, "CPU to stay at.")
        .Key("target_memory", Forms.Optional(Forms.Percent(1, 100)), s => s.TargetMemoryPercent, (s, v) => s with { TargetMemoryPercent = v }, "Memory to stay at.")
        .Key("target_queue_depth", Forms.Optional(Forms.Number(1, 10_000_000)), s => s.TargetQueueDepth, (s, v) => s with { TargetQueueDepth = v }, "Waiting work per instance to stay at.")
        .Key("scale_up_cooldown", Longer, s => s.ScaleUpCooldown, (s, v) => s with { ScaleUpCooldown = v }, "Rest after a change before more instances.")
        .Key("scale_down_cooldown", Longer, s => s.ScaleDownCooldown, (s, v) => s with { ScaleDownCooldown = v }, "Rest after a change before fewer instances.");

    private static readonly PolicyShape<AlertRule> Alert = new PolicyShape<AlertRule>()
        .Key("condition", Condition(), a => a.Condition, (a, v) => a with { Condition = v }, "When it fires: `p95_latency > budget * 1.2`.", required: true)
        .Key("severity", Forms.Word("info", "warning", "critical"), a => a.Severity, (a, v) => a with { Severity = v }, "How bad it is.", required: true)
        .Key("channels", Forms.Names, a => a.Channels, (a, v) => a with { Channels = v }, "Who is told: names of `channels`.", required: true);

    private static readonly PolicyShape<RecoveryRules> Recovery = new PolicyShape<RecoveryRules>()
        .Key("enabled", Forms.Switch, r => r.Enabled, (r, v) => r with { Enabled = v }, "false: no backup, drill or run starts; routing and health go on.")
        .Key("auto_failover", Forms.Switch, r => r.AutoFailover, (r, v) => r with { AutoFailover = v }, "Whether a lost primary is replaced without a person.")
        .Key("loss_max", Forms.Optional(Longer), r => r.LossMax, (r, v) => r with { LossMax = v }, "Known loss up to which a failover goes ahead; without it: the RPO for a person's.")
        .Key("replication", Forms.Word<ReplicationMode>(), r => r.Replication, (r, v) => r with { Replication = v }, "Whether a write waits for copies: `asynchronous`, `synchronous` (one), `quorum` (half of them).")
        .Key("fencing", Forms.Word<FencingMode>(), r => r.Fencing, (r, v) => r with { Fencing = v }, "`lease` with automatic failover, else `confirm`.")
        .Key("lease_ttl", Forms.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(10)), r => r.LeaseTtl, (r, v) => r with { LeaseTtl = v }, "Length of a primary's lease as the arbiter counts it.")
        .Key("lease_hold", Forms.Optional(Forms.Duration(TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(10))), r => r.LeaseHold, (r, v) => r with { LeaseHold = v }, "Length of the lease as its holder counts it; without it: `lease_ttl` less 2s.")
        .Key("lease_kill", Forms.Duration(TimeSpan.Zero, TimeSpan.FromMinutes(1)), r => r.LeaseKill, (r, v) => r with { LeaseKill = v }, "From the holder's deadline to the last answer it can give.")
        .Key("clock_rate_error", Forms.Share(0, 5), r => r.ClockRateError, (r, v) => r with { ClockRateError = v }, "Largest rate error of a clock.")
        .Key("power_driver", Forms.Word("none", "supervisor", "exec"), r => r.PowerDriver, (r, v) => r with { PowerDriver = v }, "Who can prove a region powered off.")
        .Key("power_command", new ListForm<string>(Forms.Text, "command line, or list of arguments", splitsText: true), r => r.PowerCommand.Count == 0 ? null! : r.PowerCommand, (r, v) => r with { PowerCommand = v }, "The command of `exec`.")
        .Key("contacts", new ListForm<string>(Forms.Text, "list of names with numbers"), r => r.Contacts, (r, v) => r with { Contacts = v }, "Who is called when a region is lost; stands on the recovery sheet.")
        .Key("key_kept", Forms.Text, r => r.KeyKept!, (r, v) => r with { KeyKept = v }, "Where the key for a failover without the server lies (never the key); stands on the recovery sheet.");

    private static readonly PolicyShape<PerformanceRules> Performance = new PolicyShape<PerformanceRules>()
        .Key("monitoring", Forms.Switch, r => r.Enabled, (r, v) => r with { Enabled = v }, "false: nothing is recorded, and whatever judges says \"not measured\".")
        .Key("enforce_budgets", Forms.Switch, r => r.Enforced, (r, v) => r with { Enforced = v }, "Whether a broken budget acts (gates, canaries), or only shows.")
        .Key("slow_query", Latency, r => r.SlowQuery, (r, v) => r with { SlowQuery = v }, "Queries that take longer are listed.");

    private static readonly PolicyShape<MultiRegionRules> Routing = new PolicyShape<MultiRegionRules>()
        .Key("trusted_proxies", new ListForm<string>(Forms.Network, "list of networks"), r => r.TrustedProxies, (r, v) => r with { TrustedProxies = v }, "Networks whose X-Forwarded-For is believed.")
        .Key("read_lag_max", Longer, r => r.ReadLagMax, (r, v) => r with { ReadLagMax = v }, "A copy further behind takes no reads.")
        .Key("hold", Seconds, r => r.Hold.Duration, (r, v) => r with { Hold = r.Hold with { Duration = v } }, "How long a write waits while a run moves the primary, before it gets 503.")
        .Key("hold_requests_max", Forms.Count(0, 100_000), r => r.Hold.RequestsMax, (r, v) => r with { Hold = r.Hold with { RequestsMax = v } }, "Writes that may wait at a gateway.")
        .Key("hold_bodies_max", Forms.Size(0, 1L << 34), r => r.Hold.BodyBytesMax, (r, v) => r with { Hold = r.Hold with { BodyBytesMax = v } }, "Bodies that may wait at a gateway.");

    private static readonly PolicyShape<CacheRules> Cache = new PolicyShape<CacheRules>()
        .Key("enabled", Forms.Switch, r => r.Enabled, (r, v) => r with { Enabled = v }, "Whether gateways cache.")
        .Key("default_ttl", Longer, r => r.DefaultTtl, (r, v) => r with { DefaultTtl = v }, "Freshness of an answer that does not say.")
        .Key("stale_while_revalidate", Longer, r => r.StaleWhileRevalidate, (r, v) => r with { StaleWhileRevalidate = v }, "How long a stale answer may be served while a new one is fetched.")
        .Key("blind_max", Seconds, r => r.BlindMax, (r, v) => r with { BlindMax = v }, "Without news of purges for longer, everything counts as stale.");

    private static readonly PolicyShape<HealthRules> Health = new PolicyShape<HealthRules>()
        .Key("interval", Seconds, r => r.Interval, (r, v) => r with { Interval = v }, "Time between two checks.")
        .Key("timeout", Seconds, r => r.Timeout, (r, v) => r with { Timeout = v }, "How long a check may take.")
        .Key("fall", Forms.Count(1, 100), r => r.Fall, (r, v) => r with { Fall = v }, "Failures in a row that make it down.")
        .Key("rise", Forms.Count(1, 100), r => r.Rise, (r, v) => r with { Rise = v }, "Successes in a row that make it up.")
        .Key("passive_failures", Forms.Share(0, 100), r => r.PassiveFailureShare, (r, v) => r with { PassiveFailureShare = v }, "Share of user requests that must fail before a target counts as down.")
        .Key("passive_requests_min", Forms.Count(1, 1_000_000), r => r.PassiveRequestsMin, (r, v) => r with { PassiveRequestsMin = v }, "Fewer user requests prove nothing.");

    private static readonly PolicyShape<BackupRules> Backups = new PolicyShape<BackupRules>()
        .Key("full", Forms.Cron, r => r.FullSchedule, (r, v) => r with { FullSchedule = v }, "When full backups are made.")
        .Key("incremental", Forms.Cron, r => r.IncrementalSchedule, (r, v) => r with { IncrementalSchedule = v }, "When incremental backups are made.")
        .Key("log_interval", Forms.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromDays(1)), r => r.LogInterval, (r, v) => r with { LogInterval = v }, "At the latest so long after it was written, the transaction log is kept.")
        .Key("full_retention", Retention, r => r.FullRetention, (r, v) => r with { FullRetention = v }, "How long full backups are kept.")
        .Key("incremental_retention", Retention, r => r.IncrementalRetention, (r, v) => r with { IncrementalRetention = v }, "How long incremental backups are kept.");

    private static readonly PolicyShape<DrillRules> Drills = new PolicyShape<DrillRules>()
        .Key("weekly", Forms.Cron, r => r.Weekly, (r, v) => r with { Weekly = v }, "Automated failover.")
        .Key("monthly", Forms.Cron, r => r.Monthly, (r, v) => r with { Monthly = v }, "Full simulation.")
        .Key("quarterly", Forms.Cron, r => r.Quarterly, (r, v) => r with { Quarterly = v }, "Cross-region data recovery.")
        .Key("annually", Forms.Cron, r => r.Annually, (r, v) => r with { Annually = v }, "Complete disaster.")
        .Key("scenario", Forms.Name, r => r.Scenario, (r, v) => r with { Scenario = v }, "What the monthly drill tries: a name of `br dr drill scenarios`.")
        .Key("outage_max", Forms.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(15)), r => r.OutageMax, (r, v) => r with { OutageMax = v }, "A drill of the calendar takes itself back when users would be without writes for longer.");

    private static readonly PolicyShape<Rfc2136Rules> Rfc2136 = new PolicyShape<Rfc2136Rules>()
        .Key("server", Forms.Server, r => r.Server!, (r, v) => r with { Server = v }, "The zone's primary server, which takes the updates.")
        .Key("zone", Forms.Host, r => r.Zone!, (r, v) => r with { Zone = v }, "Zone that the name lies in; without it the server is asked.")
        .Key("key_name", Forms.Host, r => r.KeyName, (r, v) => r with { KeyName = v }, "Name of the TSIG key, as the server knows it.")
        .Key("key_algorithm", Forms.Word("hmac-sha256", "hmac-sha384", "hmac-sha512"), r => r.KeyAlgorithm, (r, v) => r with { KeyAlgorithm = v }, "Algorithm of the key.")
        .Key("key", Forms.Secret, r => r.Key!, (r, v) => r with { Key = v }, "The key in base64, by reference.");

    private static readonly PolicyShape<CloudflareRules> Cloudflare = new PolicyShape<CloudflareRules>()
        .Key("token", Forms.Secret, r => r.Token!, (r, v) => r with { Token = v }, "API token with DNS Write on the zone, by reference.")
        .Key("zone_id", Forms.Name, r => r.ZoneId!, (r, v) => r with { ZoneId = v }, "Id of the zone; without it the zone is looked up, for which the token needs Zone Read too.")
        .Key("api", Forms.Url, r => r.Api, (r, v) => r with { Api = v }, "Address of the API.");

    private static readonly PolicyShape<DnsExecRules> DnsExec = new PolicyShape<DnsExecRules>()
        .Key("command", new ListForm<string>(Forms.Text, "command line, or list of arguments", splitsText: true), r => r.Command.Count == 0 ? null! : r.Command, (r, v) => r with { Command = v }, "Program and arguments; it reads JSON and writes JSON (docs/guide/dns.md).")
        .Key("timeout", Forms.Duration(TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(1)), r => r.Timeout, (r, v) => r with { Timeout = v }, "It is ended after this.");

    private static readonly PolicyShape<DnsRules> Dns = new PolicyShape<DnsRules>()
        .Key("driver", Forms.Word(DnsRules.None, DnsRules.Embedded, DnsRules.Zonefile, DnsRules.Rfc2136, DnsRules.Cloudflare, DnsRules.Exec), r => r.Driver, (r, v) => r with { Driver = v }, "Who keeps the records of the users' name.")
        .Key("name", Forms.Host, r => r.Name.Length == 0 ? null! : r.Name, (r, v) => r with { Name = v }, "The users' name; `primary.NAME` follows the primary.")
        .Key("ttl", Forms.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromDays(1)), r => r.Ttl, (r, v) => r with { Ttl = v }, "How long an answer may be kept.")
        .Key("addresses", new MapForm<IReadOnlyList<string>>(new ListForm<string>(Forms.Host, "list of addresses"), "REGION: list of addresses", Forms.NameWrong), r => r.Addresses, (r, v) => r with { Addresses = v }, "Where users reach a region's gateway; without an entry at the host of its `endpoint`.")
        .Key("weights", new MapForm<int>(Forms.Count(0, 1000), "REGION: whole number", Forms.NameWrong), r => r.Weights, (r, v) => r with { Weights = v }, "Shares of the regions, 100 without an entry; 0 keeps users away while another region lives.")
        .Key("servers", new ListForm<string>(Forms.Server, "list of servers"), r => r.Servers, (r, v) => r with { Servers = v }, "Authoritative servers that every write is read back from; empty: those of the zone's NS records.")
        .Key("resolvers", new ListForm<string>(Forms.Server, "list of servers"), r => r.Resolvers, (r, v) => r with { Resolvers = v }, "Resolvers that are watched; nothing waits for them before traffic resumes.")
        .Key("check_interval", Forms.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromHours(1)), r => r.CheckInterval, (r, v) => r with { CheckInterval = v }, "How often records that are well are read back; a change by hand is put back within it.")
        .Key("listen", Forms.Listen, r => r.Listen, (r, v) => r with { Listen = v }, "Where `embedded` answers.")
        .Key("answers", Forms.Word<DnsChoice>(), r => r.Answers, (r, v) => r with { Answers = v }, "What `embedded` answers of several: the gateway nearest the asker, one by `weights`, or all.")
        .Key("name_servers", new ListForm<string>(Forms.Host, "list of host names"), r => r.NameServers, (r, v) => r with { NameServers = v }, "Names that `embedded` gives in NS and SOA; empty: `ns.NAME`.")
        .Key("file", Forms.Text, r => r.File!, (r, v) => r with { File = v }, "Zone file that `file` writes.")
        .Part("rfc2136", Rfc2136, r => r.Update, (r, v) => r with { Update = v }, "Dynamic update with TSIG: BIND, Knot, PowerDNS.")
        .Part("cloudflare", Cloudflare, r => r.CloudflareApi, (r, v) => r with { CloudflareApi = v }, "Cloudflare's API.")
        .Part("exec", DnsExec, r => r.Command, (r, v) => r with { Command = v }, "A command of your own.");

    private static readonly PolicyShape<ObjectiveDefinition> Objective = new PolicyShape<ObjectiveDefinition>()
        .Key("errors", Forms.Optional(Forms.Share(0, 99.9999m)), o => o.ErrorsMin, (o, v) => o with { ErrorsMin = v }, "Share of answers that are no errors; without it 100% less the budget's `error_rate`.")
        .Key("availability", Forms.Optional(Forms.Share(0, 99.9999m)), o => o.AvailabilityMin, (o, v) => o with { AvailabilityMin = v }, "Share of 10 s slices in which it works; without it the budget's `availability`.")
        .Key("window", Forms.Duration(TimeSpan.FromHours(1), TimeSpan.FromDays(366)), o => o.Window, (o, v) => o with { Window = v }, "Rolling window that the shares are of.");

    private static readonly PolicyShape<CanaryRules> Canary = new PolicyShape<CanaryRules>()
        .Key("steps", new ListForm<double>(Forms.Percent(0.01m, 100), "list of percent"), r => r.Steps, (r, v) => r with { Steps = v }, "Shares of traffic that a release gets, one after the other; the last is 100%.")
        .Key("hold", Longer, r => r.Hold, (r, v) => r with { Hold = v }, "How long a step is watched before the next.")
        .Key("warm_min", Longer, r => r.WarmMin, (r, v) => r with { WarmMin = v }, "A step is not judged earlier.")
        .Key("warm_requests_min", Forms.Count(1, 1_000_000), r => r.WarmRequestsMin, (r, v) => r with { WarmRequestsMin = v }, "A step is not judged on fewer requests.")
        .Key("warm_max", Longer, r => r.WarmMax, (r, v) => r with { WarmMax = v }, "Without enough requests by then, a person is asked.")
        .Key("check_interval", Seconds, r => r.CheckInterval, (r, v) => r with { CheckInterval = v }, "Time between two looks.")
        .Key("health_failures_max", Forms.Count(0, 1000), r => r.HealthFailuresMax, (r, v) => r with { HealthFailuresMax = v }, "More failed health checks than this stop the release.")
        .Key("burn_rate_max", Forms.Number(1, 1000), r => r.BurnRateMax, (r, v) => r with { BurnRateMax = v }, "A step that burns the error budget faster than this stops the release.")
        .Key("burn_errors_min", Forms.Count(1, 1_000_000), r => r.BurnErrorsMin, (r, v) => r with { BurnErrorsMin = v }, "Fewer errors prove no burn.")
        .Key("false_alarm_max", Forms.Share(0.01m, 50), r => r.FalseAlarmMax, (r, v) => r with { FalseAlarmMax = v }, "Chance at which a release that is no worse may be stopped.")
        .Key("latency_factor_max", Forms.Number(1, 100), r => r.LatencyFactorMax, (r, v) => r with { LatencyFactorMax = v }, "p95 over its budget times this, in 2 of 3 looks, stops the release.")
        .Key("latency_requests_min", Forms.Count(1, 1_000_000), r => r.LatencyRequestsMin, (r, v) => r with { LatencyRequestsMin = v }, "Fewer requests prove no latency.")
        .Key("drain", Longer, r => r.Drain, (r, v) => r with { Drain = v }, "How long a stopped release stays up for what it is still answering.")
        .Key("bake", Longer, r => r.Bake, (r, v) => r with { Bake = v }, "Rest after one region before the next.");

    private static readonly PolicyShape<StorageRules> Storage = new PolicyShape<StorageRules>()
        .Key("driver", StorageDriver(), r => r.Driver, (r, v) => r with { Driver = v }, "Where the server keeps its state: `sqlite`, one file in its data folder.");

    private static readonly PolicyShape<CommandDefinition> Command = new PolicyShape<CommandDefinition>()
        .Key("command", new ListForm<string>(Forms.Text, "command line, or list of arguments", splitsText: true), c => c.Command.Count == 0 ? null! : c.Command, (c, v) => c with { Command = v }, "The program and its arguments; no shell reads them. Secrets do not belong here.", required: true)
        .Key("timeout", Forms.Duration(TimeSpan.FromMilliseconds(100), TimeSpan.FromHours(1)), c => c.Timeout, (c, v) => c with { Timeout = v }, "After so long it is killed.")
        .Key("regions", Forms.Names, c => c.Regions, (c, v) => c with { Regions = v }, "Regions whose agents may run it; empty: all.");

    /// <summary>The whole policy.</summary>
    public static PolicyShape<PolicyDocument> Root { get; } = new PolicyShape<PolicyDocument>()
        .Key("mode", Forms.Word<PolicyMode>(), d => d.Mode, (d, v) => d with { Mode = v }, "`observe` measures, decides, logs \"would have\", and touches nothing.")
        .Part("multiregion_performance_dr", Block, d => d, (_, v) => v, "Routing, recovery and budgets in short.")
        .Entries("regions", Region, code => new() { Code = code, Name = code, Role = RegionRole.Replica, Endpoint = "", Location = default }, r => r.Code, d => d.Regions, (d, v) => d with { Regions = v }, "Where the application runs, by code.")
        .Part("routing", Routing, d => d.MultiRegion, (d, v) => d with { MultiRegion = v }, "Details of routing.")
        .Entries("databases", Database, name => new() { Name = name }, r => r.Name, d => d.Databases, (d, v) => d with { Databases = v }, "PostgreSQL databases by name; without the section there is one, `main`.", writesEmpty: true)
        .Entries("services", Service, name => new() { Name = name }, s => s.Name, d => d.Services, (d, v) => d with { Services = v }, "What runs, by name.", ServiceNames.Canonical)
        .Part("health", Health, d => d.Health, (d, v) => d with { Health = v }, "How regions and services are checked.")
        .Part("performance", Performance, d => d.Performance, (d, v) => d with { Performance = v }, "Measuring.")
        .Entries("performance_budgets", Budget, name => new() { Service = name }, b => b.Service, d => d.Performance.Budgets, (d, v) => d with { Performance = d.Performance with { Budgets = v } }, "What each service may take.", ServiceNames.Canonical, writesEmpty: true)
        .Part("cache", Cache, d => d.Cache, (d, v) => d with { Cache = v }, "Caching at the gateways.")
        .With(new EntriesKey<PolicyDocument, ScalingRules>("autoscaling", Scaling, name => new() { Service = name }, s => s.Service, ServiceNames.Canonical, d => d.Autoscaling, (d, v) => d with { Autoscaling = v }, "How many instances each service has.")
        {
            Extras = [new ValueKey<PolicyDocument, bool>("enabled", Forms.Switch, d => d.AutoscalingEnabled, (d, v) => d with { AutoscalingEnabled = v }, "false: counts stay as they are.", Required: false)],
        })
        .Part("recovery", Recovery, d => d.Recovery, (d, v) => d with { Recovery = v }, "How a lost primary is replaced.")
        .Part("backups", Backups, d => d.Backups, (d, v) => d with { Backups = v }, "When backups are made and how long they are kept.")
        .Part("drills", Drills, d => d.Drills, (d, v) => d with { Drills = v }, "When recovery is tried.")
        .Entries("alerts", Alert, name => new(name, "", "", []), a => a.Name, d => d.Alerts, (d, v) => d with { Alerts = v }, "When somebody is told.")
        .With(new ChannelsKey())
        .Entries("commands", Command, name => new() { Name = name }, c => c.Name, d => d.Commands, (d, v) => d with { Commands = v }, "What a runbook's `exec` may run on a region's host, by name.")
        .Part("dns", Dns, d => d.Dns, (d, v) => d with { Dns = v }, "The users' name.")
        .Entries("objectives", Objective, name => new() { Service = name }, o => o.Service, d => d.Objectives, (d, v) => d with { Objectives = v }, "What each service promises; without an entry it follows from its budgets.", ServiceNames.Canonical)
        .Part("canary", Canary, d => d.Canary, (d, v) => d with { Canary = v }, "How a release takes over traffic, and what stops it.")
        .Part("storage", Storage, d => d.Storage, (d, v) => d with { Storage = v }, "Where the control plane keeps its state.");

    private static ScalarForm<string> StorageDriver() => new(StorageRules.Sqlite,
        text => text == StorageRules.Sqlite ? new(text)
            : Judged<string>.Error(text == "etcd" ? "The driver etcd is not there yet: this BuildRunner keeps its state in one SQLite file." : $"'{PolicyReading.Quote(text)}' is no driver of storage.", $"Write {StorageRules.Sqlite}."),
        text => text);

    private static ScalarForm<string> Condition() => new("condition",
        text => text.Split([" > ", " >= ", " < ", " <= "], StringSplitOptions.None) is [{ Length: > 0 }, { Length: > 0 }] && Forms.Text.Judge(text) is { Wrong: null }
            ? new(text)
            : Judged<string>.Error($"'{PolicyReading.Quote(text)}' is no condition.", "Write a measure, a comparison and a limit: p95_latency > budget * 1.2."),
        text => text);
}
