using System.Text;
using BuildRunner.Core.Policy;
using BuildRunner.Server.Policy;

namespace BuildRunner.Tests.Policy;

[Trait("Category", "unit")]
public class PolicyErrorsTests
{
    [Theory]
    [InlineData("health: {interval: 2}", "health.interval", "has no unit", "2ms, 2s or 2m")]
    [InlineData("health: {interval: 2 parsecs}", "health.interval", "no unit of time", "400ms")]
    [InlineData("health: {interval: 2h}", "health.interval", "out of range", "from 10ms to 1h")]
    [InlineData("performance_budgets: {api: {error_rate: 1.0}}", "performance_budgets.api.error_rate", "has no unit", "Write 1%")]
    [InlineData("routing: {hold_bodies_max: 10}", "routing.hold_bodies_max", "has no unit", "10KiB")]
    [InlineData("multiregion_performance_dr: {disaster_recovery: {rpo_minutes: 15m}}", "multiregion_performance_dr.disaster_recovery.rpo_minutes", "no plain number", "Write 15;")]
    [InlineData("cache: {enabled: yes}", "cache.enabled", "neither true nor false", "Write true.")]
    [InlineData("cahce: {enabled: true}", "cahce", "not known as a section", "Did you mean `cache`?")]
    [InlineData("zebra: 1", "zebra", "not known as a section", "Known here:")]
    [InlineData("cache: [1]", "cache", "Keys belong here", "default_ttl")]
    [InlineData("cache: {enabled: [true]}", "cache.enabled", "A single value belongs here", "own line")]
    [InlineData("cache: {enabled: }", "cache.enabled", "Nothing is written here", "remove the key")]
    [InlineData("mode: obsreve", "mode", "not known here", "Did you mean `observe`?")]
    [InlineData("health: {fall: 2.5}", "health.fall", "no whole number", "Write 2.")]
    [InlineData("health: {interval: 1s, timeout: 2s}", "health.timeout", "does not fit", "at most the interval")]
    [InlineData("dns: {driver: embedded}", "dns.name", "needs a name", "name:")]
    [InlineData("dns: {driver: bind, name: n.test}", "dns.driver", "not known here", "rfc2136")]
    [InlineData("dns: {driver: file, name: n.test}", "dns.file", "needs a file", "file:")]
    [InlineData("dns: {driver: rfc2136, name: n.test, rfc2136: {server: 10.0.0.53}}", "dns.rfc2136.key", "needs a TSIG key", "tsig-keygen")]
    [InlineData("dns: {driver: rfc2136, name: n.test, rfc2136: {key: \"env:K\"}}", "dns.rfc2136.server", "takes updates", "server: 10.0.0.53")]
    [InlineData("dns: {driver: rfc2136, name: n.test, rfc2136: {server: 10.0.0.53, key: bW9ja3NlY3JldA==}}", "dns.rfc2136.key", "plain text", "file:PATH", 2)]
    [InlineData("dns: {driver: rfc2136, name: n.test, rfc2136: {server: \"10.0.0.53:x\", key: \"env:K\"}}", "dns.rfc2136.server", "no address of a server", "ns1.example.org:5353", 2)]
    [InlineData("dns: {driver: cloudflare, name: n.test, ttl: 60s}", "dns.cloudflare.token", "needs an API token", "env:NAME")]
    [InlineData("dns: {driver: cloudflare, name: n.test, cloudflare: {token: \"env:T\"}}", "dns.ttl", "takes no `ttl` of 5s", "60s")]
    [InlineData("dns: {driver: exec, name: n.test}", "dns.exec.command", "needs a command", "command:")]
    [InlineData("dns: {driver: embedded, name: n.test, listen: \"0.0.0.0:53\"}", "dns.name_servers", "every address", "ns1.example.org")]
    [InlineData("dns: {weights: {us-esat-1: 3}}\nregions: {us-east-1: {role: primary, endpoint: \"http://10.0.0.1\", latitude: 1, longitude: 1}}", "dns.weights.us-esat-1", "not among `regions`", "Did you mean `us-east-1`?")]
    [InlineData("dns: {driver: embedded, name: n.test}\nregions: {a: {role: primary, endpoint: \"http://10.0.0.1\", latitude: 1, longitude: 1}, b: {role: standby, endpoint: \"http://b.test\", latitude: 1, longitude: 1}}", "dns.addresses.b", "addresses, not host names", "b: [192.0.2.1]", 2)]
    [InlineData("dns: {listen: 8453}", "dns.listen", "no address to listen on", "127.0.0.1:8453")]
    [InlineData("routing: {trusted_proxies: [10.0.0.0/33]}", "routing.trusted_proxies[0]", "no network", "10.0.0.0/8")]
    [InlineData("autoscaling: {api: {min_instances: 5, max_instances: 4}}", "autoscaling.api.max_instances", "more than", "lower")]
    [InlineData("performance_budgets: {api: {p50: 1s, p95: 400ms}}", "performance_budgets.api.p50", "more than p95", "only grow")]
    [InlineData("performance_budgets: {db: {p50: 1ms}, database: {p50: 1ms}}", "performance_budgets.database", "are the same", "remove one")]
    [InlineData("recovery: {auto_failover: true, fencing: confirm}", "recovery.fencing", "needs `lease`", "fencing: lease")]
    [InlineData("recovery: {fencing: lease}", "recovery.fencing", "needs automatic failover", "auto_failover: true")]
    [InlineData("recovery: {lease_ttl: 10s, lease_hold: 9s}", "recovery.lease_hold", "not safe", "at most 8480ms")]
    [InlineData("recovery: {lease_kill: 3s}", "recovery.lease_kill", "not safe", "lease_hold")]
    [InlineData("recovery: {lease_ttl: 2s}", "recovery.lease_ttl", "leaves no time", "3s")]
    [InlineData("recovery: {power_driver: exec}", "recovery.power_command", "needs a command", "power_command")]
    [InlineData("databases: {main: {driver: patroni}}\nregions: {a: {role: primary, endpoint: \"http://10.0.0.1\", latitude: 1, longitude: 1, database_host: db.test}}", "databases.main.patroni", "no address of its Patroni", "a: [http://HOST:8008", 2)]
    [InlineData("databases: {main: {patroni: {a: [\"http://10.0.0.1:8008\"]}}}", "databases.main.patroni", "with its driver only", "driver: patroni")]
    [InlineData("databases: {main: {driver: patroni}}\nrecovery: {auto_failover: true}", "recovery.auto_failover", "nothing could fail over by itself", "power_driver")]
    [InlineData("databases: {main: {driver: patroni}}\nrecovery: {replication: quorum}", "recovery.replication", "Patroni's to say", "asynchronous")]
    [InlineData("services: {api: {database: mian}}", "services.api.database", "not among `databases`", "Did you mean `main`?")]
    [InlineData("services: {a: {port_from: 9000, instances: 5}, b: {port_from: 9004}}", "services.b.port_from", "a takes ports 9000 to 9004", "9005")]
    [InlineData("services: {api: {environment: {DB_PASSWORD: hunter2}}}", "services.api.environment.DB_PASSWORD", "plain text", "env:API_DB_PASSWORD")]
    [InlineData("services: {api: {routes: [{cache: public}]}}", "services.api.routes[0].path", "is missing", "Write it")]
    [InlineData("services: {a b: {}}", "services.a b", "is no name", "another name")]
    [InlineData("alerts: {a: {condition: p95, severity: warning, channels: [log]}}", "alerts.a.condition", "no condition", "p95_latency > budget")]
    [InlineData("alerts: {a: {condition: p95 > 1, severity: warning, channels: [smoke]}}", "alerts.a.channels[0]", "not among `channels`", "Known here")]
    [InlineData("channels: {x: {type: webhook, url: \"https://u:p@h/\"}}", "channels.x.url", "plain text", "env:X_URL")]
    [InlineData("channels: {x: {type: pagerduty, routing_key: \"env:\"}}", "channels.x.routing_key", "names nothing", "env:X_ROUTING_KEY")]
    [InlineData("channels: {x: {type: slack}}", "channels.x.webhook", "is missing", "env:NAME")]
    [InlineData("channels: {x: {type: file, pth: a}}", "channels.x.pth", "not known for a channel of type file", "Did you mean `path`?", 2)]
    [InlineData("multiregion_performance_dr: {multiregion: {default_region: eu-west-1, allowed_regions: [us-east-1]}}", "multiregion_performance_dr.multiregion.default_region", "not among `allowed_regions`", "Allow it there")]
    [InlineData("multiregion_performance_dr: {performance: {budgets: {api_p59_budget_ms: 1}}}", "multiregion_performance_dr.performance.budgets.api_p59_budget_ms", "not known", "Did you mean `api_p")]
    [InlineData("drills: {weekly: 0 3 * * 9}", "drills.weekly", "no cron expression", "0 2 * * *")]
    [InlineData("objectives: {api: {errors: 99}}", "objectives.api.errors", "has no unit", "Write 99%.")]
    [InlineData("objectives: {api: {availability: 100%}}", "objectives.api.availability", "out of range", "99.9999%")]
    [InlineData("objectives: {ap: {errors: 99%}}\nservices: {api: {}}", "objectives.ap", "not among `services`", "Did you mean `api`?")]
    [InlineData("objectives: {api: {latency: 99%}}", "objectives.api.latency", "is not known", "Known here: availability, errors, window")]
    [InlineData("canary: {steps: [5%, 50%]}", "canary.steps", "last step is not 100%", "[5%, 10%, 25%, 50%, 100%]")]
    [InlineData("canary: {steps: [50%, 10%, 100%]}", "canary.steps", "do not grow", "small to 100%")]
    [InlineData("canary: {steps: []}", "canary.steps", "no step", "small to 100%")]
    [InlineData("canary: {steps: [5, 100%]}", "canary.steps[0]", "has no unit", "Write 5%.")]
    [InlineData("canary: {warm_min: 20m}", "canary.warm_min", "more than `warm_max`", "raise the other")]
    [InlineData("storage: {driver: etcd}", "storage.driver", "not there yet", "Write sqlite.")]
    [InlineData("storage: {driver: postgres}", "storage.driver", "no driver of storage", "Write sqlite.")]
    [InlineData("a: &x 1", "a", "anchor", "Remove", 2)]
    [InlineData("cache: {<<: 1}", "cache", "merge", "keys themselves")]
    [InlineData("mode: !!str act", "mode", "type tag", "Remove it.")]
    [InlineData("mode: act\n---\nmode: act", "", "second document", "one document")]
    [InlineData("mode: act\nmode: act", "mode", "stands here already, in line 1", "line 2", 1, true)]
    [InlineData("{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{", "", "", "", -1)]
    [InlineData("", "", "empty", "governance/policy.yml")]
    [InlineData("# only words\n", "", "empty", "governance/policy.yml")]
    [InlineData("just words", "", "Keys belong here", "Known here")]
    public void Bind_Mistake_IsNamedWithItsFix(string text, string path, string says, string fix, int count = 1, bool fixElsewhere = false)
    {
        var errors = Policies.Bind(text).Errors;
        if (count >= 0)
            Assert.True(errors.Count == count, string.Join('\n', errors));
        var error = errors.First(e => e.Path == path && e.Message.Contains(says, StringComparison.Ordinal));
        Assert.True(error.At.Line >= 1 && error.At.Column >= 1);
        if (!fixElsewhere)
            Assert.Contains(fix, error.Fix, StringComparison.Ordinal);
    }

