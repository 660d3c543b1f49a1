using BuildRunner.Core.Policy;

namespace BuildRunner.Tests.Policy;

[Trait("Category", "unit")]
public class PolicyVariablesTests
{
    [Theory]
    [InlineData("MULTIREGION_ENABLED", "false", "multiregion_performance_dr.multiregion.enabled", "false")]
    [InlineData("DEFAULT_REGION", "us-west-1", "multiregion_performance_dr.multiregion.default_region", "us-west-1")]
    [InlineData("STICKY_AFFINITY_MINUTES", "45", "multiregion_performance_dr.multiregion.sticky_affinity_minutes", "45")]
    [InlineData("PERFORMANCE_MONITORING_ENABLED", "false", "performance.monitoring", "false")]
    [InlineData("PERF_BUDGET_ENFORCEMENT", "false", "performance.enforce_budgets", "false")]
    [InlineData("SLOW_QUERY_THRESHOLD_MS", "750", "performance.slow_query", "750ms")]
    [InlineData("DR_ENABLED", "false", "recovery.enabled", "false")]
    [InlineData("BACKUP_SCHEDULE", "0 5 * * *", "backups.full", "0 5 * * *")]
    [InlineData("BACKUP_RETENTION_DAYS", "14", "backups.full_retention", "14d")]
    [InlineData("AUTO_FAILOVER_ENABLED", "true", "recovery.auto_failover", "true")]
    [InlineData("BR_REPLICATION", "synchronous", "recovery.replication", "synchronous")]
    [InlineData("EDGE_CACHE_ENABLED", "false", "cache.enabled", "false")]
    [InlineData("CACHE_DEFAULT_TTL_SECONDS", "60", "cache.default_ttl", "1m")]
    [InlineData("SWR_WINDOW_SECONDS", "90", "cache.stale_while_revalidate", "90s")]
    [InlineData("AUTOSCALING_ENABLED", "false", "autoscaling.enabled", "false")]
    [InlineData("MIN_INSTANCES", "3", "autoscaling.api.min_instances", "3")]
    [InlineData("MAX_INSTANCES", "30", "autoscaling.api.max_instances", "30")]
    [InlineData("TARGET_CPU_PERCENT", "60", "autoscaling.api.target_cpu", "60%")]
    public void Bind_Variable_OverridesTheFile(string name, string value, string path, string effective)
    {
        var plain = Policies.Bind(Policies.Shipped).Values.Single(v => v.Path == path);
        var set = Policies.Bind(Policies.Shipped, (name, value)).Values.Single(v => v.Path == path);
        Assert.NotEqual(effective, plain.Value);
        Assert.Equal((effective, $"env:{name}"), (set.Value, set.Source));
    }

    [Fact]
    public void Bind_EveryVariableOfTheSpecification_IsKnown() =>
        Assert.Equal(17, PolicyBinder.Variables.Select(v => v.Name).Where(name => !name.StartsWith("BR_", StringComparison.Ordinal)).Distinct().Count());

    [Theory]
    [InlineData("MULTIREGION_ENABLED", "maybe", "Write true or false.")]
    [InlineData("DEFAULT_REGION", "us-esat-1", "Did you mean `us-east-1`?")]
    [InlineData("STICKY_AFFINITY_MINUTES", "30m", "Write 30;")]
    [InlineData("SLOW_QUERY_THRESHOLD_MS", "-1", "Write a value from 0.1 to 3600000.")]
    [InlineData("BACKUP_SCHEDULE", "daily", "Write minute, hour")]
    [InlineData("MAX_INSTANCES", "1", "Raise the one or lower the other.")]
    [InlineData("TARGET_CPU_PERCENT", "170", "Write a value from 1 to 100.")]
    public void Bind_BadVariable_IsNamed(string name, string value, string fix)
    {
        var error = Policies.Error(Policies.Shipped, (name, value));
        Assert.Equal(PolicyPosition.Variable(name), error.At);
        Assert.StartsWith($"environment variable {name}: ", error.ToString(), StringComparison.Ordinal);
        Assert.Contains(fix, error.Fix, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("  ")]
    public void Bind_EmptyVariable_IsNotSet(string value) =>
        Assert.Equal(Policies.Bind(Policies.Shipped).Values, Policies.Bind(Policies.Shipped, ("MIN_INSTANCES", value)).Values);

    [Fact]
    public void Bind_ScalingVariables_WithoutSection_ScaleTheApi() =>
        Assert.Equal(("api", 4), Policies.Good("mode: act", ("MIN_INSTANCES", "4")).Autoscaling.Select(s => (s.Service, s.InstancesMin)).Single());
}
