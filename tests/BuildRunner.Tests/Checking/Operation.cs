using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Checking;

/// <summary>One write of one client: when it was sent and answered, on one monotonic clock, and what it was told.</summary>
/// <param name="Client">Who sent it.</param>
/// <param name="Id">Unique; a row of its own.</param>
/// <param name="Invoked">`Stopwatch` ticks before it was sent.</param>
/// <param name="Completed">`Stopwatch` ticks after its end was known.</param>
/// <param name="Outcome">Fail only when it was surely not executed.</param>
public sealed record Operation(string Client, Guid Id, long Invoked, long Completed, OrderOutcomeKind Outcome)
{
    /// <summary>Epoch it was answered under; null: not told.</summary>
    public long? Epoch { get; init; }

    /// <summary>What `UPDATE counter SET n = n + 1 RETURNING n` answered; null: it did not count.</summary>
    public long? Number { get; init; }

    /// <summary>Its transaction id in the PostgreSQL that answered.</summary>
    public uint? Transaction { get; init; }
}

/// <summary>What was salvaged of an epoch that ended.</summary>
/// <param name="Epoch">The epoch.</param>
/// <param name="Region">Where.</param>
/// <param name="Commits">How many are reported lost; null: it could not be told.</param>
/// <param name="Transactions">What the salvaged WAL holds past the fork.</param>
public sealed record Salvage(long Epoch, string Region, long? Commits, IReadOnlySet<uint> Transactions)
{
    /// <summary>Which are reported lost; null: not told one by one.</summary>
    public IReadOnlySet<uint>? Named { get; init; }
}

/// <summary>What is found once everything is mended.</summary>
public sealed record FinalState
{
    /// <summary>How often each id is in the final primary.</summary>
    public required IReadOnlyDictionary<Guid, int> Held { get; init; }
    public required IReadOnlyList<Salvage> Salvaged { get; init; }

    /// <summary>Regions that say they are the primary.</summary>
    public required IReadOnlyList<string> Primaries { get; init; }

    /// <summary>Checksum of every table, by region.</summary>
    public required IReadOnlyDictionary<string, string> Checksums { get; init; }

    /// <summary>Holds, seals, runs and foreign slots that are left, each in words.</summary>
    public IReadOnlyList<string> Left { get; init; } = [];
}
