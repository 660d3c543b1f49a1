using BuildRunner.Core.Regions;
using BuildRunner.Core.Routing;

namespace BuildRunner.Core.Policy;

/// <summary>The policy in force, checked and complete: every value is either the user's or a default. One record per section.</summary>
public sealed record PolicyDocument
{
    /// <summary>`observe` measures, decides, logs "would have", and touches nothing.</summary>
    public PolicyMode Mode { get; init; } = PolicyMode.Act;
    public MultiRegionRules MultiRegion { get; init; } = new();
    public RecoveryRules Recovery { get; init; } = new();
    public PerformanceRules Performance { get; init; } = new();
    public CacheRules Cache { get; init; } = new();
    public IReadOnlyList<RegionDefinition> Regions { get; init; } = [];
    public IReadOnlyList<ServiceDefinition> Services { get; init; } = [];
    public IReadOnlyList<DatabaseDefinition> Databases { get; init; } = [];
    public HealthRules Health { get; init; } = new();
    public BackupRules Backups { get; init; } = new();
    public DrillRules Drills { get; init; } = new();
    public IReadOnlyList<AlertRule> Alerts { get; init; } = [];
    public IReadOnlyList<ScalingRules> Autoscaling { get; init; } = [];

    /// <summary>AUTOSCALING_ENABLED.</summary>
    public bool AutoscalingEnabled { get; init; } = true;
    public IReadOnlyList<ChannelDefinition> Channels { get; init; } = [];

    /// <summary>What a runbook's `exec` may run on a region's host.</summary>
    public IReadOnlyList<CommandDefinition> Commands { get; init; } = [];
    public DnsRules Dns { get; init; } = new();
    public IReadOnlyList<ObjectiveDefinition> Objectives { get; init; } = [];
    public CanaryRules Canary { get; init; } = new();
    public StorageRules Storage { get; init; } = new();
}

public enum PolicyMode
{
    Act,
    Observe,
}

/// <summary>`multiregion_performance_dr.multiregion`.</summary>
public sealed record MultiRegionRules
{
    public bool Enabled { get; init; } = true;
    public string DefaultRegion { get; init; } = "us-east-1";

    /// <summary>Empty: every region of `regions`.</summary>
    public IReadOnlyList<string> AllowedRegions { get; init; } = [];
    public TimeSpan StickyAffinity { get; init; } = TimeSpan.FromMinutes(30);
    public IReadOnlyList<string> TrustedProxies { get; init; } = [];
    public TimeSpan ReadLagMax { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long and how many writes wait at a gateway while a run moves the primary.</summary>
    public HoldRules Hold { get; init; } = new();
}

/// <summary>`multiregion_performance_dr.disaster_recovery` and the section `recovery`.</summary>
public sealed record RecoveryRules
{
    /// <summary>DR_ENABLED: false starts no backup, drill or run.</summary>
    public bool Enabled { get; init; } = true;

    /// <summary>AUTO_FAILOVER_ENABLED.</summary>
    public bool AutoFailover { get; init; }
    public TimeSpan Rpo { get; init; } = TimeSpan.FromMinutes(15);
    public TimeSpan Rto { get; init; } = TimeSpan.FromMinutes(30);

    /// <summary>Known loss up to which a person's failover goes ahead; null: the RPO.</summary>
    public TimeSpan? LossMax { get; init; }
    public ReplicationMode Replication { get; init; } = ReplicationMode.Asynchronous;

