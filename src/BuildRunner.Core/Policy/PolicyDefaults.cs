namespace BuildRunner.Core.Policy;

/// <summary>What holds when a whole section is missing.</summary>
internal static class PolicyDefaults
{
    /// <summary>Budgets without the section `performance_budgets`.</summary>
    public static IReadOnlyList<BudgetDefinition> Budgets { get; } =
    [
        new()
        {
            Service = "api",
            P50 = TimeSpan.FromMilliseconds(100),
            P95 = TimeSpan.FromMilliseconds(400),
            P99 = TimeSpan.FromMilliseconds(900),
            ErrorRateMax = 0.01,
            AvailabilityMin = 0.999,
        },
        new()
        {
            Service = "web",
            Lcp = TimeSpan.FromMilliseconds(2500),
            Fid = TimeSpan.FromMilliseconds(100),
            ClsMax = 0.1,
            AvailabilityMin = 0.995,
        },
        new()
        {
            Service = "db",
            P50 = TimeSpan.FromMilliseconds(10),
            P95 = TimeSpan.FromMilliseconds(50),
            P99 = TimeSpan.FromMilliseconds(200),
            AvailabilityMin = 0.9999,
        },
    ];

    public static IReadOnlyList<DatabaseDefinition> Databases { get; } = [new() { Name = "main" }];
}
