namespace BuildRunner.Core.Policy;

/// <summary>Environment variables that override the policy, by name.</summary>
internal static class PolicyVariables
{
    private const string Multi = "multiregion_performance_dr.multiregion";
    private static readonly ScalarForm<int> Instances = Forms.Count(0, 1000);
    private static readonly ScalarForm<TimeSpan> Seconds = Forms.Bare(TimeSpan.FromSeconds(1), "seconds", TimeSpan.Zero, TimeSpan.FromDays(366));

    public static IReadOnlyList<PolicyVariable> All { get; } =
    [
        Of("MULTIREGION_ENABLED", $"{Multi}.enabled", Forms.Switch, (d, v) => d with { MultiRegion = d.MultiRegion with { Enabled = v } }),
        Of("DEFAULT_REGION", $"{Multi}.default_region", Forms.Name, (d, v) => d with { MultiRegion = d.MultiRegion with { DefaultRegion = v } }),
        Of("STICKY_AFFINITY_MINUTES", $"{Multi}.sticky_affinity_minutes", Forms.Bare(TimeSpan.FromMinutes(1), "minutes", TimeSpan.Zero, TimeSpan.FromDays(7)), (d, v) => d with { MultiRegion = d.MultiRegion with { StickyAffinity = v } }),
        Of("PERFORMANCE_MONITORING_ENABLED", "performance.monitoring", Forms.Switch, (d, v) => d with { Performance = d.Performance with { Enabled = v } }),
        Of("PERF_BUDGET_ENFORCEMENT", "performance.enforce_budgets", Forms.Switch, (d, v) => d with { Performance = d.Performance with { Enforced = v } }),
        Of("SLOW_QUERY_THRESHOLD_MS", "performance.slow_query", Forms.Bare(TimeSpan.FromMilliseconds(1), "milliseconds", TimeSpan.FromMilliseconds(0.1), TimeSpan.FromHours(1)), (d, v) => d with { Performance = d.Performance with { SlowQuery = v } }),
        Of("DR_ENABLED", "recovery.enabled", Forms.Switch, (d, v) => d with { Recovery = d.Recovery with { Enabled = v } }),
        Of("BACKUP_SCHEDULE", "backups.full", Forms.Cron, (d, v) => d with { Backups = d.Backups with { FullSchedule = v } }),
        Of("BACKUP_RETENTION_DAYS", "backups.full_retention", Forms.Bare(TimeSpan.FromDays(1), "days", TimeSpan.FromHours(1), TimeSpan.FromDays(3660)), (d, v) => d with { Backups = d.Backups with { FullRetention = v } }),
        Of("AUTO_FAILOVER_ENABLED", "recovery.auto_failover", Forms.Switch, (d, v) => d with { Recovery = d.Recovery with { AutoFailover = v } }),
        Of("BR_REPLICATION", "recovery.replication", Forms.Word<ReplicationMode>(), (d, v) => d with { Recovery = d.Recovery with { Replication = v } }),
        Of("EDGE_CACHE_ENABLED", "cache.enabled", Forms.Switch, (d, v) => d with { Cache = d.Cache with { Enabled = v } }),
        Of("CACHE_DEFAULT_TTL_SECONDS", "cache.default_ttl", Seconds, (d, v) => d with { Cache = d.Cache with { DefaultTtl = v } }),
        Of("SWR_WINDOW_SECONDS", "cache.stale_while_revalidate", Seconds, (d, v) => d with { Cache = d.Cache with { StaleWhileRevalidate = v } }),
        Of("AUTOSCALING_ENABLED", "autoscaling.enabled", Forms.Switch, (d, v) => d with { AutoscalingEnabled = v }),
        Of("MIN_INSTANCES", "autoscaling.api.min_instances", Instances, (d, v) => d.WithScaling("api", s => s with { InstancesMin = v })),
        Of("MAX_INSTANCES", "autoscaling.api.max_instances", Instances, (d, v) => d.WithScaling("api", s => s with { InstancesMax = v })),
        Of("TARGET_CPU_PERCENT", "autoscaling.api.target_cpu", Forms.Number(1, 100), (d, v) => d.WithScaling("api", s => s with { TargetCpuPercent = v })),
    ];

    /// <summary>Every variable that is set, and not empty, over what was read.</summary>
    public static PolicyDocument Apply(PolicyDocument document, IReadOnlyDictionary<string, string> variables, PolicyReading reading)
    {
        foreach (var variable in All)
        {
            if (variables.TryGetValue(variable.Name, out var text) && !string.IsNullOrWhiteSpace(text))
                document = variable.Apply(document, text.Trim(), reading);
        }
        return document;
    }

    private static PolicyVariable Of<V>(string name, string path, ScalarForm<V> form, Func<PolicyDocument, V, PolicyDocument> set) => new(name, path, form.Words, (document, text, reading) =>
    {
        var at = PolicyPosition.Variable(name);
        var key = new PolicyPath(path, path);
        if (!form.TryRead(new PolicyNode.Scalar(text, Plain: false) { At = at }, key, reading, out var value))
            return document;
        reading.Set(key, at, form.Write(value));
        return set(document, value);
    });
}

internal sealed record PolicyVariable(string Name, string Path, string Words, Func<PolicyDocument, string, PolicyReading, PolicyDocument> Apply);
