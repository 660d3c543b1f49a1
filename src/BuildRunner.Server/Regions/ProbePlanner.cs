using BuildRunner.Client.Databases;
using BuildRunner.Client.Regions;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;

namespace BuildRunner.Server.Regions;

/// <summary>What is to be probed, from the policy and from the instances that agents report.</summary>
internal static class ProbePlanner
{
    public const string GatewayPath = "/br/gateway/healthz";

    /// <param name="policy">The policy in force.</param>
    /// <param name="primary">Region that writes go to: its database is knocked at too; null: none yet.</param>
    /// <param name="instances">Instances by region, as its agent reported them last; a region that never reported is missing.</param>
    public static IReadOnlyList<ProbeTarget> Plan(PolicyDocument policy, IReadOnlyDictionary<string, IReadOnlyList<InstanceReading>> instances, string? primary = null)
    {
        var (interval, timeout) = Pace(policy);
        var targets = new List<ProbeTarget>();
        foreach (var region in policy.Regions)
        {
            targets.Add(Target(region.Code, HealthVerdicts.Gateway, Join(region.Endpoint, GatewayPath), 200));
            if (region.Code == primary && region.DatabaseHost is { } host)
                targets.Add(Target(region.Code, HealthVerdicts.Database, $"postgres://{host}:{region.DatabasePort.ToString(CultureInfo.InvariantCulture)}", 200));
            foreach (var service in policy.Services.Where(s => RunsIn(s, region)))
            {
                foreach (var address in Addresses(service, region.Code, instances))
                    targets.Add(Target(region.Code, service.Name, Join(address, service.HealthPath), service.ExpectedStatus));
            }
        }
        return targets;

        ProbeTarget Target(string region, string service, string address, int status) => new()
        {
            Region = region,
            Service = service,
            Kind = Scheme(address) switch { "tcp" => ProbeKind.Tcp, "postgres" => ProbeKind.Postgres, _ => ProbeKind.Http },
            Address = Scheme(address) is "tcp" or "postgres" ? address[(address.IndexOf("://", StringComparison.Ordinal) + 3)..] : address,
            ExpectedStatus = status,
            Interval = interval,
            Timeout = timeout,
            Fall = policy.Health.Fall,
            Rise = policy.Health.Rise,
        };
    }

    private static string Scheme(string address) => address.IndexOf("://", StringComparison.Ordinal) is > 0 and var end ? address[..end] : "";

    /// <summary>Services with neither regions nor endpoints of their own run wherever there is a database.</summary>
    public static bool RunsIn(ServiceDefinition service, RegionDefinition region) =>
        service.Endpoints.Count > 0 ? service.Endpoints.ContainsKey(region.Code)
        : service.Regions.Count > 0 ? service.Regions.Contains(region.Code)
        : region.DatabaseHost is not null;

    /// <summary>Number of instances that serve or come up here; null: nobody has said.</summary>
    public static int? Instances(ServiceDefinition service, string region, IReadOnlyDictionary<string, IReadOnlyList<InstanceReading>> instances) =>
        service.Endpoints.TryGetValue(region, out var fixedOnes) ? fixedOnes.Count
        : instances.TryGetValue(region, out var reported) ? reported.Count(i => i.Service == service.Name && !i.Draining)
        : null;

    private static IEnumerable<string> Addresses(ServiceDefinition service, string region, IReadOnlyDictionary<string, IReadOnlyList<InstanceReading>> instances) =>
        service.Endpoints.TryGetValue(region, out var fixedOnes) ? fixedOnes
        : instances.TryGetValue(region, out var reported) ? reported.Where(i => i.Service == service.Name && !i.Draining).Select(i => i.Address).Order(StringComparer.Ordinal)
        : [];

    private static (TimeSpan Interval, TimeSpan Timeout) Pace(PolicyDocument policy) => policy.Recovery.AutoFailover
        ? (policy.Recovery.LeaseTtl / 10, policy.Recovery.LeaseTtl / 10)
        : (policy.Health.Interval, policy.Health.Timeout);

    /// <summary>A service that speaks no HTTP is written with `tcp://host:port`: a knock is all there is.</summary>
    private static string Join(string address, string path) =>
        address.StartsWith("tcp://", StringComparison.Ordinal) ? address.TrimEnd('/')
        : $"{(address.Contains("://", StringComparison.Ordinal) ? address : $"http://{address}").TrimEnd('/')}/{path.TrimStart('/')}";
}
