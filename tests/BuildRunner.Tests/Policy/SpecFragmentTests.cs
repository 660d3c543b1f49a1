using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;

namespace BuildRunner.Tests.Policy;

/// <summary>The fragments of the specification, letter for letter, load as they stand there.</summary>
[Trait("Category", "unit")]
public class SpecFragmentTests
{
    private const string Block = """
        # governance/policy.yml
        multiregion_performance_dr:
          multiregion:
            enabled: true
            default_region: "us-east-1"
            allowed_regions: ["us-east-1", "us-west-1", "eu-west-1", "ap-south-1"]
            sticky_affinity_minutes: 30
            
          disaster_recovery:
            rpo_minutes: 15
            rto_minutes: 30
            drill_schedule: "0 3 * * 0"  # Weekly
            
          performance:
            budgets:
              api_p95_budget_ms: 400
              api_p99_budget_ms: 900
              web_lcp_budget_ms: 2500
              error_budget_pct: 1.0
        """;

    private const string Budgets = """
        performance_budgets:
          api:
            p50: 100ms
            p95: 400ms
            p99: 900ms
            error_rate: 1.0%
            availability: 99.9%
          
          web:
            lcp: 2500ms      # Largest Contentful Paint
            fid: 100ms       # First Input Delay
            cls: 0.1         # Cumulative Layout Shift
            availability: 99.5%
          
          database:
            p50: 10ms
            p95: 50ms
            p99: 200ms
            availability: 99.99%
        """;

    private const string Autoscaling = """
        autoscaling:
          api:
            min_instances: 2
            max_instances: 20
            target_cpu: 70%
            target_memory: 80%
            scale_up_cooldown: 5m
            scale_down_cooldown: 10m
          
          workers:
            min_instances: 1
            max_instances: 10
            target_queue_depth: 100
            scale_up_cooldown: 2m
            scale_down_cooldown: 5m
        """;

    private const string Alerts = """
        alerts:
          high_latency:
            condition: p95_latency > budget * 1.2
            severity: warning
            channels: [slack, email]
          
          budget_burn:
            condition: error_budget_burn_rate > 10x
            severity: critical
            channels: [pagerduty, slack]
          
          region_failure:
            condition: region_health_check_failures > 3
            severity: critical
            channels: [pagerduty, phone]
        """;

    [Theory]
    [InlineData(Block)]
    [InlineData(Budgets)]
    [InlineData(Autoscaling)]
    [InlineData(Alerts)]
    [InlineData(Block + "\n\n" + Budgets + "\n\n" + Autoscaling + "\n\n" + Alerts)]
    public void Bind_Fragment_Loads(string fragment) => Policies.Good(fragment);

    [Theory]
    [InlineData(Block)]
    [InlineData(Budgets)]
    [InlineData(Autoscaling)]
    [InlineData(Alerts)]
    public void Shipped_HoldsFragment_LetterForLetter(string fragment) =>
        Assert.Contains(fragment.Replace("# governance/policy.yml\n", "", StringComparison.Ordinal), Policies.Shipped, StringComparison.Ordinal);

    [Fact]
    public void Bind_Block_MeansWhatItSays()
    {
        var policy = Policies.Good(Block);
        Assert.True(policy.MultiRegion.Enabled);
        Assert.Equal("us-east-1", policy.MultiRegion.DefaultRegion);
        Assert.Equal(["us-east-1", "us-west-1", "eu-west-1", "ap-south-1"], policy.MultiRegion.AllowedRegions);
        Assert.Equal(TimeSpan.FromMinutes(30), policy.MultiRegion.StickyAffinity);
        Assert.Equal(TimeSpan.FromMinutes(15), policy.Recovery.Rpo);
        Assert.Equal(TimeSpan.FromMinutes(30), policy.Recovery.Rto);
        Assert.Equal("0 3 * * 0", policy.Drills.Weekly);
        var api = policy.Performance.Budgets.Single(b => b.Service == "api");
        Assert.Equal((400, 900, 0.01), (api.P95!.Value.TotalMilliseconds, api.P99!.Value.TotalMilliseconds, api.ErrorRateMax!.Value));
        Assert.Equal(2500, policy.Performance.Budgets.Single(b => b.Service == "web").Lcp!.Value.TotalMilliseconds);
    }

