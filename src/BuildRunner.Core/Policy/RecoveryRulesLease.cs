namespace BuildRunner.Core.Policy;

/// <summary>The inequality that keeps two regions from acknowledging at once: (hold + kill) × (1 + ρ) ≤ ttl × (1 − ρ).</summary>
public static class RecoveryRulesLease
{
    private static readonly TimeSpan Reserve = TimeSpan.FromSeconds(2);

    /// <summary>How long a grant lets its holder acknowledge, by the holder's clock.</summary>
    public static TimeSpan Hold(this RecoveryRules rules) => rules.LeaseHold ?? rules.LeaseTtl - Reserve;

    /// <summary>The longest hold that is safe.</summary>
    public static TimeSpan HoldMax(this RecoveryRules rules)
    {
        var exact = (rules.LeaseTtl * ((1 - rules.ClockRateError) / (1 + rules.ClockRateError))) - rules.LeaseKill;
        return exact > TimeSpan.Zero ? TimeSpan.FromMilliseconds(Math.Floor(exact.TotalMilliseconds)) : TimeSpan.Zero;
    }

    public static bool LeaseIsSafe(this RecoveryRules rules) =>
        (rules.Hold() + rules.LeaseKill).Ticks * (1 + (decimal)rules.ClockRateError) <= rules.LeaseTtl.Ticks * (1 - (decimal)rules.ClockRateError);
}
