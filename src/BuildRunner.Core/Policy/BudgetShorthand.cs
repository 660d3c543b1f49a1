namespace BuildRunner.Core.Policy;

/// <summary>
/// `api_p95_budget_ms: 400` under `multiregion_performance_dr.performance.budgets` is short for `performance_budgets.api.p95: 400ms`,
/// `error_budget_pct: 1.0` for `performance_budgets.api.error_rate: 1.0%`.
/// </summary>
internal sealed record BudgetShorthandKey() : PolicyKey<PerformanceRules>(null, "", Required: false)
{
    private const string Ending = "_budget_ms";
    private static readonly string[] Services = ["api", "web", "edge", "db", "database", "worker", "workers", "auth"];
    private static readonly ScalarForm<TimeSpan> Milliseconds = Forms.Bare(TimeSpan.FromMilliseconds(1), "milliseconds", TimeSpan.FromMilliseconds(0.1), TimeSpan.FromHours(1));
    private static readonly Dictionary<string, Func<BudgetDefinition, TimeSpan, BudgetDefinition>> Metrics = new(StringComparer.Ordinal)
    {
        ["p50"] = (b, v) => b with { P50 = v },
        ["p95"] = (b, v) => b with { P95 = v },
        ["p99"] = (b, v) => b with { P99 = v },
        ["lcp"] = (b, v) => b with { Lcp = v },
        ["fid"] = (b, v) => b with { Fid = v },
        ["inp"] = (b, v) => b with { Inp = v },
    };

    public override IEnumerable<string> Names => Services.SelectMany(s => Metrics.Keys.Select(m => $"{s}_{m}{Ending}"));

    public override bool Takes(string key) => Split(key) is not null;

    public override PerformanceRules Read(PerformanceRules owner, PolicyEntry entry, PolicyPath path, PolicyReading reading)
    {
        if (Split(entry.Key) is not var (service, metric))
            return owner;
        var at = path.Child(entry.Key) with { Canonical = $"performance_budgets.{service}.{metric}" };
        if (Milliseconds.TryRead(entry.Value, at, reading, out var value))
        {
            reading.Later((document, now) => now.Set(at, entry.At, new PolicyNode.Scalar(Units.Write(value)))
                ? document.WithBudget(service, b => Metrics[metric](b, value))
                : document);
        }
        return owner;
    }

    public override IEnumerable<PolicyEntry> Write(PerformanceRules owner) => [];

    public override IEnumerable<PolicyKeyRow> Describe(string prefix, PerformanceRules seed) =>
        [new($"{prefix}SERVICE_METRIC{Ending}", Milliseconds.Words, "shorthand for `performance_budgets.SERVICE.METRIC`", "A budget: METRIC is p50, p95, p99, lcp, fid or inp.", false)];

    private static (string Service, string Metric)? Split(string key)
    {
        if (!key.EndsWith(Ending, StringComparison.Ordinal))
            return null;
        var name = key[..^Ending.Length];
        var cut = name.LastIndexOf('_');
        return cut > 0 && Metrics.ContainsKey(name[(cut + 1)..]) && Services.Contains(name[..cut], StringComparer.Ordinal)
            ? (ServiceNames.Canonical(name[..cut]), name[(cut + 1)..])
            : null;
    }
}

internal static class PolicyDocumentEntries
{
    public static PolicyDocument WithBudget(this PolicyDocument document, string service, Func<BudgetDefinition, BudgetDefinition> change) =>
        document with { Performance = document.Performance with { Budgets = Change(document.Performance.Budgets, b => b.Service == service, () => new() { Service = service }, change) } };

    public static PolicyDocument WithScaling(this PolicyDocument document, string service, Func<ScalingRules, ScalingRules> change) =>
        document with { Autoscaling = Change(document.Autoscaling, s => s.Service == service, () => new() { Service = service }, change) };

    private static IReadOnlyList<V> Change<V>(IReadOnlyList<V> list, Func<V, bool> isIt, Func<V> make, Func<V, V> change) =>
        list.Any(isIt) ? [.. list.Select(v => isIt(v) ? change(v) : v)] : [.. list, change(make())];
}
