using System.Text.Json;
using System.Text.Json.Serialization;

namespace BuildRunner.Core.Runbooks;

/// <summary>
/// A line of a run's journal: the closed set of things that can have happened to a run. The journal is the run; everything else is folded
/// from it. The form stays (tests/recordings/journal.v1.jsonl): a new field has a default, a new event a new name.
/// </summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "event")]
[JsonDerivedType(typeof(RunStarted), "run_started")]
[JsonDerivedType(typeof(StepStarted), "step_started")]
[JsonDerivedType(typeof(StepFinished), "step_finished")]
[JsonDerivedType(typeof(StepFailed), "step_failed")]
[JsonDerivedType(typeof(StepVerified), "step_verified")]
[JsonDerivedType(typeof(StepSkipped), "step_skipped")]
[JsonDerivedType(typeof(ApprovalRequested), "approval_requested")]
[JsonDerivedType(typeof(Approved), "approved")]
[JsonDerivedType(typeof(Rejected), "rejected")]
[JsonDerivedType(typeof(ApprovalExpired), "approval_expired")]
[JsonDerivedType(typeof(ConfirmationRequested), "confirmation_requested")]
[JsonDerivedType(typeof(Confirmed), "confirmed")]
[JsonDerivedType(typeof(ConfirmationExpired), "confirmation_expired")]
[JsonDerivedType(typeof(UndoStarted), "undo_started")]
[JsonDerivedType(typeof(Undone), "undone")]
[JsonDerivedType(typeof(UndoFailed), "undo_failed")]
[JsonDerivedType(typeof(AbortRequested), "abort_requested")]
[JsonDerivedType(typeof(Resumed), "resumed")]
[JsonDerivedType(typeof(RunFinished), "run_finished")]
public abstract record RunEvent
{
    private RunEvent() { }

    public int SchemaVersion { get; init; } = 1;

    /// <summary>When it was written, by the server's wall clock; for people, never compared.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>The first line. Holds the whole runbook, so that a run goes on as it began when the shipped runbook has changed.</summary>
    public sealed record RunStarted : RunEvent
    {
        public required string Run { get; init; }
        public required Runbook Runbook { get; init; }
        public required string Hash { get; init; }
        public required IReadOnlyDictionary<string, string> Inputs { get; init; }
        public required string Actor { get; init; }
        public required string Reason { get; init; }
        public bool DryRun { get; init; }

        /// <summary>Hash of the policy it was started under.</summary>
        public string? Policy { get; init; }

        /// <summary>The run that has this one as a step, and which step; null: it was asked for by itself.</summary>
        public string? Parent { get; init; }
        public string? ParentStep { get; init; }
    }

    /// <summary>Written before a step acts. The key is the same after a crash, so that what a node already did is done once; it changes after a known failure.</summary>
    public sealed record StepStarted : RunEvent
    {
        public required string Step { get; init; }
        public required int Attempt { get; init; }
        public required string Key { get; init; }
    }

    public sealed record StepFinished : RunEvent
    {
        public required string Step { get; init; }
        public required int Attempt { get; init; }
        public required IReadOnlyDictionary<string, string> Outputs { get; init; }

        /// <summary>By a monotonic clock, from before acting until its result.</summary>
        public required double Milliseconds { get; init; }
    }

    public sealed record StepFailed : RunEvent
    {
        public required string Step { get; init; }
        public required int Attempt { get; init; }
        public required string Error { get; init; }

        /// <summary>True: a safety check said no, and no repeat will help.</summary>
        public bool Refused { get; init; }

        /// <summary>True: the answer was lost, the step may have acted.</summary>
        public bool Unknown { get; init; }
        public required double Milliseconds { get; init; }
    }

    /// <summary>Looked before acting again: is it already so? Null: could not be told, and the step is run again under its key.</summary>
    public sealed record StepVerified : RunEvent
    {
        public required string Step { get; init; }
        public required int Attempt { get; init; }
        [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
        public bool? Already { get; init; }
        public IReadOnlyDictionary<string, string> Outputs { get; init; } = new Dictionary<string, string>();
        public string? Detail { get; init; }
    }

