using BuildRunner.Core.Databases;

namespace BuildRunner.Client.Databases;

/// <summary>An order of a planned move. <paramref name="CutOlderMs"/>: prepare ends client transactions older than this; null: none.</summary>
public sealed record SwitchOrder(string Database, long Epoch, string Run, int? CutOlderMs = null);

/// <summary>What stands in a planned move's way on this host.</summary>
public sealed record InspectResult
{
    public required bool InRecovery { get; init; }

    /// <summary>Oldest transactions of clients, oldest first, at most five.</summary>
    public IReadOnlyList<OpenTransaction> Transactions { get; init; } = [];

    /// <summary>Transactions that are prepared and belong to no session: they move with the data.</summary>
    public int Prepared { get; init; }

    /// <summary>Tables that are emptied by the move, at most ten, and how many there are.</summary>
    public IReadOnlyList<string> Unlogged { get; init; } = [];
    public int UnloggedCount { get; init; }

    /// <summary>Slots that do not move.</summary>
    public IReadOnlyList<string> LogicalSlots { get; init; } = [];
    public int Subscriptions { get; init; }

    /// <summary>Names of `synchronous_standby_names`; empty: asynchronous.</summary>
    public string SynchronousStandbys { get; init; } = "";
}

/// <summary>A client's transaction: how long it has been open, and who has it open.</summary>
public sealed record OpenTransaction(int ProcessId, double AgeMs, string User, string Application, bool Writes, string Query);

/// <summary>How long the checkpoints took, and what was ended.</summary>
public sealed record PrepareResult(double CheckpointMs, int Ended, InspectResult Found);

/// <summary>Everything that was ever acknowledged lies before <paramref name="At"/>.</summary>
public sealed record SealResult(Lsn At, int Timeline, bool Effect, double Milliseconds);

public sealed record ReachOrder(string Database, long Epoch, string Run, Lsn Until, int LimitMs);

public sealed record ReachResult(Lsn Replayed, double Milliseconds);
