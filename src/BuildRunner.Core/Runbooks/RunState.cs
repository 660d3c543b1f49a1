using System.Text.Json;
using System.Text.Json.Serialization;

namespace BuildRunner.Core.Runbooks;

/// <summary>A run as its journal tells it.</summary>
public sealed record RunState
{
    public required string Run { get; init; }
    public required Runbook Runbook { get; init; }
    public required string Hash { get; init; }
    public required IReadOnlyDictionary<string, string> Inputs { get; init; }
    public required string Actor { get; init; }
    public required string Reason { get; init; }
    public required DateTimeOffset StartedAt { get; init; }

    /// <summary>One per step of the runbook, in its order.</summary>
    public required IReadOnlyList<StepState> Steps { get; init; }
    public string? AbortedBy { get; init; }
    public int Resumes { get; init; }
    public RunPhase Phase { get; init; } = RunPhase.Running;
    public DateTimeOffset? FinishedAt { get; init; }
    public string? Outcome { get; init; }
    public string? Person { get; init; }
    public JsonElement? Report { get; init; }

    /// <summary>The run that has this one as a step; null: it was asked for by itself.</summary>
    public string? Parent { get; init; }
    public string? ParentStep { get; init; }

    public bool Finished => !Phase.IsUnderWay();

    /// <summary>True once a step that cannot be taken back has acted, or may have: the run goes forward only.</summary>
    public bool PastReturn => ReturnBarredBy is not null;

    /// <summary>The step that bars the way back; null while the run may still be undone.</summary>
    /// <remarks>A run that is under way as a step bars nothing yet: it is stopped first, and its end says what it did.</remarks>
    public StepState? ReturnBarredBy => Steps.FirstOrDefault(s => (s.Step.PointOfNoReturn || (!s.Step.Undo && !s.ChildUnderWay)) && s.MayHaveActed);

    /// <summary>Outputs of finished steps, `step.output` → value.</summary>
    public IReadOnlyDictionary<string, string> Outputs =>
        Steps.Where(s => s.Status == StepStatus.Done).SelectMany(s => s.Outputs.Select(o => (Key: $"{s.Step.Id}.{o.Key}", o.Value))).ToDictionary(o => o.Key, o => o.Value);

    /// <summary>Folds a journal; null while it has no line. A line that cannot follow the lines before it is an error of the journal, not of the run.</summary>
    public static RunState? Fold(IEnumerable<RunEvent> events)
    {
        RunState? state = null;
        foreach (var happened in events)
            state = Apply(state, happened);
        return state;
    }

    public static RunState Apply(RunState? state, RunEvent happened)
    {
        if (happened is RunEvent.RunStarted started)
        {
            return state is null
                ? Begin(started)
                : throw new InvalidOperationException($"The journal of {state.Run} starts twice.");
        }
        if (state is null)
            throw new InvalidOperationException("A journal begins with run_started.");
        if (state.Finished)
            throw new InvalidOperationException($"Run {state.Run} has ended; {happened.GetType().Name} cannot follow.");

        var next = happened switch
        {
            RunEvent.StepSkipped e => state.With(e.Step, happened),
            RunEvent.ApprovalRequested e => state.With(e.Step, happened),
            RunEvent.Approved e => state.With(e.Step, happened),
            RunEvent.Rejected e => state.With(e.Step, happened),
            RunEvent.ApprovalExpired e => state.With(e.Step, happened),
            RunEvent.ConfirmationRequested e => state.With(e.Step, happened),
            RunEvent.Confirmed e => state.With(e.Step, happened),
            RunEvent.ConfirmationExpired e => state.With(e.Step, happened),
            RunEvent.StepStarted e => state.With(e.Step, happened),
            RunEvent.StepFinished e => state.With(e.Step, happened),
            RunEvent.StepFailed e => state.With(e.Step, happened),
            RunEvent.StepVerified e => state.With(e.Step, happened),
            RunEvent.UndoStarted e => state.With(e.Step, happened) with { Phase = RunPhase.Undoing },
            RunEvent.Undone e => state.With(e.Step, happened),
            RunEvent.UndoFailed e => state.With(e.Step, happened),
            RunEvent.AbortRequested e => state with { AbortedBy = state.AbortedBy ?? e.Actor },
            RunEvent.Resumed => state with { Resumes = state.Resumes + 1 },
            RunEvent.RunFinished e => state with { Phase = e.State, FinishedAt = e.At, Outcome = e.Reason, Person = e.Person, Report = e.Report },
            _ => throw new InvalidOperationException($"Unknown event {happened.GetType().Name}."),
        };
        return next.Phase is RunPhase.Running or RunPhase.Waiting ? next with { Phase = next.WaitsForPeople ? RunPhase.Waiting : RunPhase.Running } : next;
    }