    [Fact]
    public void Bind_Budgets_MeanWhatTheySay()
    {
        var budgets = Policies.Good(Budgets).Performance.Budgets;
        Assert.Equal(["api", "web", "db"], budgets.Select(b => b.Service));
        Assert.Equal((100, 400, 900), (budgets[0].P50!.Value.TotalMilliseconds, budgets[0].P95!.Value.TotalMilliseconds, budgets[0].P99!.Value.TotalMilliseconds));
        Assert.Equal((0.01, 0.999), (budgets[0].ErrorRateMax!.Value, budgets[0].AvailabilityMin!.Value));
        Assert.Equal((2500, 100, 0.1, 0.995), (budgets[1].Lcp!.Value.TotalMilliseconds, budgets[1].Fid!.Value.TotalMilliseconds, budgets[1].ClsMax!.Value, budgets[1].AvailabilityMin!.Value));
        Assert.Equal((10, 0.9999), (budgets[2].P50!.Value.TotalMilliseconds, budgets[2].AvailabilityMin!.Value));
    }

    [Fact]
    public void Bind_Autoscaling_MeansWhatItSays()
    {
        var scaling = Policies.Good(Autoscaling).Autoscaling;
        Assert.Equal(new ScalingRules { Service = "api", InstancesMin = 2, InstancesMax = 20, TargetCpuPercent = 70, TargetMemoryPercent = 80, ScaleUpCooldown = TimeSpan.FromMinutes(5), ScaleDownCooldown = TimeSpan.FromMinutes(10) }, scaling[0]);
        Assert.Equal(new ScalingRules { Service = "worker", InstancesMin = 1, InstancesMax = 10, TargetQueueDepth = 100, ScaleUpCooldown = TimeSpan.FromMinutes(2), ScaleDownCooldown = TimeSpan.FromMinutes(5) }, scaling[1]);
    }

    [Fact]
    public void Bind_Alerts_MeanWhatTheySay()
    {
        var alerts = Policies.Good(Alerts).Alerts;
        Assert.Equal(["high_latency", "budget_burn", "region_failure"], alerts.Select(a => a.Name));
        Assert.Equal(("p95_latency > budget * 1.2", "warning"), (alerts[0].Condition, alerts[0].Severity));
        Assert.Equal(["pagerduty", "phone"], alerts[2].Channels);
    }

    [Fact]
    public void Shipped_Binds_AsTheSandboxNeedsIt()
    {
        var policy = Policies.Good(Policies.Shipped);
        Assert.Equal(["us-east-1", "us-west-1", "eu-west-1", "ap-south-1"], policy.Regions.Select(r => r.Code));
        Assert.Equal([RegionRole.Primary, RegionRole.Standby, RegionRole.Replica, RegionRole.Edge], policy.Regions.Select(r => r.Role));
        Assert.Equal(["127.0.1.1", "127.0.2.1", "127.0.3.1", null], policy.Regions.Select(r => r.DatabaseHost));
        Assert.Equal("http://127.0.4.1:8080", policy.Regions[3].Endpoint);
        Assert.Equal(("main", "shop", "app"), policy.Databases.Select(d => (d.Name, d.DatabaseName, d.User)).Single());
        Assert.Equal([("api", 2, 9101), ("reports", 1, 9201), ("web", 1, 9301), ("worker", 1, 9401)], policy.Services.Select(s => (s.Name, s.Instances, s.PortFrom)));
        Assert.Equal(["shop", "--service", "{service}", "--port", "{port}"], policy.Services[0].Command.Take(5));
        Assert.Contains("{address_file}", policy.Services[0].Command);
        Assert.True(policy.Services.Single(s => s.Name == "reports").Routes.Single().PreferReplica);
        Assert.Equal(("embedded", "shop.br.test", "127.0.0.1:8453"), (policy.Dns.Driver, policy.Dns.Name, policy.Dns.Listen));
    }
}
