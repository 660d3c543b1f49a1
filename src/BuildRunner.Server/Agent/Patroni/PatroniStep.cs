namespace BuildRunner.Server.Agent.Patroni;

/// <summary>What is next towards the assignment; every answer carries its reason. Demotion and promotion are orders of a run and never among them, but for a primary whose epoch is over and for one that a run demoted in vain.</summary>
internal abstract record PatroniStep
{
    private PatroniStep() { }

    public required string Reason { get; init; }

    public sealed record Wait : PatroniStep;

    /// <summary>The cluster takes writes as it should: its data is that of the epoch, which it is marked with when it bears no mark yet.</summary>
    public sealed record Adopt(bool Mark) : PatroniStep;

    /// <summary>Be a standby cluster of that address; whoever took writes here takes none any more.</summary>
    public sealed record Follow(string Region, string Host, int Port) : PatroniStep;

    /// <summary>
    /// Be promoted once more, so that the cluster's timeline has a number of its own. A primary that came back after its region was given up may have promoted
    /// itself to the very number that the new one took; Patroni compares numbers, would take the two for one and let it follow over data that differs.
    /// </summary>
    public sealed record Part : PatroniStep;

    /// <summary>Be a standby cluster of nobody: an epoch is open elsewhere, and from where to go on is not known yet.</summary>
    public sealed record Silence : PatroniStep;

    /// <summary>It was demoted for a run that never had its proof, and the epoch may be open still: ask the server.</summary>
    public sealed record Ask : PatroniStep;

    /// <summary>The epoch is open still, as the server has said since it was asked: take writes again.</summary>
    public sealed record Restore : PatroniStep;

    /// <summary>It follows as it should, and is nobody's primary.</summary>
    public sealed record Followed : PatroniStep;
}
