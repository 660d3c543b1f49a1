using BuildRunner.Core.Runbooks;

namespace BuildRunner.Core.Recovery;

/// <summary>How long people took; null: it was not seen.</summary>
/// <param name="Detection">From the fault, or its announcement, until somebody noted what is lost; without a note, until the recovery was ordered.</param>
/// <param name="Decision">From then until the recovery was ordered, or decided on.</param>
/// <param name="Recovery">From then until it was done, or walked through.</param>
public sealed record PracticeTimes(TimeSpan? Detection, TimeSpan? Decision, TimeSpan? Recovery)
{
    /// <param name="state">The practice's run.</param>
    /// <param name="ordered">When people began the failover; null: they did not.</param>
    /// <param name="done">When it ended.</param>
    public static PracticeTimes Of(RunState state, DateTimeOffset? ordered, DateTimeOffset? done)
    {
        var broken = Ended(state, "break") ?? Ended(state, "announce") ?? Ended(state, "begin");
        var announced = Ended(state, "break") is null;
        var (known, decided, finished) = announced
            ? (Ended(state, "told"), Ended(state, "decided"), Ended(state, "walked"))
            : (Earlier(Ended(state, "known"), ordered), ordered, done);
        return new(known - broken, decided - known, finished - decided);
    }

    /// <summary>Who notes what is lost after having acted on it knew it by then.</summary>
    private static DateTimeOffset? Earlier(DateTimeOffset? noted, DateTimeOffset? ordered) => noted is null || ordered < noted ? ordered ?? noted : noted;

    private static DateTimeOffset? Ended(RunState state, string step) => state.Steps.FirstOrDefault(s => s.Step.Id == step && s.Status == StepStatus.Done)?.EndedAt;
}
