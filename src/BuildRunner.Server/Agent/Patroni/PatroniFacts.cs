using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent.Patroni;

/// <summary>What is so in a region, as its agent found it.</summary>
/// <param name="Cluster">What Patroni says; null: nothing.</param>
/// <param name="Reading">What PostgreSQL says; null: nothing.</param>
/// <param name="Fenced">Highest epoch that ended here.</param>
/// <param name="Upstream">The primary's address as this region reaches it; null: there is none.</param>
internal sealed record PatroniFacts(PatroniCluster? Cluster, DatabaseReading? Reading, long? Fenced, (string Host, int Port)? Upstream)
{
    /// <summary>Timelines of a cluster here that takes writes and of the primary elsewhere; null: not asked, or not to be told.</summary>
    public (PatroniTimeline Here, PatroniTimeline There)? Timelines { get; init; }

    /// <summary>The server has said since it was asked that this region's epoch is open.</summary>
    public bool Confirmed { get; init; }
}

/// <param name="Number">As in `pg_walfile_name`.</param>
/// <param name="History">Its `.history` file; empty: it is the first; null: it may not be read.</param>
internal sealed record PatroniTimeline(int Number, string? History)
{
    /// <summary>
    /// Whether Patroni, as the follower's, sees by itself that a primary of this timeline has left the other's past, and rewinds it. It does for a higher number, and for one
    /// that the other's history names or passes over; a number that is on both sides by chance it takes for the same timeline (`rewind.py`, as of 3.0 to 4.0).
    /// </summary>
    public bool IsRewoundTo(PatroniTimeline other) => Number > other.Number
        || (Number < other.Number && (History is null || other.History is null || TimelineHistory.LeftAt(other.History, Number) is null || TimelineHistory.Begins(History, other.History)));
}
