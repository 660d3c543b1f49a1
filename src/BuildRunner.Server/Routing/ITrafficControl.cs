using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Routing;

/// <summary>
/// Lets a run stop the writes to a database at every gateway and let them go again. A hold is a record in the store
/// (`holds/&lt;database&gt;`), so it outlives the server; each gateway ends it by its own clock all the same.
/// Every method bears being called twice with the same arguments.
/// </summary>
internal interface ITrafficControl
{
    /// <summary>
    /// Writes the hold and publishes the table that carries it. A hold of another run is <see cref="TrafficOutcome.Taken"/>, unless that run
    /// has ended: then this one takes it over.
    /// </summary>
    Task<TrafficOutcome> HoldAsync(string database, string holdId, Fence? fence, CancellationToken cancel);

    /// <summary>Ends the hold when it is this one (or none is there) and publishes the table without it.</summary>
    Task<TrafficOutcome> ReleaseAsync(string database, string holdId, Fence? fence, CancellationToken cancel);

    /// <summary>Lets go what a run that has ended still holds, such as one that called a person half way.</summary>
    Task ReleaseEndedAsync(Fence fence, CancellationToken cancel);

    /// <summary>Builds the table from what is so now, publishes it if it differs, and returns the version in force: call it after an epoch has moved.</summary>
    Task<long> PublishAsync(CancellationToken cancel);

    /// <summary>
    /// Waits until every live gateway has a table of at least <paramref name="version"/>, holds under <paramref name="holdId"/>, and has nothing
    /// in flight that it sent before; or the time is up. Never throws for time: the answer says what each gateway said last.
    /// What is still out stands in the way as <paramref name="waitFor"/> says: a dead primary will answer nothing.
    /// </summary>
    Task<GatewayConfirmation> WaitHeldAsync(string database, string holdId, long version, InFlight waitFor, TimeSpan limit, CancellationToken cancel);

    /// <summary>Waits until every live gateway has a table of at least <paramref name="version"/>; or the time is up.</summary>
    Task<GatewayConfirmation> WaitTableAsync(long version, TimeSpan limit, CancellationToken cancel);
}

/// <summary>Requests sent before a hold that are waited for.</summary>
internal enum InFlight
{
    Ignored,
    Writes,

    /// <summary>Also reads that are out to the primary's region.</summary>
    All,
}

/// <summary>How a hold or a release ended.</summary>
internal abstract record TrafficOutcome
{
    private TrafficOutcome() { }

    /// <summary>In the store, and in the table from <paramref name="TableVersion"/> on. <paramref name="Effect"/> is false when it was so already.</summary>
    public sealed record Done(long TableVersion, bool Effect) : TrafficOutcome;

    /// <summary>Another run holds this database's writes.</summary>
    public sealed record Taken(string HoldId) : TrafficOutcome;

    /// <summary>The lease was lost: this server may not act any more.</summary>
    public sealed record Fenced(long Current) : TrafficOutcome;
}

/// <summary>What the gateways said, one entry for each that the policy names.</summary>
internal sealed record GatewayConfirmation(bool Confirmed, IReadOnlyList<GatewayEvidence> Gateways)
{
    /// <summary>One sentence: who confirmed, who did not and why, who is away.</summary>
    public string Sentence => Gateways.Count == 0
        ? "no gateway is known"
        : string.Join("; ", Gateways.Select(g => $"{g.Region}: {g.Said}"));
}

/// <summary>A gateway whose connection broke, or that has not reported for 3 s, is away: it is named, and not waited for (a stale gateway is refused by the host, FAILOVER.md 5).</summary>
internal sealed record GatewayEvidence(string Region, bool Live, bool Confirmed, string Said);