    [Fact]
    public void Bind_PlainSecrets_AreNeverQuoted()
    {
        var errors = Policies.Bind("services: {api: {environment: {DB_PASSWORD: hunter2}}}\nchannels: {x: {type: webhook, url: \"https://u:hunter2@h/\"}}").Errors;
        Assert.Equal(2, errors.Count);
        Assert.DoesNotContain("hunter2", string.Join('\n', errors), StringComparison.Ordinal);
    }

    [Fact]
    public void Bind_BrokenLines_DoNotHideOtherErrors()
    {
        var errors = Policies.Bind("health:\n  fall: \"3\n  rise: 2\ncache:\n  enabled: maybe\n  blind_max: [1\ndns:\n  ttl: 5\n").Errors;
        Assert.Contains(errors, e => e.At.Line == 2);
        Assert.Contains(errors, e => e.Path == "cache.enabled");
        Assert.Contains(errors, e => e.Path == "dns.ttl");
    }

    [Theory]
    [InlineData("cache:\n\tenabled: true\n\tblind_max: 5s\n")]
    [InlineData("performance_budgets:\n\tapi:\n\t\tp50: 1ms\n\tweb:\n\t\tlcp: 1s\n")]
    [InlineData("performance_budgets:\n    api:\n\tp50: 1ms\n")]
    public void Bind_Tabs_AreReportedAndReadThrough(string text)
    {
        var errors = Policies.Bind(text).Errors;
        Assert.Equal(text.Count(c => c == '\n') - text.Split('\n').Count(l => l.Length > 0 && l[0] != '\t'), errors.Count);
        Assert.All(errors, e => Assert.Contains("tab", e.Message, StringComparison.Ordinal));
    }