    /// <summary>Whether only people can bring the run on now: a step waits for them, and none is acting.</summary>
    private bool WaitsForPeople => Steps.Any(s => s.Status == StepStatus.Waiting) && Steps.All(s => s.Status != StepStatus.Running);

    /// <summary>The step of this id; throws when there is none.</summary>
    public StepState Step(string id) => Steps.FirstOrDefault(s => s.Step.Id == id) ?? throw new InvalidOperationException($"Run {Run} has no step '{id}'.");

    private static RunState Begin(RunEvent.RunStarted started) => new()
    {
        Run = started.Run,
        Runbook = started.Runbook,
        Hash = started.Hash,
        Inputs = started.Inputs,
        Actor = started.Actor,
        Reason = started.Reason,
        StartedAt = started.At,
        Parent = started.Parent,
        ParentStep = started.ParentStep,
        Steps = [.. started.Runbook.Steps.Select(step => new StepState { Step = step })],
    };

    private RunState With(string step, RunEvent happened)
    {
        var known = false;
        var steps = new List<StepState>(Steps.Count);
        foreach (var each in Steps)
        {
            var hit = each.Step.Id == step;
            known |= hit;
            steps.Add(hit ? each.Apply(happened) : each);
        }
        return known ? this with { Steps = steps } : throw new InvalidOperationException($"Run {Run} has no step '{step}'.");
    }
}

/// <summary>A step of a run as the journal tells it.</summary>
public sealed record StepState
{
    public required RunbookStep Step { get; init; }
    public StepStatus Status { get; init; } = StepStatus.Pending;

    /// <summary>How often it was started.</summary>
    public int Attempt { get; init; }

    /// <summary>How often it failed; only known failures change the key.</summary>
    public int Failures { get; init; }
    public int KnownFailures { get; init; }
    public bool Refused { get; init; }

    /// <summary>False only while it is certain that nothing was done.</summary>
    public bool MayHaveActed { get; init; }
    public string? Error { get; init; }
    public IReadOnlyDictionary<string, string> Outputs { get; init; } = new Dictionary<string, string>();
    public DateTimeOffset? StartedAt { get; init; }
    public DateTimeOffset? EndedAt { get; init; }
    public double? Milliseconds { get; init; }

    /// <summary>Who has agreed, each person once.</summary>
    public IReadOnlyList<StepAgreement> Agreed { get; init; } = [];

    /// <summary>Until when it waits for people, by the wall clock.</summary>
    public DateTimeOffset? Expires { get; init; }

    /// <summary>True: nobody answered in time, and no repeat will help.</summary>
    public bool Expired { get; init; }

    /// <summary>Whether its approval is given, or it needs none.</summary>
    public bool IsApproved => Step.Approval is not { } approval || Agreed.Count >= approval.Count;

    /// <summary>A run that was started as this step and has not been seen to end.</summary>
    public bool ChildUnderWay => Step.Runbook is not null && Status is StepStatus.Running or StepStatus.Verified && MayHaveActed;

    /// <summary>Whether it was ever begun: such a step is taken back, for it may have acted.</summary>
    public bool Begun => Attempt > 0;

    /// <summary>The key under which it acts next: the same after a crash or a lost answer, another after a known failure.</summary>
    public string Key(string run) => KnownFailures == 0 ? $"{run}/{Step.Id}" : string.Create(CultureInfo.InvariantCulture, $"{run}/{Step.Id}.{KnownFailures + 1}");

