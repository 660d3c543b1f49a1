using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent;

/// <summary>What this candidate promised to a primary in failsafe. Only in memory: after a start it refuses promotion for one ttl.</summary>
internal sealed class PromiseKeeper(AgentStateFile state, AssignmentBook book)
{
    private readonly Lock _gate = new();
    private PromiseBook _promised = Promises.Begin(book.Current?.Database?.Lease?.Ttl ?? TimeSpan.Zero, Now);

    private static TimeSpan Now => TimeSpan.FromMilliseconds(AgentNative.BootMilliseconds());

    /// <summary>How long promotion is refused yet.</summary>
    public TimeSpan Left
    {
        get { lock (_gate) return Promises.Left(_promised, Now); }
    }

    public PromiseAnswer Give(PromiseAsk ask)
    {
        if (book.Current?.Database is not { Lease: { } lease } assignment || assignment.Name != ask.Database || (ask.Lineage is { } lineage && lineage != assignment.Lineage))
            return new PromiseAnswer { Given = false, Reason = "it knows of no such lease" };
        lock (_gate)
        {
            var current = state.Current;
            var (promised, answer) = Promises.Give(_promised, ask, current.SeenEpoch, current.RefusedEpoch, current.Promoting ?? current.PrimaryEpoch, lease.Ttl, Now);
            _promised = promised;
            return answer;
        }
    }

    /// <summary>From now on no promise at this epoch or below it; on the disk before this returns.</summary>
    public RefuseResult Refuse(long epoch)
    {
        lock (_gate)
        {
            var effect = state.Current.RefusedEpoch is not { } before || before < epoch;
            state.Change(s => s with { RefusedEpoch = Math.Max(s.RefusedEpoch ?? 0, epoch) });
            return new RefuseResult(Promises.Left(_promised, Now), effect);
        }
    }
}
