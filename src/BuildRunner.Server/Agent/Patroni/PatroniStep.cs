namespace BuildRunner.Server.Agent.Patroni;

/// <summary>What is next towards the assignment; every answer carries its reason. Demotion and promotion are orders of a run and never among them, but for a primary whose epoch is over.</summary>
internal abstract record PatroniStep
{
    private PatroniStep() { }

    public required string Reason { get; init; }

    public sealed record Wait : PatroniStep;

    /// <summary>The cluster takes writes as it should: its data is that of the epoch, which it is marked with when it bears no mark yet.</summary>
    public sealed record Adopt(bool Mark) : PatroniStep;

    /// <summary>Be a standby cluster of that address; whoever took writes here takes none any more.</summary>
    public sealed record Follow(string Region, string Host, int Port) : PatroniStep;

    /// <summary>It follows as it should, and is nobody's primary.</summary>
    public sealed record Followed : PatroniStep;
}