    public StepState Apply(RunEvent happened) => (Status, happened) switch
    {
        (StepStatus.Pending, RunEvent.StepSkipped) => this with { Status = StepStatus.Skipped },
        (StepStatus.Pending, RunEvent.ApprovalRequested e) => this with { Status = StepStatus.Waiting, Expires = e.Expires },
        (StepStatus.Pending, RunEvent.ConfirmationRequested e) => this with { Status = StepStatus.Waiting, Expires = e.Expires, StartedAt = e.At },
        (StepStatus.Waiting, RunEvent.Approved e) => Agree(e),
        (StepStatus.Waiting, RunEvent.Confirmed e) => this with
        {
            Status = StepStatus.Done,
            Outputs = new Dictionary<string, string> { ["actor"] = e.Actor, ["note"] = e.Note },
            MayHaveActed = true,
            Expires = null,
            EndedAt = e.At,
            Milliseconds = (e.At - StartedAt)?.TotalMilliseconds,
        },
        (StepStatus.Waiting, RunEvent.Rejected e) => this with { Status = StepStatus.Failed, Refused = true, Failures = Failures + 1, Error = $"{e.Actor} said no: {e.Reason}", Expires = null, EndedAt = e.At },
        (StepStatus.Waiting, RunEvent.ApprovalExpired e) => this with
        {
            Status = StepStatus.Failed, Expired = true, Failures = Failures + 1, Expires = null, EndedAt = e.At,
            Error = string.Create(CultureInfo.InvariantCulture, $"only {Agreed.Count} of {Step.Approval?.Count ?? 1} agreed in time"),
        },
        (StepStatus.Waiting, RunEvent.ConfirmationExpired e) => this with { Status = StepStatus.Failed, Expired = true, Failures = Failures + 1, Error = "nobody confirmed it in time", Expires = null, EndedAt = e.At },
        // A repeat is a re-run after a crash, after a look, or after a failure.
        (StepStatus.Pending or StepStatus.Running or StepStatus.Verified or StepStatus.Failed, RunEvent.StepStarted e) =>
            this with { Status = StepStatus.Running, Attempt = e.Attempt, MayHaveActed = true, Error = null, Refused = false, StartedAt = StartedAt ?? e.At, EndedAt = null },
        (StepStatus.Running or StepStatus.Failed, RunEvent.StepVerified { Already: true } e) =>
            this with { Status = StepStatus.Done, Outputs = e.Outputs, Error = null, Refused = false, EndedAt = e.At, Milliseconds = (e.At - StartedAt)?.TotalMilliseconds },
        (StepStatus.Running or StepStatus.Failed, RunEvent.StepVerified e) =>
            this with { Status = StepStatus.Verified, MayHaveActed = e.Already is null && MayHaveActed },
        (StepStatus.Running, RunEvent.StepFinished e) =>
            this with { Status = StepStatus.Done, Outputs = e.Outputs, EndedAt = e.At, Milliseconds = e.Milliseconds },
        (StepStatus.Running, RunEvent.StepFailed e) => this with
        {
            Status = StepStatus.Failed,
            Error = e.Error,
            Refused = e.Refused,
            Failures = Failures + 1,
            KnownFailures = KnownFailures + (e.Unknown ? 0 : 1),
            MayHaveActed = e.Unknown,
            EndedAt = e.At,
            Milliseconds = e.Milliseconds,
        },
        (not (StepStatus.Pending or StepStatus.Undone or StepStatus.Skipped or StepStatus.Waiting), RunEvent.UndoStarted) => this with { Status = StepStatus.Undoing },
        (StepStatus.Undoing, RunEvent.Undone) => this with { Status = StepStatus.Undone },
        (StepStatus.Undoing, RunEvent.UndoFailed e) => this with { Status = StepStatus.UndoFailed, Error = e.Error },
        _ => throw new InvalidOperationException($"Step '{Step.Id}' is {Status} and cannot have {happened.GetType().Name}."),
    };

    /// <summary>The same person counts once; with enough of them the step goes on.</summary>
    private StepState Agree(RunEvent.Approved e)
    {
        var agreed = Agreed.Any(a => a.Actor == e.Actor) ? Agreed : [.. Agreed, new StepAgreement(e.Actor, e.Role, e.At, e.Note)];
        var enough = agreed.Count >= (Step.Approval?.Count ?? 1);
        return this with { Agreed = agreed, Status = enough ? StepStatus.Pending : StepStatus.Waiting, Expires = enough ? null : Expires };
    }
}

/// <summary>That one person agreed to a step.</summary>
public sealed record StepAgreement(string Actor, string Role, DateTimeOffset At, string? Note);

[JsonConverter(typeof(SnakeCaseEnumConverter<StepStatus>))]
public enum StepStatus
{
    Pending,

    /// <summary>Started, without a result: acting now, or cut off by a crash.</summary>
    Running,

    /// <summary>Cut off or failed, then looked at: not so yet.</summary>
    Verified,
    Done,
    Failed,
    Undoing,
    Undone,
    UndoFailed,

    /// <summary>Its condition did not hold.</summary>
    Skipped,

    /// <summary>Waits for people: an approval, or something to be done by hand.</summary>
    Waiting,
}
