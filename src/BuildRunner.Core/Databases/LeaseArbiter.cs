namespace BuildRunner.Core.Databases;

/// <summary>
/// What an arbiter remembers of a database's lease, in memory only: a new arbiter begins with <see cref="LeaseArbiter.Begin"/> and expires nothing
/// for one ttl. Times are of the arbiter's monotonic clock.
/// </summary>
public sealed record LeaseBook
{
    /// <summary>Makes this arbiter's answers different from every other's.</summary>
    public required string Arbiter { get; init; }

    /// <summary>Before this nothing has run out: an arbiter before this one may have granted until it began.</summary>
    public required TimeSpan NothingBefore { get; init; }
    public long Epoch { get; init; }
    public string? Holder { get; init; }
    public long Answers { get; init; }

    /// <summary>Up to when the holder may think that it holds, whatever it received; null: nothing was granted at this epoch.</summary>
    public TimeSpan? EndsAt { get; init; }

    /// <summary>When the oldest grant went out that no renewal has confirmed since; null: all are.</summary>
    public TimeSpan? UnconfirmedSince { get; init; }

    /// <summary>A run obtains its proof: renewals of this epoch are granted no more.</summary>
    public bool Withheld { get; init; }

    /// <summary>When the holder last asked, or this arbiter began.</summary>
    public TimeSpan AskedAt { get; init; }
}

/// <summary>Whether a lease has run out.</summary>
public abstract record LeaseEnd
{
    private LeaseEnd() { }

    /// <summary>Nobody holds it any more.</summary>
    /// <param name="Evidence">One clause for people.</param>
    /// <param name="Since">How long ago its holder's deadline passed, at the latest.</param>
    public sealed record RunOut(string Evidence, TimeSpan Since) : LeaseEnd;

    /// <summary>It may be held until <paramref name="Until"/> of the arbiter's clock.</summary>
    public sealed record Runs(TimeSpan Until) : LeaseEnd;
}

/// <summary>
/// Grants the leave to acknowledge at an epoch, and says when it has ended. The record of the epoch decides who may have it; this only counts time.
/// </summary>
public static class LeaseArbiter
{
    /// <summary>A new arbiter. It may grant at once, because the record is durable; it expires nothing for one <paramref name="ttl"/>, the longest that was ever granted.</summary>
    public static LeaseBook Begin(string arbiter, TimeSpan ttl, TimeSpan now) => new() { Arbiter = arbiter, NothingBefore = now + ttl, AskedAt = now };

    /// <summary>An arbiter that was stalled handles the renewals that wait before it lets anything run out.</summary>
    public static LeaseBook Awake(LeaseBook book, LeaseTerms terms, TimeSpan now) =>
        book with { NothingBefore = Later(book.NothingBefore, now + (terms.Pace * 2)), AskedAt = Later(book.AskedAt, now + (terms.Pace * 2) - terms.Ttl) };

    /// <summary>
    /// How long its holder has not asked, once that is a whole ttl: it cannot reach this arbiter, or it cannot act any more. Seen from here alone it is no
    /// proof of anything, for the candidates' promises may carry it. Null: it asks, or nothing is known of this epoch.
    /// </summary>
    public static TimeSpan? Silence(LeaseBook book, EpochRecord record, LeaseTerms terms, TimeSpan now) =>
        book.Epoch == record.Epoch && now - book.AskedAt >= terms.Ttl ? now - book.AskedAt : null;

    /// <summary>From now on no renewal of the epoch is granted. The run that obtains a proof says so before it counts.</summary>
    public static LeaseBook Withhold(LeaseBook book, long epoch) => At(book, epoch, null) with { Withheld = true };

    /// <summary>The run gave up: the epoch goes on.</summary>
    public static LeaseBook Restore(LeaseBook book, long epoch) => book.Epoch == epoch ? book with { Withheld = false } : book;

