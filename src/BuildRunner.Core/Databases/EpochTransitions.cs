namespace BuildRunner.Core.Databases;

/// <summary>What may become of an epoch record. Repeating a move that was made answers the record as it stands, so a run may ask twice.</summary>
public abstract record EpochMove
{
    private EpochMove() { }

    /// <summary>The record to write; equal to the one given when the move was made before.</summary>
    public sealed record Allowed(EpochRecord Record) : EpochMove;

    public sealed record Refused(string Reason) : EpochMove;
}

/// <summary>
/// The only ways in which the right to acknowledge writes moves: open(e) → closing(e) → moving(e+1, target) → open(e+1).
/// Closing may return to open; moving never does; a proof precedes every moving.
/// </summary>
public static class EpochTransitions
{
    /// <summary>The first epoch of a database.</summary>
    public static EpochRecord First(string database, string primary, IReadOnlyList<string> candidates, DateTimeOffset now) => new()
    {
        Database = database,
        Epoch = 1,
        State = EpochState.Open,
        Primary = primary,
        Candidates = candidates,
        At = now,
    };

    /// <summary>A run takes the record: from here on it alone moves it. <paramref name="ended"/>: a run that has ended without giving the record back.</summary>
    public static EpochMove Close(EpochRecord record, string run, DateTimeOffset now, string? ended = null) => record.State switch
    {
        EpochState.Closing when ended is not null && record.Run == ended => new EpochMove.Allowed(record with { Run = run, At = now }),
        EpochState.Open => new EpochMove.Allowed(record with { State = EpochState.Closing, Run = run, At = now }),
        EpochState.Closing when record.Run == run => new EpochMove.Allowed(record),
        _ => Refuse($"epoch {record.Epoch} of {record.Database} is {Word(record)} by run {record.Run}"),
    };

    /// <summary>The run gives up before anything moved: the primary keeps its epoch.</summary>
    public static EpochMove Reopen(EpochRecord record, string run, DateTimeOffset now) => record.State switch
    {
        EpochState.Closing when record.Run == run => new EpochMove.Allowed(record with { State = EpochState.Open, At = now }),
        EpochState.Open when record.Run == run => new EpochMove.Allowed(record),
        EpochState.Moving => Refuse($"epoch {record.Epoch} of {record.Database} is moving to {record.Primary}, and moving never returns"),
        _ => Refuse($"epoch {record.Epoch} of {record.Database} is {Word(record)} by run {record.Run}, not by run {run}"),
    };

    /// <summary>Gives the next epoch to a target. Written before the promote order; needs proof that the epoch before acknowledges nothing more.</summary>
    public static EpochMove Move(EpochRecord record, string target, FenceProof? proof, string run, DateTimeOffset now)
    {
        if (record.State == EpochState.Moving && record.Run == run && record.Primary == target && proof is not null && record.Former?.Proof?.Epoch == proof.Epoch)
            return new EpochMove.Allowed(record);
        if (record.State == EpochState.Open)
            return Refuse($"epoch {record.Epoch} of {record.Database} is open; it is closed first");
        if (record.State == EpochState.Closing && record.Run != run)
            return Refuse($"epoch {record.Epoch} of {record.Database} is closing by run {record.Run}, not by run {run}");
        if (proof is null)
            return Refuse($"there is no proof that epoch {record.Epoch} of {record.Database} acknowledges nothing more in {record.Primary}");
        if (proof.Epoch < record.Epoch || proof.Region != record.Primary)
            return Refuse($"the proof is about epoch {proof.Epoch} in {proof.Region}; one about epoch {record.Epoch} in {record.Primary} is needed");
        if (!record.Candidates.Contains(target))
            return Refuse($"{target} holds no copy of {record.Database} that may be promoted (candidates: {string.Join(", ", record.Candidates)})");
        return new EpochMove.Allowed(record with
        {
            Epoch = record.Epoch + 1,
            State = EpochState.Moving,
            Primary = target,
            Former = new(record.Epoch, record.Primary, proof, null, null),
            Sync = null, // the new epoch has no copy yet; the claim grows again as they follow
            Run = run,
            At = now,
        });
    }