    /// <summary>`lease` needs automatic failover; default `confirm`.</summary>
    public FencingMode Fencing { get; init; } = FencingMode.Confirm;
    public TimeSpan LeaseTtl { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long a grant lets its holder acknowledge, by the holder's clock; null: the ttl less 2 s.</summary>
    public TimeSpan? LeaseHold { get; init; }

    /// <summary>From the holder's deadline to the last answer it can possibly give.</summary>
    public TimeSpan LeaseKill { get; init; } = TimeSpan.FromSeconds(1.5);

    /// <summary>Largest rate error between two clocks, as a fraction.</summary>
    public double ClockRateError { get; init; } = 0.001;

    /// <summary>Driver that can prove a region powered off: `none`, `supervisor` (br dev), `exec`.</summary>
    public string PowerDriver { get; init; } = "none";
    public IReadOnlyList<string> PowerCommand { get; init; } = [];

    /// <summary>Who is called when a region is lost, as it stands on the recovery sheet: names and numbers.</summary>
    public IReadOnlyList<string> Contacts { get; init; } = [];

    /// <summary>Where the key for a failover without the server lies, for people; null: nobody has said.</summary>
    public string? KeyKept { get; init; }
}

public enum ReplicationMode
{
    Asynchronous,
    Synchronous,
    Quorum,
}

public enum FencingMode
{
    Confirm,
    Lease,
}

/// <summary>`multiregion_performance_dr.performance` and `performance_budgets`.</summary>
public sealed record PerformanceRules
{
    public bool Enabled { get; init; } = true;
    public bool Enforced { get; init; } = true;
    public TimeSpan SlowQuery { get; init; } = TimeSpan.FromMilliseconds(500);
    public IReadOnlyList<BudgetDefinition> Budgets { get; init; } = [];
}

/// <summary>What a service may take; null: no budget for it. Rates and shares are fractions.</summary>
public sealed record BudgetDefinition
{
    public required string Service { get; init; }
    public TimeSpan? P50 { get; init; }
    public TimeSpan? P95 { get; init; }
    public TimeSpan? P99 { get; init; }
    public double? ErrorRateMax { get; init; }
    public double? AvailabilityMin { get; init; }
    public double? ThroughputMin { get; init; }
    public TimeSpan? Lcp { get; init; }
    public TimeSpan? Fid { get; init; }
    public TimeSpan? Inp { get; init; }
    public double? ClsMax { get; init; }
    public double AlertThresholdPercent { get; init; } = 80;
    public IReadOnlyList<string> Errors { get; init; } = ["5xx"];
}

/// <summary>EDGE_CACHE_ENABLED, CACHE_DEFAULT_TTL_SECONDS, SWR_WINDOW_SECONDS and the section `cache`.</summary>
public sealed record CacheRules
{
    public bool Enabled { get; init; } = true;
    public TimeSpan DefaultTtl { get; init; } = TimeSpan.FromMinutes(5);
    public TimeSpan StaleWhileRevalidate { get; init; } = TimeSpan.FromMinutes(5);
    public TimeSpan BlindMax { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>An entry of `regions`.</summary>
public sealed record RegionDefinition
{
    public required string Code { get; init; }
    public required string Name { get; init; }
    public required RegionRole Role { get; init; }

    /// <summary>Base address of the region's gateway.</summary>
    public required string Endpoint { get; init; }
    public required GeoPoint Location { get; init; }

    /// <summary>Host and port of the region's PostgreSQL; null: it has none.</summary>
    public string? DatabaseHost { get; init; }
    public int DatabasePort { get; init; } = 5432;

    /// <summary>Whether a standby's copy takes reads.</summary>
    public bool ServeReads { get; init; } = true;
}

/// <summary>An entry of `services`: what runs, where, and how its requests are routed.</summary>
public sealed record ServiceDefinition
{
    public required string Name { get; init; }
    public string? Database { get; init; }
    public IReadOnlyList<RouteRow> Routes { get; init; } = [];

    /// <summary>Regions that run it; empty: every region with a database.</summary>
    public IReadOnlyList<string> Regions { get; init; } = [];

    /// <summary>Instances per region.</summary>
    public int Instances { get; init; } = 1;

    /// <summary>Requests a second that one instance takes; null: nobody has said.</summary>
    public double? Capacity { get; init; }
    public string Version { get; init; } = "v1";

    /// <summary>Command for the `process` driver; empty: the instances are somebody else's and listed in Endpoints.</summary>
    public IReadOnlyList<string> Command { get; init; } = [];
    public IReadOnlyDictionary<string, string> Environment { get; init; } = new Dictionary<string, string>();
    public int PortFrom { get; init; }
    public string HealthPath { get; init; } = "/healthz";
    public string ReadyPath { get; init; } = "/readyz";
    public int ExpectedStatus { get; init; } = 200;

    /// <summary>POST writes a row through the application's own database path, GET reads it (BuildRunner.Application's endpoint); null: a failover verifies by health alone.</summary>
    public string? VerifyPath { get; init; }
    public string? WarmPath { get; init; }

    /// <summary>Fixed instances per region: `us-east-1` → base addresses.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<string>> Endpoints { get; init; } = new Dictionary<string, IReadOnlyList<string>>();
}

/// <summary>An entry of `databases`; one, named `main`, when the section is missing.</summary>
public sealed record DatabaseDefinition
{
    public required string Name { get; init; }

    /// <summary>Database and role that applications use.</summary>
    public string DatabaseName { get; init; } = "app";
    public string User { get; init; } = "app";

    /// <summary>Who makes, starts and stops PostgreSQL in each region.</summary>
    public DatabaseDriver Driver { get; init; } = DatabaseDriver.Postgresql;

    /// <summary>Driver `patroni`: addresses of Patroni's REST API per region, as the region's own agent reaches them.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<string>> Patroni { get; init; } = new Dictionary<string, IReadOnlyList<string>>();

    /// <summary>Roles as which runbooks may run statements (action `sql`); none: no runbook runs any.</summary>
    public IReadOnlyList<string> RunbookRoles { get; init; } = [];
}

public enum DatabaseDriver
{
    /// <summary>One PostgreSQL a region, run by its agent.</summary>
    Postgresql,

    /// <summary>A Patroni cluster a region, in all but one of them a standby cluster.</summary>
    Patroni,
}

/// <summary>The section `health`.</summary>
public sealed record HealthRules
{
    public TimeSpan Interval { get; init; } = TimeSpan.FromSeconds(2);
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(1);
    public int Fall { get; init; } = 3;
    public int Rise { get; init; } = 2;

    /// <summary>Share of user requests that must fail at a target, over at least PassiveRequestsMin, before it counts as down (0..1).</summary>
    public double PassiveFailureShare { get; init; } = 0.5;
    public int PassiveRequestsMin { get; init; } = 20;
}

/// <summary>BACKUP_SCHEDULE, BACKUP_RETENTION_DAYS and the section `backups`; crons are UTC.</summary>
public sealed record BackupRules
{
    public string FullSchedule { get; init; } = "0 2 * * *";
    public string IncrementalSchedule { get; init; } = "0 */4 * * *";
    public TimeSpan LogInterval { get; init; } = TimeSpan.FromMinutes(15);
    public TimeSpan FullRetention { get; init; } = TimeSpan.FromDays(30);
    public TimeSpan IncrementalRetention { get; init; } = TimeSpan.FromDays(7);
}

/// <summary>`disaster_recovery.drill_schedule` and the section `drills`; crons are UTC.</summary>
public sealed record DrillRules
{
    public string Weekly { get; init; } = "0 3 * * 0";
    public string Monthly { get; init; } = "0 4 1 * *";
    public string Quarterly { get; init; } = "0 4 15 1,4,7,10 *";
    public string Annually { get; init; } = "0 4 15 2 *";

    /// <summary>What the monthly drill tries.</summary>
    public string Scenario { get; init; } = "primary-lost-slow-copy";

    /// <summary>A drill of the calendar takes itself back when users would be without writes for longer.</summary>
    public TimeSpan OutageMax { get; init; } = TimeSpan.FromSeconds(60);
}

/// <summary>An entry of `alerts`; the condition's text is checked for form here, its meaning belongs to Alerting.</summary>
public sealed record AlertRule(string Name, string Condition, string Severity, IReadOnlyList<string> Channels);

/// <summary>An entry of `autoscaling`. Targets are percent; counts are per region.</summary>
public sealed record ScalingRules
{
    public required string Service { get; init; }
    public int InstancesMin { get; init; } = 2;
    public int InstancesMax { get; init; } = 20;
    public double? TargetCpuPercent { get; init; }
    public double? TargetMemoryPercent { get; init; }
    public double? TargetQueueDepth { get; init; }
    public TimeSpan ScaleUpCooldown { get; init; } = TimeSpan.FromMinutes(5);
    public TimeSpan ScaleDownCooldown { get; init; } = TimeSpan.FromMinutes(10);
}

/// <summary>An entry of `channels`; a secret in it is a reference (`env:NAME`, `file:PATH`), never the secret.</summary>
public sealed record ChannelDefinition(string Name, string Type, IReadOnlyDictionary<string, string> Settings);