    /// <summary>Its condition did not hold: it is not done, and nothing is taken back of it.</summary>
    public sealed record StepSkipped : RunEvent
    {
        public required string Step { get; init; }
        public required string Why { get; init; }
    }

    /// <summary>The run waits until enough people have agreed to a step; <see cref="Expires"/> by the server's wall clock, so that it outlives a restart.</summary>
    public sealed record ApprovalRequested : RunEvent
    {
        public required string Step { get; init; }
        public required DateTimeOffset Expires { get; init; }
    }

    /// <summary>One person agreed.</summary>
    public sealed record Approved : RunEvent
    {
        public required string Step { get; init; }
        public required string Actor { get; init; }
        public required string Role { get; init; }
        public string? Note { get; init; }
    }

    /// <summary>A person said no to a step, or that what is to be done by hand cannot be done.</summary>
    public sealed record Rejected : RunEvent
    {
        public required string Step { get; init; }
        public required string Actor { get; init; }
        public required string Reason { get; init; }
    }

    public sealed record ApprovalExpired : RunEvent
    {
        public required string Step { get; init; }
    }

    /// <summary>The run waits until a person has done something by hand.</summary>
    public sealed record ConfirmationRequested : RunEvent
    {
        public required string Step { get; init; }
        public required DateTimeOffset Expires { get; init; }
    }

    /// <summary>A person did it, and says what was done or seen.</summary>
    public sealed record Confirmed : RunEvent
    {
        public required string Step { get; init; }
        public required string Actor { get; init; }
        public required string Note { get; init; }
    }

    public sealed record ConfirmationExpired : RunEvent
    {
        public required string Step { get; init; }
    }

    public sealed record UndoStarted : RunEvent
    {
        public required string Step { get; init; }
        public required string Key { get; init; }
    }

    public sealed record Undone : RunEvent
    {
        public required string Step { get; init; }
        public IReadOnlyDictionary<string, string> Outputs { get; init; } = new Dictionary<string, string>();
    }

    public sealed record UndoFailed : RunEvent
    {
        public required string Step { get; init; }
        public required string Error { get; init; }
    }

    public sealed record AbortRequested : RunEvent
    {
        public required string Actor { get; init; }
        public string? Reason { get; init; }
    }

    /// <summary>A server took the run up again after a restart or from another server.</summary>
    public sealed record Resumed : RunEvent
    {
        public required string Server { get; init; }
    }

    /// <summary>The last line: nothing acts after it.</summary>
    public sealed record RunFinished : RunEvent
    {
        public required RunPhase State { get; init; }
        public required string Reason { get; init; }

        /// <summary>Set when a person must act: what is stuck, and the next command.</summary>
        public string? Person { get; init; }
        public JsonElement? Report { get; init; }
    }
}

/// <summary>Where a run stands.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<RunPhase>))]
public enum RunPhase
{
    Running,

    /// <summary>Taking its steps back, last first.</summary>
    Undoing,
    Succeeded,

    /// <summary>Ended with something left undone.</summary>
    Failed,

    /// <summary>A step failed and everything was taken back.</summary>
    RolledBack,

    /// <summary>A person stopped it and everything was taken back.</summary>
    Aborted,

    /// <summary>A safety check, or a person who was asked, said no and everything was taken back.</summary>
    Refused,

    /// <summary>Waits for people: an approval, or something to be done by hand.</summary>
    Waiting,
}

/// <summary>What follows from where a run stands.</summary>
public static class RunPhases
{
    /// <summary>True until the run has ended; it then holds what it is over.</summary>
    public static bool IsUnderWay(this RunPhase phase) => phase is RunPhase.Running or RunPhase.Undoing or RunPhase.Waiting;
}