    /// <summary>A new run takes up a move that an ended run left behind: same epoch, same target, and the proof that was given for it.</summary>
    public static EpochMove Adopt(EpochRecord record, string run, DateTimeOffset now) => record.State switch
    {
        EpochState.Moving when record.Run == run => new EpochMove.Allowed(record),
        EpochState.Moving => new EpochMove.Allowed(record with { Run = run, At = now }),
        _ => Refuse($"epoch {record.Epoch} of {record.Database} is {Word(record)}; only a moving epoch is taken up"),
    };

    /// <summary>The target took the epoch: its marker is written and it takes writes.</summary>
    public static EpochMove Open(EpochRecord record, string run, Lsn? fork, int? timeline, DateTimeOffset now) => record.State switch
    {
        EpochState.Moving when record.Run == run => new EpochMove.Allowed(record with
        {
            State = EpochState.Open,
            Former = record.Former is { } former ? former with { Fork = fork, Timeline = timeline } : null,
            At = now,
        }),
        EpochState.Open when record.Run == run && record.Former is not null => new EpochMove.Allowed(record),
        EpochState.Moving => Refuse($"epoch {record.Epoch} of {record.Database} is moving by run {record.Run}, not by run {run}"),
        _ => Refuse($"epoch {record.Epoch} of {record.Database} is {Word(record)}; only a moving epoch opens"),
    };

    /// <summary>
    /// Whoever acted without the server leaves: the ones that may be promoted are those it could reach, so that its primary needs no promise of the others.
    /// They come back when the server adopts the record.
    /// </summary>
    public static EpochMove Narrow(EpochRecord record, IReadOnlyCollection<string> reachable, DateTimeOffset now)
    {
        if (record.State != EpochState.Open)
            return Refuse($"epoch {record.Epoch} of {record.Database} is {Word(record)} by run {record.Run}");
        IReadOnlyList<string> left = [.. record.Candidates.Where(c => c == record.Primary || reachable.Contains(c))];
        return new EpochMove.Allowed(left.Count == record.Candidates.Count ? record : record with { Candidates = left, At = now });
    }

    /// <summary>A server takes over what another one did without it. Repeating it answers the record as it stands.</summary>
    /// <param name="record">Its own.</param>
    /// <param name="theirs">The other's, from the same sequence of epochs.</param>
    public static EpochMove Take(EpochRecord record, EpochRecord theirs)
    {
        if (record.Database != theirs.Database)
            return Refuse($"the journal is about database {theirs.Database}, and the record about {record.Database}");
        if (record.Lineage != theirs.Lineage)
            return Refuse($"the journal counts the epochs of {theirs.Database} in another sequence: it belongs to another house, or to a store that was lost");
        if (record.Epoch > theirs.Epoch || (record.Epoch == theirs.Epoch && record.Run == theirs.Run && record.State == EpochState.Open && theirs.State != EpochState.Open))
            return Refuse($"the record of {record.Database} is at epoch {record.Epoch} already, and the journal ends at epoch {theirs.Epoch}: it is older");
        if (record.Epoch == theirs.Epoch && record.Primary != theirs.Primary)
            return Refuse($"epoch {record.Epoch} of {record.Database} belongs to {record.Primary} here and to {theirs.Primary} in the journal: two servers acted at once. Prove one of the two silent before anything else");
        IReadOnlyList<string> candidates = [.. record.Candidates.Union(theirs.Candidates)];
        var taken = theirs with { Candidates = candidates };
        return new EpochMove.Allowed(taken with { Candidates = record.Candidates } == record && candidates.SequenceEqual(record.Candidates) ? record : taken);
    }

    /// <summary>
    /// What is certain of the acknowledged commits changes, decided from the record <paramref name="before"/>. A run that moves the epoch relies on what it
    /// found: only an open epoch's changes.
    /// </summary>
    public static EpochMove Claim(EpochRecord record, EpochRecord before, SyncRecord? claim) =>
        record.State != EpochState.Open ? Refuse($"epoch {record.Epoch} of {record.Database} is {Word(record)} by run {record.Run}")
        : record.Epoch != before.Epoch || (record.Sync != before.Sync && record.Sync?.Says(before.Sync) != true) ? Refuse($"the record of {record.Database} has changed meanwhile")
        : new EpochMove.Allowed(record with { Sync = claim });

    private static EpochMove.Refused Refuse(string reason) => new($"Refused: {reason}.");

    private static string Word(EpochRecord record) => record.State switch
    {
        EpochState.Open => "open",
        EpochState.Closing => "closing",
        _ => "moving",
    };
}