    public static (LeaseBook Book, LeaseAnswer Answer) Renew(LeaseBook book, EpochRecord? record, LeaseAsk ask, LeaseTerms terms, TimeSpan now)
    {
        if (record is null)
            return Say(book, "the database has no epoch yet");
        if (record.Epoch < book.Epoch)
            return Say(book, $"epoch {book.Epoch} has begun since this was asked");
        if (ask.Epoch < record.Epoch || (ask.Epoch == record.Epoch && ask.Region != record.Primary))
            return Refuse(book, $"epoch {record.Epoch} of {record.Database} belongs to {record.Primary}");
        if (ask.Epoch > record.Epoch)
            return Say(book, $"{ask.Region} is at epoch {ask.Epoch}, and the record only at {record.Epoch}: the record is an old copy");
        book = At(book, record.Epoch, ask.Region) with { AskedAt = now };
        if (book.Withheld)
            return Say(book, $"run {record.Run} takes epoch {record.Epoch} from {ask.Region}"); // it may yet give it back
        if (ask.Received == Id(book) && book.Answers > 0)
            book = book with { UnconfirmedSince = null };
        if (book.UnconfirmedSince is { } since && now - since >= terms.Ttl)
            return Say(book, "no answer of the last lease reached its holder"); // this answer carries a new id: the next renewal can confirm it
        var ends = now + (ask.Ttl > terms.Ttl ? ask.Ttl : terms.Ttl); // its holder may not have heard of new lengths yet
        book = book with
        {
            Answers = book.Answers + 1,
            EndsAt = book.EndsAt > ends ? book.EndsAt : ends,
            UnconfirmedSince = book.UnconfirmedSince ?? now,
        };
        return (book, new LeaseAnswer { Id = Id(book), Granted = true });
    }

    /// <summary>Whether the lease of an epoch has ended, counted by this arbiter alone.</summary>
    public static LeaseEnd End(LeaseBook book, EpochRecord record, LeaseTerms terms, TimeSpan now)
    {
        var granted = book.Epoch == record.Epoch ? book.EndsAt : null;
        var until = granted is { } at && at > book.NothingBefore ? at : book.NothingBefore;
        // Nothing else keeps a renewal from being granted a moment from now.
        if (book.Epoch != record.Epoch || !book.Withheld)
            return new LeaseEnd.Runs(now + terms.Ttl > until ? now + terms.Ttl : until);
        if (now < until)
            return new LeaseEnd.Runs(until);
        return new LeaseEnd.RunOut(
            granted is null
                ? $"no lease of epoch {record.Epoch} was granted to {record.Primary} since this arbiter began, longer than a lease ago"
                : string.Create(CultureInfo.InvariantCulture, $"the lease of epoch {record.Epoch} in {record.Primary} ended {terms.Ttl.TotalSeconds:0.#} s after its last grant"),
            now - until + (terms.Ttl - terms.Hold));
    }

    private static LeaseBook At(LeaseBook book, long epoch, string? holder) => book.Epoch == epoch && (holder is null || book.Holder is null || book.Holder == holder)
        ? book with { Holder = holder ?? book.Holder }
        : book with { Epoch = epoch, Holder = holder, EndsAt = null, UnconfirmedSince = null, Withheld = false };

    private static TimeSpan Later(TimeSpan one, TimeSpan other) => one > other ? one : other;

    private static (LeaseBook, LeaseAnswer) Say(LeaseBook book, string reason)
    {
        book = book with { Answers = book.Answers + 1 };
        return (book, new LeaseAnswer { Id = Id(book), Reason = reason });
    }

    private static (LeaseBook, LeaseAnswer) Refuse(LeaseBook book, string reason)
    {
        book = book with { Answers = book.Answers + 1 };
        return (book, new LeaseAnswer { Id = Id(book), Refused = true, Reason = reason });
    }

    private static string Id(LeaseBook book) => string.Create(CultureInfo.InvariantCulture, $"{book.Arbiter}-{book.Answers}");
}
