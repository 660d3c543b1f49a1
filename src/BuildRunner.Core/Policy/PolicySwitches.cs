namespace BuildRunner.Core.Policy;

/// <summary>What the switches forbid. Each answers with the reason, for people; null: nothing forbids it.</summary>
public static class PolicySwitches
{
    /// <summary>Any act at all, also one that a person asks for: `observe` measures and decides, and touches nothing.</summary>
    public static string? WhyNoAct(this PolicyDocument policy) =>
        policy.Mode == PolicyMode.Observe ? "The policy says `mode: observe`: what would have been done is only logged, and nothing is touched. Set `mode: act`." : null;

    /// <summary>A run of recovery: backup, drill, failover, restore, whoever starts it.</summary>
    public static string? WhyNoRun(this PolicyDocument policy) =>
        policy.WhyNoAct()
        ?? (policy.Recovery.Enabled ? null : "Disaster recovery is switched off (recovery.enabled, DR_ENABLED): no backup, drill or run starts. Set it to true.");

    /// <summary>A failover, also one that a person asks for.</summary>
    public static string? WhyNoFailover(this PolicyDocument policy) =>
        policy.WhyNoRun()
        ?? (policy.MultiRegion.Enabled ? null : $"Routing by region is switched off (multiregion.enabled, MULTIREGION_ENABLED): everything goes to {policy.MultiRegion.DefaultRegion}, and nothing fails over. Set it to true.");

    /// <summary>An act that no person asked for.</summary>
    public static string? WhyNoAutomaticAct(this PolicyDocument policy, bool frozen) =>
        policy.WhyNoAct() ?? (frozen ? "A freeze is in force: no automatic act." : null);

    /// <summary>A failover that no person asked for.</summary>
    public static string? WhyNoAutomaticFailover(this PolicyDocument policy, bool frozen) =>
        policy.WhyNoFailover()
        ?? policy.WhyNoAutomaticAct(frozen)
        ?? (policy.Recovery.AutoFailover ? null : "Automatic failover is switched off (recovery.auto_failover, AUTO_FAILOVER_ENABLED).");

    /// <summary>A judgement on measurements: a budget, a canary, a scale down.</summary>
    public static string? WhyNotMeasured(this PolicyDocument policy) =>
        policy.Performance.Enabled ? null : "Not measured: monitoring is switched off (performance.monitoring, PERFORMANCE_MONITORING_ENABLED).";

    /// <summary>A broken budget that acts rather than shows.</summary>
    public static string? WhyNoEnforcement(this PolicyDocument policy) =>
        policy.WhyNotMeasured()
        ?? (policy.Performance.Enforced ? null : "Budgets only show (performance.enforce_budgets, PERF_BUDGET_ENFORCEMENT).");

    public static string? WhyNoCaching(this PolicyDocument policy) =>
        policy.Cache.Enabled ? null : "Caching is switched off (cache.enabled, EDGE_CACHE_ENABLED).";

    /// <summary>A change of instance counts that no person asked for; nobody scales down on what was not measured.</summary>
    public static string? WhyNoScaling(this PolicyDocument policy, bool frozen, bool down) =>
        policy.WhyNoAutomaticAct(frozen)
        ?? (policy.AutoscalingEnabled ? null : "Autoscaling is switched off (autoscaling.enabled, AUTOSCALING_ENABLED): counts stay as they are.")
        ?? (down ? policy.WhyNotMeasured() : null);
}
