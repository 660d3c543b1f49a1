namespace BuildRunner.Core.Policy;

/// <summary>The section `canary`: how a release takes over traffic, and what stops it.</summary>
public sealed record CanaryRules
{
    /// <summary>Shares of traffic, in percent, one after the other.</summary>
    public IReadOnlyList<double> Steps { get; init; } = [5, 10, 25, 50, 100];

    /// <summary>How long a step is watched once it has been warmed.</summary>
    public TimeSpan Hold { get; init; } = TimeSpan.FromMinutes(5);
    public TimeSpan WarmMin { get; init; } = TimeSpan.FromSeconds(60);
    public int WarmRequestsMin { get; init; } = 50;
    public TimeSpan WarmMax { get; init; } = TimeSpan.FromMinutes(10);
    public TimeSpan CheckInterval { get; init; } = TimeSpan.FromSeconds(10);
    public int HealthFailuresMax { get; init; } = 3;

    /// <summary>Burn of the canary's own error budget over a step that stops it, with at least so many errors.</summary>
    public double BurnRateMax { get; init; } = 14.4;
    public int BurnErrorsMin { get; init; } = 5;

    /// <summary>Chance at which the sequential test may stop a release that is no worse (alpha).</summary>
    public double FalseAlarmMax { get; init; } = 0.05;

    /// <summary>p95 over the budget times this, in 2 of 3 checks with at least so many requests, stops it.</summary>
    public double LatencyFactorMax { get; init; } = 1.2;
    public int LatencyRequestsMin { get; init; } = 100;

    /// <summary>How long a stopped canary stays up for what it is still answering.</summary>
    public TimeSpan Drain { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Rest after one region before the next.</summary>
    public TimeSpan Bake { get; init; } = TimeSpan.FromMinutes(15);
}
