namespace BuildRunner.Core.Policy;

/// <summary>An entry of `objectives`: what a service promises its users over a window. Null follows from its budgets; shares are fractions.</summary>
public sealed record ObjectiveDefinition
{
    public required string Service { get; init; }

    /// <summary>Share of answers that are no errors; null: 100 % less the budget's error_rate.</summary>
    public double? ErrorsMin { get; init; }

    /// <summary>Share of 10 s slices in which at least half of the requests, or of the probes when there were none, succeeded.</summary>
    public double? AvailabilityMin { get; init; }
    public TimeSpan Window { get; init; } = TimeSpan.FromDays(30);
}