    [Fact]
    public void Bind_NotUtf8_SaysWhere()
    {
        var error = Assert.Single(PolicyFile.Bind(new byte[] { (byte)'a', (byte)'\n', 0xff, 0xfe }, "p.yml", new Dictionary<string, string>()).Errors);
        Assert.Equal(new PolicyPosition("p.yml", 2, 1), error.At);
    }

    [Fact]
    public void Bind_TooLarge_IsRefused() =>
        Assert.Contains("bytes", Assert.Single(PolicyFile.Bind(Encoding.UTF8.GetBytes(new string('#', PolicyText.BytesMax + 1)), "p.yml", new Dictionary<string, string>()).Errors).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("10s", "8s", "1.5s", 0.001, true)]
    [InlineData("10s", "8480ms", "1.5s", 0.001, true)]
    [InlineData("10s", "8481ms", "1.5s", 0.001, false)]
    [InlineData("10s", "9s", "1.5s", 0.001, false)]
    [InlineData("10s", "8s", "1.5s", 0.05, false)]
    public void LeaseIsSafe_AtTheLimit(string ttl, string hold, string kill, double rate, bool safe)
    {
        static TimeSpan Of(string text) => Units.TryDuration(text, out var value, out _, out _) ? value : throw new ArgumentException(text);
        Assert.Equal(safe, new RecoveryRules { LeaseTtl = Of(ttl), LeaseHold = Of(hold), LeaseKill = Of(kill), ClockRateError = rate }.LeaseIsSafe());
    }

