using BuildRunner.Core.Databases;

namespace BuildRunner.Core.Tests.Simulation;

/// <summary>A stretch of WAL that one primary wrote at one epoch: the model's timeline.</summary>
internal readonly record struct WalSegment(int Promotion, int Epoch, int Start);

/// <summary>A host with agent, guard and PostgreSQL. What stands first survives everything; the rest goes with the process that holds it.</summary>
internal sealed class SimulatedHost(int number)
{
    public readonly int Number = number;

    // On disk: the agent's state file, the fence, and the WAL.
    public int SeenEpoch = 1;
    public int SeenToken;
    public int CutEpoch;
    public int RefusedEpoch;
    public int PromotingEpoch;
    public int PrimaryEpoch;
    public int FencedEpoch;
    public int Following = -1;
    public bool StandbySignal;
    public EpochRecord? Assigned;
    public int AssignedVersion;
    public int ConfirmedAsk;
    public int[] Wal = new int[256];
    public int Inserted;
    public int Flushed;
    public readonly List<WalSegment> Segments = [];

    // PostgreSQL.
    public bool Running;
    public bool Primary;
    public int Postgres; // incarnation
    public bool PostmasterFrozen;
    public readonly List<(int Position, int Write)> Waiting = [];

    // The guard; lives as long as its PostgreSQL, or less.
    public bool Guarded;
    public long? Deadline;
    public bool Timed;
    public int Held; // WAL that waits for the gate

    // The agent.
    public int Step; // grows when a fence cancels what is under way
    public bool Busy;
    public PromiseBook Promised = Promises.Begin(TimeSpan.Zero, TimeSpan.Zero);
    public string? Received;
    public int LeaseEpoch;
    public bool Enforced;
    public int Ask;
    public int Asking; // 0 nothing, 1 the arbiter, 2 the candidates
    public TimeSpan AskedAt;
    public readonly PromiseAnswer?[] Said = new PromiseAnswer?[3];
    public int StartAsk;
    public TimeSpan StuckSince;

    public int MarkerEpoch => Segments.Count == 0 ? 0 : Segments[^1].Epoch;

    public void Append(int record)
    {
        if (Inserted == Wal.Length)
            Array.Resize(ref Wal, Inserted * 2);
        Wal[Inserted++] = record;
    }

    /// <summary>Length of the WAL that both have: up to where their segments differ or the shorter one ends.</summary>
    public int CommonWith(SimulatedHost other)
    {
        var common = 0;
        for (var i = 0; i < Segments.Count && i < other.Segments.Count && Segments[i] == other.Segments[i]; i++)
        {
            var mine = i + 1 < Segments.Count ? Segments[i + 1].Start : Inserted;
            var its = i + 1 < other.Segments.Count ? other.Segments[i + 1].Start : other.Inserted;
            common = Math.Min(mine, its);
        }
        return common;
    }

    /// <summary>Takes over another's WAL up to a position, on top of what both have.</summary>
    public void CopyFrom(SimulatedHost other, int common, int end)
    {
        if (Wal.Length < end)
            Array.Resize(ref Wal, Math.Max(end, Wal.Length * 2));
        Array.Copy(other.Wal, common, Wal, common, end - common);
        Inserted = Flushed = end;
        Segments.Clear();
        foreach (var segment in other.Segments)
        {
            if (segment.Start < end)
                Segments.Add(segment);
        }
    }
}
