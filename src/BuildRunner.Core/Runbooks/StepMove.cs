namespace BuildRunner.Core.Runbooks;

/// <summary>What comes next for one step, by its own state and what is known of the run.</summary>
internal static class StepMove
{
    private static readonly TimeSpan DelayMax = TimeSpan.FromSeconds(100);

    /// <summary>Null: it is settled, for good or for bad.</summary>
    public static NextMove? Of(RunState state, StepState step, DateTimeOffset now) => step.Status switch
    {
        StepStatus.Pending when WhyNot(state, step) is { } why => new NextMove.Skip(step.Step) { Reason = why },
        StepStatus.Pending when !step.IsApproved => new NextMove.Ask(step.Step, ByHand: false, now + step.Step.Approval!.Timeout) { Reason = "people must agree first" },
        StepStatus.Pending when step.Step.Manual is not null => new NextMove.Ask(step.Step, ByHand: true, now + step.Step.Timeout) { Reason = "it is done by hand" },
        StepStatus.Waiting when now >= step.Expires => new NextMove.Expire(step.Step, ByHand(step)) { Reason = "nobody answered in time" },
        StepStatus.Waiting => new NextMove.Await(step.Step, step.Expires!.Value) { Reason = ByHand(step) ? "waits for a person to confirm it" : "waits for people to agree" },
        StepStatus.Pending => new NextMove.Start(step.Step, step.Attempt + 1, step.Key(state.Run)) { Reason = "next in order" },
        StepStatus.Verified => new NextMove.Start(step.Step, step.Attempt + 1, step.Key(state.Run)) { Reason = "looked: not so yet" },
        StepStatus.Running => new NextMove.VerifyFirst(step.Step, step.Attempt, step.Key(state.Run), TimeSpan.Zero) { Reason = "started, result unknown" },
        StepStatus.Failed when MayRepeat(step) => new NextMove.VerifyFirst(step.Step, step.Attempt, step.Key(state.Run), Delay(step))
        {
            Reason = string.Create(CultureInfo.InvariantCulture, $"failure {step.Failures} of at most {step.Step.Retries + 1}: {step.Error}"),
        },
        _ => null,
    };

    public static bool MayRepeat(StepState step) => !step.Refused && !step.Expired && step.Failures <= step.Step.Retries;

    /// <summary>Whether the step waits for somebody's hands rather than for agreement.</summary>
    public static bool ByHand(StepState step) => step.Step.Manual is not null && step.IsApproved;

    /// <summary>Why the step is not done in this run; null: it is. Asked once, before anything of it begins.</summary>
    private static string? WhyNot(RunState state, StepState step)
    {
        if (step.Agreed.Count > 0)
            return null;
        if (step.Step.Only is { } only && state.Inputs.GetValueOrDefault(StepKind.VariantInput, StepKind.Graceful) is var variant && variant != only)
            return $"only in a run that is {only}; this one is {variant}";
        return step.Step.When is { } when && !Condition.Holds(when, state.Inputs, state.Outputs) ? $"{when} does not hold" : null;
    }

    private static TimeSpan Delay(StepState step)
    {
        var doubled = step.Step.RetryDelay * Math.Pow(2, Math.Min(step.Failures - 1, 20));
        return doubled < DelayMax ? doubled : DelayMax;
    }
}
