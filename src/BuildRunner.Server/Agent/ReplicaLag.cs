using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent;

/// <summary>
/// How far a standby is behind in time, by this host's clock alone: what the primary was known to have written is noted at each look, and the
/// newest note that is replayed says how old the copy's state is. The age of the last replayed commit would compare two hosts' clocks, and grow
/// while a primary commits nothing; it is used only until something was held whole.
/// </summary>
internal sealed class ReplicaLag(TimeProvider time)
{
    private const int NotesMax = 256;
    private readonly Queue<(Lsn Known, long At)> _notes = new();
    private (Lsn Known, long At)? _lastNoted;
    private long _spacing;
    private long? _heldAt;
    private long? _behindSince;

    /// <summary>False: nothing was ever held whole, so that one look says little and a second one may say all.</summary>
    public bool HasHeld => _heldAt is not null;

    /// <param name="streaming">The receiver has a stream: it was sent something, or was not turned away for a while.</param>
    /// <param name="replayed">Position of the last replayed record.</param>
    /// <param name="received">Position that was received and flushed.</param>
    /// <param name="told">End of the primary's WAL as it last said.</param>
    /// <param name="sinceCommit">Seconds since the last replayed commit, by the primary's clock then and this host's now.</param>
    /// <returns>
    /// Zero when everything that the primary is known to have written is replayed; else the time since the newest moment whose writes are all
    /// replayed; null while it never streamed.
    /// </returns>
    public double? Seconds(bool streaming, Lsn? replayed, Lsn? received, Lsn? told, double? sinceCommit)
    {
        var now = time.GetTimestamp();
        Lsn? known = told is null && received is null ? null : Lsn.Max(told ?? default, received ?? default);
        if (streaming && (known is null || replayed >= known))
        {
            _heldAt = now;
            Drop();
            return 0;
        }
        while (_notes.TryPeek(out var note) && replayed >= note.Known)
            _heldAt = _notes.Dequeue().At; // what was known then is held now: nothing of that moment is missing
        if (_notes.Count == 0)
            _spacing = 0;
        if (streaming && known is { } end)
            Note(end, now);
        if (_heldAt is { } held)
            return time.GetElapsedTime(held, now).TotalSeconds;
        if (!streaming || sinceCommit is not { } age)
            return null;
        _behindSince ??= now;
        return Math.Max(age, time.GetElapsedTime(_behindSince.Value, now).TotalSeconds); // another host's clock may be ahead
    }

    /// <summary>It is no standby: what it held says nothing about the next primary.</summary>
    public void Forget()
    {
        (_heldAt, _behindSince) = (null, null);
        Drop();
    }

    /// <summary>A copy that is behind for long keeps every second note and then takes half as many: the answer stays true, only coarser.</summary>
    private void Note(Lsn end, long now)
    {
        if (_lastNoted is { } last && (end <= last.Known || now - last.At < _spacing))
            return;
        if (_notes.Count == NotesMax)
        {
            for (var i = 0; i < NotesMax; i++)
            {
                var note = _notes.Dequeue();
                if (i % 2 == 0)
                    _notes.Enqueue(note);
            }
            _spacing = (now - _notes.Peek().At) / (NotesMax / 2);
        }
        _lastNoted = (end, now);
        _notes.Enqueue((end, now));
    }

    private void Drop()
    {
        _notes.Clear();
        (_lastNoted, _spacing) = (null, 0);
    }
}
