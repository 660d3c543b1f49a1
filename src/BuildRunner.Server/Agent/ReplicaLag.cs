using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent;

/// <summary>
/// How far a standby is behind in time. The time of the last replayed commit alone does not say it: a primary that commits nothing would let
/// it grow without anything being missed.
/// </summary>
internal sealed class ReplicaLag(TimeProvider time)
{
    private (Lsn Known, long At)? _mark;
    private long? _heldAt;

    /// <summary>False: nothing was ever held whole, so that one look says little and a second one may say all.</summary>
    public bool HasHeld => _heldAt is not null;

    /// <summary>
    /// Zero when everything that the primary is known to have written is replayed; else the smaller of the time since the copy last held
    /// everything and the age of the last replayed commit; null while it never streamed.
    /// </summary>
    public double? Seconds(bool streaming, Lsn? replayed, Lsn? received, Lsn? told, double? sinceCommit)
    {
        var now = time.GetTimestamp();
        Lsn? known = told is null && received is null ? null : Lsn.Max(told ?? default, received ?? default);
        if (streaming && (known is null || replayed >= known))
        {
            (_heldAt, _mark) = (now, null);
            return 0;
        }
        if (_mark is { } mark && replayed >= mark.Known)
            (_heldAt, _mark) = (mark.At, null); // what was known then is held now: nothing of that moment is missing
        if (streaming && _mark is null && known is { } end)
            _mark = (end, now);
        if (_heldAt is not { } held)
            return streaming ? sinceCommit is { } age ? Math.Max(0, age) : null : null;
        var sinceHeld = time.GetElapsedTime(held, now).TotalSeconds;
        return Math.Max(0, Math.Min(sinceHeld, sinceCommit ?? sinceHeld));
    }

    /// <summary>It is no standby: what it held says nothing about the next primary.</summary>
    public void Forget() => (_heldAt, _mark) = (null, null);
}
