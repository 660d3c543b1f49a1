using BuildRunner.Core.Databases;

namespace BuildRunner.Client.Databases;

/// <summary>Kinds of orders that an agent carries out on its database.</summary>
public static class DatabaseOrders
{
    /// <summary><see cref="FenceOrder"/> → <see cref="FenceResult"/>: end PostgreSQL at once, remember the fence on disk, stay down.</summary>
    public const string Fence = "database.fence";

    /// <summary><see cref="RefuseOrder"/> → <see cref="RefuseResult"/>: promise nothing more at this epoch or below; undone by <see cref="Uncut"/>.</summary>
    public const string Refuse = "database.refuse";

    /// <summary><see cref="CutOrder"/> → <see cref="CutResult"/>: refuse the epoch and all before it, stop receiving, replay to the end.</summary>
    public const string Cut = "database.cut";

    /// <summary><see cref="CutOrder"/> → <see cref="CutResult"/>: receive from the primary again (undo of a cut).</summary>
    public const string Uncut = "database.uncut";

    /// <summary><see cref="CatchUpOrder"/> → <see cref="CutResult"/>: a copy that was cut takes what another cut copy holds more, and is cut again.</summary>
    public const string CatchUp = "database.catch_up";

    /// <summary><see cref="PromoteOrder"/> → <see cref="PromoteResult"/>: become the primary of an epoch and write its marker.</summary>
    public const string Promote = "database.promote";

    /// <summary><see cref="PromoteOrder"/> → <see cref="PromoteResult"/>: start a fenced primary again as the primary of the next epoch.</summary>
    public const string Restart = "database.restart";

    /// <summary><see cref="SwitchOrder"/> → <see cref="InspectResult"/>: what a switchover would meet here; changes nothing.</summary>
    public const string Inspect = "database.inspect";

    /// <summary><see cref="SwitchOrder"/> → <see cref="PrepareResult"/>: checkpoints, and on a standby replay that waits for no query.</summary>
    public const string Prepare = "database.prepare";

    /// <summary><see cref="SwitchOrder"/> → <see cref="SealResult"/>: from now on commits wait and none is answered.</summary>
    public const string Seal = "database.seal";

    /// <summary><see cref="SwitchOrder"/> → <see cref="SealResult"/>: undo of prepare and seal; commits that waited are answered.</summary>
    public const string Unseal = "database.unseal";

    /// <summary><see cref="ReachOrder"/> → <see cref="ReachResult"/>: wait until a standby has replayed a position.</summary>
    public const string Reach = "database.reach";
}

/// <param name="Database">Name of the database.</param>
/// <param name="Epoch">The epoch that ends here.</param>
/// <param name="Run">The run that ends it.</param>
/// <param name="EndKnown">Where its WAL ends need not be looked up: a seal bounds what was acknowledged.</param>
public sealed record FenceOrder(string Database, long Epoch, string Run, bool EndKnown = false);

/// <summary>The proof, and whether this order did it (false: it was so already).</summary>
public sealed record FenceResult(FenceProof Proof, bool Effect, Lsn? End);

public sealed record RefuseOrder(string Database, long Epoch, string Run);

/// <summary>How long the last promise to a primary in failsafe still runs, and whether this order did it.</summary>
public sealed record RefuseResult(TimeSpan PromiseLeft, bool Effect);

public sealed record CutOrder(string Database, long Epoch, string Run);

/// <summary>Where the other copy is, as its own region reaches it, and the position to reach.</summary>
public sealed record CatchUpOrder(string Database, long Epoch, string Run, string From, string Host, int Port, Lsn Until);

public sealed record CutResult(int Timeline, Lsn Received, Lsn Replayed, long? MarkerEpoch, bool Effect);

/// <param name="Database">Name of the database.</param>
/// <param name="Epoch">The epoch that begins here.</param>
/// <param name="Run">The run that begins it.</param>
/// <param name="Proof">What proved the former epoch silent; a promise given in failsafe is kept unless it is certain without a clock.</param>
public sealed record PromoteOrder(string Database, long Epoch, string Run, FenceProofKind? Proof = null);

/// <summary>The new timeline, where it forked, and whether this order did it (false: it was so already).</summary>
public sealed record PromoteResult(int Timeline, Lsn Fork, bool Effect, double Milliseconds);
