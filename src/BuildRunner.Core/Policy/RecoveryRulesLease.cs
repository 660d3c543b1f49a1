using BuildRunner.Core.Databases;

namespace BuildRunner.Core.Policy;

/// <summary>The inequality that keeps two regions from acknowledging at once: (hold + kill) × (1 + ρ) ≤ ttl × (1 − ρ).</summary>
public static class RecoveryRulesLease
{
    private static readonly TimeSpan Reserve = TimeSpan.FromSeconds(2);

    /// <summary>How long a grant lets its holder acknowledge, by the holder's clock.</summary>
    public static TimeSpan Hold(this RecoveryRules rules) => rules.LeaseHold ?? rules.LeaseTtl - Reserve;

    /// <summary>Lengths of the lease when the policy fences by lease; null: it does not.</summary>
    public static LeaseTerms? Lease(this RecoveryRules rules) => rules.Fencing == FencingMode.Lease ? new LeaseTerms(rules.LeaseTtl, rules.Hold()) : null;

    /// <summary>Known loss up to which a failover that no person asked for goes ahead.</summary>
    public static TimeSpan AutomaticLossMax(this RecoveryRules rules) =>
        rules.LossMax ?? (rules.Replication == ReplicationMode.Asynchronous ? TimeSpan.FromSeconds(10) : TimeSpan.Zero);

    /// <summary>The longest hold that is safe.</summary>
    public static TimeSpan HoldMax(this RecoveryRules rules)
    {
        var exact = (rules.LeaseTtl * ((1 - rules.ClockRateError) / (1 + rules.ClockRateError))) - rules.LeaseKill;
        return exact > TimeSpan.Zero ? TimeSpan.FromMilliseconds(Math.Floor(exact.TotalMilliseconds)) : TimeSpan.Zero;
    }

    public static bool LeaseIsSafe(this RecoveryRules rules) =>
        (rules.Hold() + rules.LeaseKill).Ticks * (1 + (decimal)rules.ClockRateError) <= rules.LeaseTtl.Ticks * (1 - (decimal)rules.ClockRateError);
}
