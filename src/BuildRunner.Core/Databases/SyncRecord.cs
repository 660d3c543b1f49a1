using System.Text.Json.Serialization;

namespace BuildRunner.Core.Databases;

/// <summary>
/// What is certain of an epoch's acknowledged commits: at least <paramref name="Required"/> of <paramref name="Members"/> hold each of them, flushed.
/// It is weakened before commits wait for fewer copies, and strengthened after they wait for more and those have caught up. An epoch record without
/// one is asynchronous: nothing is claimed, and where there is a lease, the guard's gate holds commits back past its end.
/// </summary>
/// <param name="Members">Codes of regions; none when nothing is claimed.</param>
/// <param name="Required">How many of them hold each acknowledged commit; 0: nothing is claimed.</param>
/// <param name="State">How this came about.</param>
/// <param name="Since">When it was written, by the server's wall clock; for people only, never compared.</param>
public sealed record SyncRecord(IReadOnlyList<string> Members, int Required, SyncState State, DateTimeOffset Since)
{
    /// <summary>At least one copy holds every acknowledged commit.</summary>
    [JsonIgnore]
    public bool Claims => Required > 0;

    /// <summary>So many members that no commit can be acknowledged without one of them; the one among them that holds most holds every acknowledged commit.</summary>
    [JsonIgnore]
    public int CutsNeeded => Members.Count - Required + 1;

    /// <summary>Same claim and state, whenever it was written.</summary>
    public bool Says(SyncRecord? other) =>
        other is not null && other.Required == Required && other.State == State && other.Members.Count == Members.Count && Members.All(other.Members.Contains);
}

[JsonConverter(typeof(SnakeCaseEnumConverter<SyncState>))]
public enum SyncState
{
    /// <summary>What commits wait for is what the policy wants of the copies there are.</summary>
    Sync,

    /// <summary>What commits wait for is being changed: only what is claimed is certain, and the end of a lease proves nothing.</summary>
    Changing,

    /// <summary>No copy can be waited for; commits wait for none, as if replication were asynchronous.</summary>
    Degraded,
}
