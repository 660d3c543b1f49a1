namespace BuildRunner.Core.Runbooks;

/// <summary>What a person's answer to a waiting run comes to: a line of its journal, or why it counts for nothing.</summary>
public sealed record RunReply(RunEvent? Line, string? Problem, bool NotPermitted = false)
{
    private const int TextMax = 2000;

    /// <summary>A person agrees to a step; null step: the one that waits.</summary>
    public static RunReply Approve(RunState state, string? step, string actor, string role, string? note, DateTimeOffset now)
    {
        if (Find(state, step, byHand: false, "approve") is not ({ } waiting, null))
            return No(Find(state, step, byHand: false, "approve").Problem!);
        if (TextWrong(note) is { } wrong)
            return No(wrong);
        if (!MayAnswer(waiting.Step.Approval!.Roles, role))
            return Forbidden($"'{waiting.Step.Id}' needs the agreement of {Or(waiting.Step.Approval.Roles)}; {actor} is {role}.");
        if (waiting.Agreed.Any(a => a.Actor == actor))
            return No($"{actor} has agreed to '{waiting.Step.Id}' already; a person counts once, and {Missing(waiting)} of others {(Missing(waiting) == 1 ? "is" : "are")} missing.");
        return new(new RunEvent.Approved { At = now, Step = waiting.Step.Id, Actor = actor, Role = role, Note = note }, null);
    }

    /// <summary>A person says no to a step, or that it cannot be done by hand.</summary>
    public static RunReply Reject(RunState state, string? step, string actor, string role, string? reason, DateTimeOffset now)
    {
        if (Find(state, step, byHand: null, "reject") is not ({ } waiting, null))
            return No(Find(state, step, byHand: null, "reject").Problem!);
        if (string.IsNullOrWhiteSpace(reason))
            return No("A no needs a reason: --reason \"…\". It is written to the journal and shown to everyone.");
        if (TextWrong(reason) is { } wrong)
            return No(wrong);
        if (!MayAnswer(RolesOf(waiting), role))
            return Forbidden($"'{waiting.Step.Id}' is answered by {Or(RolesOf(waiting))}; {actor} is {role}.");
        return new(new RunEvent.Rejected { At = now, Step = waiting.Step.Id, Actor = actor, Reason = reason }, null);
    }

    /// <summary>A person has done a step by hand.</summary>
    public static RunReply Confirm(RunState state, string? step, string actor, string role, string? note, DateTimeOffset now)
    {
        if (Find(state, step, byHand: true, "confirm") is not ({ } waiting, null))
            return No(Find(state, step, byHand: true, "confirm").Problem!);
        if (string.IsNullOrWhiteSpace(note))
            return No($"A confirmation of '{waiting.Step.Id}' needs a note that says what was done or seen: --note \"…\".");
        if (TextWrong(note) is { } wrong)
            return No(wrong);
        if (!MayAnswer(RolesOf(waiting), role))
            return Forbidden($"'{waiting.Step.Id}' is confirmed by {Or(RolesOf(waiting))}; {actor} is {role}.");
        return new(new RunEvent.Confirmed { At = now, Step = waiting.Step.Id, Actor = actor, Note = note }, null);
    }

    /// <summary>Who a step waits for: by hand, an operator.</summary>
    public static IReadOnlyList<string> RolesOf(StepState step) => !StepMove.ByHand(step) && step.Step.Approval is { } approval ? approval.Roles : ["operator", "admin"];

    /// <summary>Whether a waiting step waits for hands rather than for agreement.</summary>
    public static bool IsByHand(StepState step) => StepMove.ByHand(step);

    private static (StepState? Step, string? Problem) Find(RunState state, string? id, bool? byHand, string verb)
    {
        var waiting = state.Steps.Where(s => s.Status == StepStatus.Waiting).ToList();
        var fitting = waiting.Where(s => byHand is null || StepMove.ByHand(s) == byHand).ToList();
        if (state.Finished)
            return (null, $"Run {state.Run} has ended.");
        if (state.AbortedBy is { } by && !state.PastReturn)
            return (null, $"Run {state.Run} was aborted by {by}.");
        if (id is not null && state.Steps.All(s => s.Step.Id != id))
            return (null, $"Run {state.Run} has no step '{id}'; it has {string.Join(", ", state.Steps.Select(s => s.Step.Id))}.");
        if (id is not null && fitting.FirstOrDefault(s => s.Step.Id == id) is { } named)
            return (named, null);
        if (id is null && fitting.Count == 1)
            return (fitting[0], null);
        if (fitting.Count > 1)
            return (null, $"Run {state.Run} waits at {string.Join(", ", fitting.Select(s => $"'{s.Step.Id}'"))}: name one with --step.");
        var other = waiting.FirstOrDefault(s => id is null || s.Step.Id == id);
        return (null, other is null ? $"Run {state.Run} does not wait {(id is null ? "for anybody" : $"at '{id}'")}: there is nothing to {verb}."
            : StepMove.ByHand(other) ? $"'{other.Step.Id}' is done by hand: `br runbook confirm {state.Run} --step {other.Step.Id} --note …`."
            : $"'{other.Step.Id}' waits for agreement: `br runbook approve {state.Run} --step {other.Step.Id}`.");
    }

    private static int Missing(StepState step) => step.Step.Approval!.Count - step.Agreed.Count;

    /// <summary>An admin may whatever an operator may, and an operator whatever a viewer may.</summary>
    private static bool MayAnswer(IReadOnlyList<string> roles, string role) =>
        roles.Any(wanted => Rank(role) >= Rank(wanted));

    private static int Rank(string role) => role switch { "admin" => 3, "operator" => 2, "viewer" => 1, _ => 0 };

    private static string Or(IReadOnlyList<string> roles) => string.Join(" or ", roles.Select(r => r == "admin" || r == "operator" ? $"an {r}" : $"a {r}"));

    private static string? TextWrong(string? text) =>
        text is null ? null
        : text.Length > TextMax ? string.Create(CultureInfo.InvariantCulture, $"The text has {text.Length} characters; at most {TextMax}.")
        : text.Any(c => char.IsControl(c) && c is not ('\n' or '\t')) ? "The text holds control characters." : null;

    private static RunReply No(string problem) => new(null, problem);

    private static RunReply Forbidden(string problem) => new(null, problem, NotPermitted: true);
}
