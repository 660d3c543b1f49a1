namespace BuildRunner.Server.Agent;

/// <summary>The closed set of things an agent may do next with its PostgreSQL of its own accord; fencing and promotion are orders and not among them.</summary>
internal abstract record DatabaseStep
{
    private DatabaseStep() { }

    /// <summary>One clause for people.</summary>
    public required string Reason { get; init; }

    public sealed record Wait : DatabaseStep;

    /// <summary>Asks the server whether this host may start the primary of the epoch.</summary>
    public sealed record Ask : DatabaseStep;
    public sealed record Initialise : DatabaseStep;

    /// <summary>Ends an adoption that was consented to and cut short.</summary>
    public sealed record Adopt : DatabaseStep;

    /// <summary>A new database whose making was cut short runs here: it is ended, and made anew.</summary>
    public sealed record StopUnfinished : DatabaseStep;
    public sealed record StartPrimary : DatabaseStep;

    /// <param name="Anew">True: to follow the assigned primary; false: as it was set before.</param>
    public sealed record StartStandby(bool Anew) : DatabaseStep;

    /// <summary>Makes a copy of the primary; what lies here is replaced.</summary>
    public sealed record Copy : DatabaseStep;

    /// <summary>Sets a running standby to another primary.</summary>
    public sealed record Follow : DatabaseStep;

    /// <summary>Saves what this host wrote past the fork, then makes it a standby again.</summary>
    public sealed record Rejoin : DatabaseStep;

    /// <summary>A primary of an older epoch still runs here while another is open.</summary>
    public sealed record StopStale(long Epoch) : DatabaseStep;
}
