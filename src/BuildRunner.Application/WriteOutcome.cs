using Microsoft.AspNetCore.Http;

namespace BuildRunner.Application;

/// <summary>How a write ended, as far as may be said. A failure that surely left nothing behind is an exception of the work itself.</summary>
public abstract record WriteOutcome<T>
{
    private WriteOutcome() { }

    /// <summary>Committed under an epoch, and confirmed as the server's settings ask. Transaction: null when nothing was written.</summary>
    public sealed record Committed(T Value, long Epoch, uint? Transaction) : WriteOutcome<T>;

    /// <summary>Nothing was done: this host or the database is at another epoch, or closed.</summary>
    public sealed record Refused(string Reason) : WriteOutcome<T>;

    /// <summary>The commit was sent and its end is not known; it must not be sent again as if it had failed.</summary>
    public sealed record Unknown(string Reason) : WriteOutcome<T>;

    /// <summary>The answer to the request: what the caller makes of a commit, 421 for a refusal, 504 with `BuildRunner-Outcome: unknown` otherwise.</summary>
    public IResult Answer(Func<T, IResult> committed) => this switch
    {
        Committed done => committed(done.Value),
        Refused refused => Problem.Misdirected(refused.Reason),
        Unknown unknown => Problem.Unknown(unknown.Reason),
        _ => throw new InvalidOperationException($"{this} has no answer."),
    };
}
