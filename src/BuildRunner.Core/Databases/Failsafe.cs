namespace BuildRunner.Core.Databases;

/// <summary>A primary without its arbiter asks every recorded candidate: were you promoted, and will you refuse it for one ttl?</summary>
public sealed record PromiseAsk
{
    public int SchemaVersion { get; init; } = 1;
    public required string Database { get; init; }
    public required long Epoch { get; init; }

    /// <summary>The primary that asks.</summary>
    public required string Region { get; init; }
    public string? Lineage { get; init; }

    /// <summary>Length of a lease as the primary knows it: the candidate counts the longer of its own and this.</summary>
    public TimeSpan Ttl { get; init; }
}

public sealed record PromiseAnswer
{
    public int SchemaVersion { get; init; } = 1;

    /// <summary>"Not promoted, and I refuse promotion for `ttl` from now on my clock."</summary>
    public required bool Given { get; init; }
    public string Reason { get; init; } = "";
}

/// <summary>What a candidate remembers of its promises. Times are of its own CLOCK_BOOTTIME.</summary>
/// <param name="Until">Before this it refuses to be promoted.</param>
public sealed record PromiseBook(TimeSpan Until);

/// <summary>What a candidate says to a primary in failsafe, and how long it must refuse promotion afterwards.</summary>
public static class Promises
{
    /// <summary>A restarted candidate does not know what it promised: it refuses promotion for one ttl.</summary>
    public static PromiseBook Begin(TimeSpan ttl, TimeSpan now) => new(now + ttl);

    /// <param name="book">What was promised before.</param>
    /// <param name="ask">The primary's question.</param>
    /// <param name="seenEpoch">Highest epoch this candidate was told.</param>
    /// <param name="refusedEpoch">Highest epoch that it gave up for good: it promises nothing at or below it.</param>
    /// <param name="ownEpoch">Epoch that it was or is being promoted to; null: it is a standby.</param>
    /// <param name="ttl">Length of a lease.</param>
    /// <param name="now">The candidate's clock.</param>
    public static (PromiseBook Book, PromiseAnswer Answer) Give(PromiseBook book, PromiseAsk ask, long seenEpoch, long? refusedEpoch, long? ownEpoch, TimeSpan ttl, TimeSpan now)
    {
        if (seenEpoch > ask.Epoch)
            return (book, No($"epoch {seenEpoch} has begun"));
        if (refusedEpoch >= ask.Epoch)
            return (book, No($"it refuses epoch {refusedEpoch}: a run takes it"));
        if (ownEpoch is { } own)
            return (book, No($"it is the primary of epoch {own}"));
        var until = now + (ask.Ttl > ttl ? ask.Ttl : ttl);
        return (until > book.Until ? new PromiseBook(until) : book, new PromiseAnswer { Given = true });
    }

    /// <summary>How long promotion is refused yet; zero: it is not.</summary>
    public static TimeSpan Left(PromiseBook book, TimeSpan now) => book.Until > now ? book.Until - now : TimeSpan.Zero;

    private static PromiseAnswer No(string reason) => new() { Given = false, Reason = reason };
}

/// <summary>What a lease's holder does next.</summary>
public abstract record LeaseStep
{
    private LeaseStep() { }

    /// <summary>One clause for people.</summary>
    public required string Reason { get; init; }

    /// <summary>May acknowledge until <paramref name="Deadline"/> of its clock.</summary>
    public sealed record Extend(TimeSpan Deadline, bool ByFailsafe) : LeaseStep;

    /// <summary>The epoch is another's: ends at once.</summary>
    public sealed record End : LeaseStep;

    /// <summary>Nothing is gained: the deadline stands.</summary>
    public sealed record Stand : LeaseStep;
}

/// <summary>The holder's side of a lease and of the failsafe that carries it while the arbiter is silent.</summary>
public static class LeaseHolder
{
    /// <param name="terms">Lengths in force.</param>
    /// <param name="answer">The arbiter's; null: silent.</param>
    /// <param name="askedAt">Holder's clock before the renewal was sent.</param>
    public static LeaseStep OfArbiter(LeaseTerms terms, LeaseAnswer? answer, TimeSpan askedAt) => answer switch
    {
        { Refused: true } => new LeaseStep.End { Reason = answer.Reason },
        { Granted: true } => new LeaseStep.Extend(askedAt + terms.Hold, ByFailsafe: false) { Reason = "granted" },
        { } => new LeaseStep.Stand { Reason = answer.Reason },
        null => new LeaseStep.Stand { Reason = "the arbiter is silent" },
    };

    /// <summary>Goes on only while every recorded candidate promises; one that is silent or says no leaves the deadline as it stands.</summary>
    /// <param name="terms">Lengths in force.</param>
    /// <param name="answers">By candidate; null: silent.</param>
    /// <param name="askedAt">Holder's clock before the first question was sent.</param>
    public static LeaseStep OfCandidates(LeaseTerms terms, IReadOnlyDictionary<string, PromiseAnswer?> answers, TimeSpan askedAt)
    {
        foreach (var (region, answer) in answers)
        {
            if (answer is not { Given: true })
                return new LeaseStep.Stand { Reason = $"the arbiter is silent, and {region} {(answer is null ? "is silent too" : $"does not promise ({answer.Reason})")}" };
        }
        return new LeaseStep.Extend(askedAt + terms.Hold, ByFailsafe: true) { Reason = $"the arbiter is silent; {answers.Count} candidates refuse promotion" };
    }
}
