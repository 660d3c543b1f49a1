using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent;

/// <summary>
/// For how long a standby has come no nearer to what it should hold. A receiver shows "streaming" for a moment even where the primary has nothing
/// that it could send, and is started again five times a second: only one that has lasted counts as a stream.
/// </summary>
internal sealed class StreamWatch(TimeProvider time)
{
    /// <summary>How old a receiver is that the primary has not turned away.</summary>
    public static readonly TimeSpan Lasting = TimeSpan.FromSeconds(1);
    private Lsn? _replayed;
    private long? _movedAt;

    /// <summary>The count begins anew: something was changed that may help.</summary>
    public void Begin() => _movedAt = time.GetTimestamp();

    /// <param name="reading">What the standby says; null or not a standby: there is nothing to wait for.</param>
    /// <param name="epoch">The epoch whose marker it should hold.</param>
    /// <param name="receiverAge">For how long its receiver has been seen; null: there is none.</param>
    public TimeSpan Look(DatabaseReading? reading, long epoch, TimeSpan? receiverAge)
    {
        var moved = reading is not { State: DatabaseState.Standby } || reading.Replayed != _replayed;
        var streams = reading is { Streaming: true } && reading.MarkerEpoch == epoch && receiverAge >= Lasting;
        if (_movedAt is not { } since || moved || streams)
        {
            _replayed = reading?.Replayed;
            _movedAt = time.GetTimestamp();
            return TimeSpan.Zero;
        }
        return time.GetElapsedTime(since);
    }
}
