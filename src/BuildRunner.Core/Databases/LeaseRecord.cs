namespace BuildRunner.Core.Databases;

/// <summary>
/// What must outlive an arbiter: whether the primary of an epoch is held by its lease, and the longest ttl that was ever granted in it. Set after
/// the enforcement was seen, taken back before it is lifted; without it nothing runs out.
/// </summary>
public sealed record LeaseRecord
{
    public int SchemaVersion { get; init; } = 1;
    public required string Database { get; init; }
    public required long Epoch { get; init; }
    public required bool Enforced { get; init; }
    public required TimeSpan Ttl { get; init; }

    /// <summary>The run that takes the epoch: no arbiter grants it any more, also one that begins now; null: none does.</summary>
    public string? WithheldBy { get; init; }

    /// <summary>The record to write before a grant of <paramref name="ttl"/> at an epoch whose enforcement was reported as <paramref name="enforced"/>.</summary>
    public static LeaseRecord For(LeaseRecord? before, string database, long epoch, bool enforced, TimeSpan ttl) => new()
    {
        Database = database,
        Epoch = epoch,
        // Only lifting it takes it back: one renewal that does not see the gate at work proves nothing about the rest.
        Enforced = enforced || (before is { Enforced: true } && before.Epoch == epoch),
        Ttl = before is not null && before.Epoch == epoch && before.Ttl > ttl ? before.Ttl : ttl,
        WithheldBy = before is not null && before.Epoch == epoch ? before.WithheldBy : null,
    };
}
