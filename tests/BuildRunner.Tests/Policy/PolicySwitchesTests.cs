using BuildRunner.Core.Policy;

namespace BuildRunner.Tests.Policy;

[Trait("Category", "unit")]
public class PolicySwitchesTests
{
    private const string Regions = """
        regions:
          us-east-1: {role: primary, endpoint: "http://10.0.0.1:80", latitude: 1, longitude: 1, database_host: 10.0.0.1}
          us-west-1: {role: standby, endpoint: "http://10.0.0.2:80", latitude: 1, longitude: 1, database_host: 10.0.0.2}
        """;

    [Theory]
    [InlineData("MULTIREGION_ENABLED", "multiregion_performance_dr: {multiregion: {enabled: $}}")]
    [InlineData("PERFORMANCE_MONITORING_ENABLED", "performance: {monitoring: $}")]
    [InlineData("PERF_BUDGET_ENFORCEMENT", "performance: {enforce_budgets: $}")]
    [InlineData("DR_ENABLED", "recovery: {enabled: $}")]
    [InlineData("AUTO_FAILOVER_ENABLED", "recovery: {auto_failover: $}")]
    [InlineData("EDGE_CACHE_ENABLED", "cache: {enabled: $}")]
    [InlineData("AUTOSCALING_ENABLED", "autoscaling: {enabled: $}")]
    public void Switch_OnAndOff_InFileAndVariable(string variable, string file)
    {
        var reason = Reason(variable);
        foreach (var on in new[] { true, false })
        {
            var word = on ? "true" : "false";
            var other = on ? "false" : "true";
            var others = variable == "AUTO_FAILOVER_ENABLED" ? [] : new[] { ("AUTO_FAILOVER_ENABLED", "true") };
            var byFile = Policies.Good($"{Regions}\n{file.Replace("$", word, StringComparison.Ordinal)}", others);
            var byVariable = Policies.Good($"{Regions}\n{file.Replace("$", other, StringComparison.Ordinal)}", [.. others, (variable, word)]);
            Assert.Equal(on, reason(byFile) is null);
            Assert.Equal(on, reason(byVariable) is null);
        }
    }

    [Fact]
    public void Observe_ForbidsEveryAct_AlsoAPersons()
    {
        var policy = Policies.Good("mode: observe");
        Assert.NotNull(policy.WhyNoAct());
        Assert.NotNull(policy.WhyNoRun());
        Assert.NotNull(policy.WhyNoFailover());
        Assert.NotNull(policy.WhyNoAutomaticAct(frozen: false));
        Assert.NotNull(policy.WhyNoScaling(frozen: false, down: false));
        Assert.Null(Policies.Good("mode: act").WhyNoAct());
    }

    [Fact]
    public void Freeze_ForbidsAutomaticActsOnly()
    {
        var policy = Policies.Good("mode: act");
        Assert.NotNull(policy.WhyNoAutomaticAct(frozen: true));
        Assert.Null(policy.WhyNoAutomaticAct(frozen: false));
        Assert.Null(policy.WhyNoFailover());
    }

    [Fact]
    public void MonitoringOff_ForbidsScalingDown_NotUp()
    {
        var policy = Policies.Good("performance: {monitoring: false}");
        Assert.Null(policy.WhyNoScaling(frozen: false, down: false));
        Assert.NotNull(policy.WhyNoScaling(frozen: false, down: true));
    }

    private static Func<PolicyDocument, string?> Reason(string variable) => variable switch
    {
        "MULTIREGION_ENABLED" => p => p.WhyNoFailover(),
        "PERFORMANCE_MONITORING_ENABLED" => p => p.WhyNotMeasured(),
        "PERF_BUDGET_ENFORCEMENT" => p => p.WhyNoEnforcement(),
        "DR_ENABLED" => p => p.WhyNoRun(),
        "AUTO_FAILOVER_ENABLED" => p => p.WhyNoAutomaticFailover(frozen: false),
        "EDGE_CACHE_ENABLED" => p => p.WhyNoCaching(),
        _ => p => p.WhyNoScaling(frozen: false, down: false),
    };
}
