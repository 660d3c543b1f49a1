namespace BuildRunner.Core.Databases;

/// <summary>
/// Lengths of a lease. The arbiter counts <paramref name="Ttl"/> from granting on its clock, the holder <paramref name="Hold"/> from before asking
/// on its own; (hold + kill) × (1 + ρ) ≤ ttl × (1 − ρ) keeps the holder's end before the arbiter's.
/// </summary>
/// <param name="Ttl">How long the arbiter lets nobody else have the lease after a grant.</param>
/// <param name="Hold">How long a grant lets its holder acknowledge, counted from before it asked.</param>
public sealed record LeaseTerms(TimeSpan Ttl, TimeSpan Hold)
{
    /// <summary>Pace of renewals, and how long one is waited for.</summary>
    public TimeSpan Pace => Ttl / 10;
}

/// <summary>A holder's renewal. It names the last answer that it received, so that an arbiter whose answers get lost learns of it.</summary>
public sealed record LeaseAsk
{
    public int SchemaVersion { get; init; } = 1;
    public required string Database { get; init; }
    public required long Epoch { get; init; }
    public required string Region { get; init; }

    /// <summary><see cref="LeaseAnswer.Id"/> of the last answer received; null: none yet.</summary>
    public string? Received { get; init; }

    /// <summary>Length of a lease as its holder knows it: the arbiter counts the longer of its own and this.</summary>
    public TimeSpan Ttl { get; init; }

    /// <summary>The deadline is enforced on this host: the guard has the gate in its hand, or standbys are required. Only then can the lease run out.</summary>
    public bool Enforced { get; init; }
}

/// <summary>What the arbiter says. Neither granted nor refused: not now; the holder's deadline stands, and its failsafe may carry it.</summary>
public sealed record LeaseAnswer
{
    public int SchemaVersion { get; init; } = 1;
    public required string Id { get; init; }
    public bool Granted { get; init; }

    /// <summary>The epoch is not this holder's any more: it ends at once.</summary>
    public bool Refused { get; init; }
    public string Reason { get; init; } = "";
    public long FencingToken { get; init; }
}
