namespace BuildRunner.Core.Regions;

/// <summary>The role a region has now: the policy's, corrected by who holds the epoch.</summary>
public static class CurrentRole
{
    /// <param name="policy">The role the policy gives the region.</param>
    /// <param name="code">The region.</param>
    /// <param name="primary">Primary by the epoch record; null: there is none yet.</param>
    public static RegionRole Of(RegionRole policy, string code, string? primary) =>
        primary is null ? policy
        : primary == code ? RegionRole.Primary
        : policy == RegionRole.Primary ? RegionRole.Standby // it was replaced, and stands ready again once it has rejoined
        : policy;
}
