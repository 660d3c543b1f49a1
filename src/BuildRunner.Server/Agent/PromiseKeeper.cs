using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent;

/// <summary>
/// What this candidate promised to a primary in failsafe. Only in memory: after a start it refuses promotion for the longest that was ever promised,
/// which is on the disk before the promise is given.
/// </summary>
internal sealed class PromiseKeeper(AgentStateFile state, AssignmentBook book)
{
    private readonly Lock _gate = new();
    private PromiseBook _promised = Promises.Begin(Longer(book.Current?.Database?.Lease?.Ttl ?? TimeSpan.Zero, state.Current.PromisedTtl), Now);
    private bool _given;

    private static TimeSpan Now => TimeSpan.FromMilliseconds(AgentNative.BootMilliseconds());

    /// <summary>How long promotion is refused yet.</summary>
    public TimeSpan Left
    {
        get { lock (_gate) return Promises.Left(_promised, Now); }
    }

    /// <summary>
    /// The same for a promotion after the proof `expired`: the promise that this process does not know of was waited out by the run that had it refuse
    /// the epoch before, on the disk.
    /// </summary>
    public TimeSpan LeftAfter(long formerEpoch)
    {
        lock (_gate)
            return !_given && state.Current.RefusedEpoch >= formerEpoch ? TimeSpan.Zero : Promises.Left(_promised, Now);
    }

    private static TimeSpan Longer(TimeSpan one, TimeSpan other) => one > other ? one : other;

    public PromiseAnswer Give(PromiseAsk ask)
    {
        if (book.Current?.Database is not { Lease: { } lease } assignment || assignment.Name != ask.Database || (ask.Lineage is { } lineage && lineage != assignment.Lineage))
            return new PromiseAnswer { Given = false, Reason = "it knows of no such lease" };
        lock (_gate)
        {
            var current = state.Current;
            var (promised, answer) = Promises.Give(_promised, ask, current.SeenEpoch, current.RefusedEpoch, current.Promoting ?? current.PrimaryEpoch, lease.Ttl, Now);
            if (answer.Given)
            {
                state.Change(s => s with { PromisedTtl = Longer(s.PromisedTtl, Longer(ask.Ttl, lease.Ttl)) });
                _given = true;
            }
            _promised = promised;
            return answer;
        }
    }

    /// <summary>From now on no promise at this epoch or below it; on the disk before this returns.</summary>
    public RefuseResult Refuse(long epoch, string run)
    {
        lock (_gate)
        {
            var effect = state.Current.RefusedEpoch is not { } before || before < epoch;
            state.Change(s => s with { RefusedEpoch = Math.Max(s.RefusedEpoch ?? 0, epoch), RefusedRun = run });
            return new RefuseResult(Promises.Left(_promised, Now), effect);
        }
    }
}