    [Fact]
    public void AutoFailover_BringsTheLease_AndItsVariableTakesItAway()
    {
        Assert.Equal(FencingMode.Lease, Policies.Good("recovery: {auto_failover: true}").Recovery.Fencing);
        Assert.Equal(FencingMode.Confirm, Policies.Good("recovery: {auto_failover: true, fencing: lease}", ("AUTO_FAILOVER_ENABLED", "false")).Recovery.Fencing);
    }

    [Fact]
    public void ObjectivesCanaryAndStorage_AsWritten_AreInTheDocument()
    {
        var policy = Policies.Good("objectives: {api: {errors: 99.5%, availability: 99.95%, window: 7d}, workers: {errors: 99%}}\ncanary: {steps: [1%, 100%], hold: 2m, burn_rate_max: 10}\nstorage: {driver: sqlite}");
        Assert.Equal(new ObjectiveDefinition { Service = "api", ErrorsMin = 0.995, AvailabilityMin = 0.9995, Window = TimeSpan.FromDays(7) }, policy.Objectives[0]);
        Assert.Equal("worker", policy.Objectives[1].Service);
        Assert.Equal([1, 100], policy.Canary.Steps);
        Assert.Equal((TimeSpan.FromMinutes(2), 10, 0.05), (policy.Canary.Hold, policy.Canary.BurnRateMax, policy.Canary.FalseAlarmMax));
        Assert.Equal([5, 10, 25, 50, 100], Policies.Good("mode: act").Canary.Steps);
    }

    /// <summary>What the shipped policy shows in comments may be written as it stands there.</summary>
    [Fact]
    public void Shipped_ItsCommentedSections_AreGoodAndTheDefaults()
    {
        var commented = Policies.Shipped[Policies.Shipped.IndexOf("# objectives:", StringComparison.Ordinal)..].Split('\n')
            .Where(line => System.Text.RegularExpressions.Regex.IsMatch(line, "^# +[a-z_]+:( |$)|^# [a-z]+:$")).Select(line => line[2..]);
        var policy = Policies.Good(string.Join('\n', commented));
        Assert.Equal(new ObjectiveDefinition { Service = "api", ErrorsMin = 0.99, AvailabilityMin = 0.999 }, Assert.Single(policy.Objectives));
        Assert.Equal(new CanaryRules() with { Steps = [] }, policy.Canary with { Steps = [] });
        Assert.Equal(new CanaryRules().Steps, policy.Canary.Steps);
        Assert.Equal(new StorageRules(), policy.Storage);
    }

    [Fact]
    public void WithPortOffset_MovesEveryPort()
    {
        var policy = Policies.Good(Policies.Shipped + "\n").WithPortOffset(1000);
        Assert.Equal("http://127.0.1.1:9080", policy.Regions[0].Endpoint);
        Assert.All(policy.Regions, r => Assert.Equal(r.DatabaseHost is null ? 6432 : 6433, r.DatabasePort));
        Assert.Equal([10101, 10201, 10301, 10401], policy.Services.Select(s => s.PortFrom));
        Assert.Equal("127.0.0.1:9453", policy.Dns.Listen);
        Assert.Same(policy, policy.WithPortOffset(0));
    }
}
