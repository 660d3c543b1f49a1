using BuildRunner.Core.Databases;

namespace BuildRunner.Core.Recovery;

/// <summary>A database host as it was asked for what it has saved, by somebody who has no server to ask.</summary>
public sealed record SavedHost
{
    public required string Region { get; init; }

    /// <summary>Why it gave no answer, a clause; null: it answered.</summary>
    public string? Silent { get; init; }

    /// <summary>The epoch record in its newest assignment, and that assignment's version.</summary>
    public EpochRecord? Record { get; init; }
    public long Version { get; init; }

    /// <summary>Highest epoch and fencing token that it obeyed, and their sequence.</summary>
    public long SeenEpoch { get; init; }
    public long SeenToken { get; init; }
    public string? Lineage { get; init; }

    /// <summary>Epoch of which its data is, or ended as, the primary's; and one to which it was being promoted.</summary>
    public long? PrimaryEpoch { get; init; }
    public long? Promoting { get; init; }

    /// <summary>How long ago the server last answered it; null: not since its agent started.</summary>
    public TimeSpan? ServerSilence { get; init; }
    public DatabaseReading? Reading { get; init; }

    /// <summary>How long it is bound yet by a promise to a primary in failsafe not to be promoted.</summary>
    public TimeSpan Promised { get; init; }
}

/// <summary>What somebody wants of a failover without the server.</summary>
/// <param name="Target">Region to be the primary.</param>
/// <param name="AssumeFenced">How it is known that whoever does not answer takes no writes; null: it is not said.</param>
/// <param name="AcceptDataLoss">Goes ahead with an unknown loss.</param>
/// <param name="PowerReady">A power driver can be used from here.</param>
/// <param name="Resumes">A run was cut off and goes on: it was judged when it began, and its own effects are what is found.</param>
public sealed record BreakGlassWish(string Target, string? AssumeFenced, bool AcceptDataLoss, bool PowerReady, bool Resumes = false);
