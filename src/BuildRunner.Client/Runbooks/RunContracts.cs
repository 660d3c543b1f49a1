using System.Text.Json;
using System.Text.Json.Serialization;
using BuildRunner.Core.Runbooks;

namespace BuildRunner.Client.Runbooks;

/// <summary>`GET /v1/runbooks`.</summary>
public sealed record RunbookList
{
    public int SchemaVersion { get; init; } = 1;
    public required IReadOnlyList<RunbookSummary> Runbooks { get; init; }
}

/// <summary>A runbook; <paramref name="Origin"/> is `shipped`, `code` or the file's path, <paramref name="Warnings"/> what a person should look at, <paramref name="Problems"/> why it could not run here.</summary>
public sealed record RunbookSummary(string Name, string Title, string? Hash, int Steps, DateOnly? Reviewed, string Origin, IReadOnlyList<string> Problems, IReadOnlyList<string> Warnings);

/// <summary>`GET /v1/runbooks/{name}`.</summary>
public sealed record RunbookDetail
{
    public int SchemaVersion { get; init; } = 1;
    public required Runbook Runbook { get; init; }
    public required string Hash { get; init; }

    /// <summary>Why it could not run here, such as an action that no room has registered.</summary>
    public required IReadOnlyList<string> Problems { get; init; }

    /// <summary>`shipped`, `code`, or the file's path.</summary>
    public required string Origin { get; init; }

    /// <summary>What a person should look at: a review that is due, a newer text that is bad.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];
}

/// <summary>`POST /v1/runbooks/evaluate`: the checks of a dry run, for one runbook or for all; nothing is changed.</summary>
public sealed record EvaluateRequest
{
    public int SchemaVersion { get; init; } = 1;

    /// <summary>Null: all.</summary>
    public string? Runbook { get; init; }
    public IReadOnlyDictionary<string, string> Inputs { get; init; } = new Dictionary<string, string>();
}

/// <summary>Answer to <see cref="EvaluateRequest"/>.</summary>
public sealed record EvaluationList
{
    public int SchemaVersion { get; init; } = 1;
    public required IReadOnlyList<RunbookEvaluation> Evaluations { get; init; }
}

/// <summary>Whether a runbook could be run now.</summary>
public sealed record RunbookEvaluation
{
    public required string Runbook { get; init; }
    public string? Hash { get; init; }
    public DateOnly? Reviewed { get; init; }

    /// <summary>`ready`, `refused`, `needs_inputs` (some checks could not be made without them) or `bad` (its text or its actions are wrong).</summary>
    public required string Verdict { get; init; }

    /// <summary>Each thing that stands against it, one sentence.</summary>
    public required IReadOnlyList<string> Reasons { get; init; }
    public required IReadOnlyList<string> Warnings { get; init; }
    public IReadOnlyDictionary<string, string> Inputs { get; init; } = new Dictionary<string, string>();

    /// <summary>Sum of the steps until traffic resumes; null when it could not be told.</summary>
    public double? ExpectedMs { get; init; }
}

/// <summary>`POST /v1/runs`.</summary>
public sealed record RunRequest
{
    public int SchemaVersion { get; init; } = 1;
    public required string Runbook { get; init; }
    public IReadOnlyDictionary<string, string> Inputs { get; init; } = new Dictionary<string, string>();

    /// <summary>Required except in a dry run.</summary>
    public string? Reason { get; init; }
    public bool DryRun { get; init; }
}

/// <summary>Answer to a request: the run that began, or for a dry run the plan.</summary>
public sealed record RunAnswer
{
    public int SchemaVersion { get; init; } = 1;
    public RunRecord? Run { get; init; }
    public RunPlan? Plan { get; init; }
}

/// <summary>What a run would do; the same reading, checks and steps as the run itself.</summary>
public sealed record RunPlan
{
    public required string Runbook { get; init; }
    public required string Hash { get; init; }
    public required IReadOnlyDictionary<string, string> Inputs { get; init; }

    /// <summary>True: nothing stands against it.</summary>
    public required bool Ready { get; init; }

    /// <summary>Each failed precondition, one sentence.</summary>
    public required IReadOnlyList<string> Problems { get; init; }
    public required IReadOnlyList<string> Notes { get; init; }
    public required IReadOnlyList<PlanStep> Steps { get; init; }

    /// <summary>Sum of the steps until traffic resumes.</summary>
    public required double ExpectedMs { get; init; }
}

public sealed record PlanStep
{
    public required string Id { get; init; }
    public required string Title { get; init; }

    /// <summary>What the step itself does, in a few words; several share a title.</summary>
    public string? Summary { get; init; }
    public required string Action { get; init; }
    public required double ExpectedMs { get; init; }

    /// <summary>How many measured runs the time comes from; 0: an estimate.</summary>
    public required int MeasuredRuns { get; init; }
    public string? Note { get; init; }
    public bool AfterResume { get; init; }

    /// <summary>The parallel group that it belongs to.</summary>
    public string? Group { get; init; }

    /// <summary>Why it would not be done with these inputs.</summary>
    public string? Skipped { get; init; }

    /// <summary>Who is waited for before it, or that it is done by hand.</summary>
    public string? WaitsFor { get; init; }
}

/// <summary>`GET /v1/runs`, newest first.</summary>
public sealed record RunList
{
    public int SchemaVersion { get; init; } = 1;
    public required IReadOnlyList<RunRecord> Runs { get; init; }
}

/// <summary>`GET /v1/runs/{id}`.</summary>
public sealed record RunDetail
{
    public int SchemaVersion { get; init; } = 1;
    public required RunRecord Run { get; init; }
}

/// <summary>A run as people and scripts see it; kept under `runs/{id}` beside its journal.</summary>
public sealed record RunRecord
{
    public required string Id { get; init; }
    public required string Runbook { get; init; }
    public required RunPhase State { get; init; }
    public required string Actor { get; init; }
    public required string Reason { get; init; }
    public required IReadOnlyDictionary<string, string> Inputs { get; init; }
    public required DateTimeOffset StartedAt { get; init; }
    public DateTimeOffset? FinishedAt { get; init; }
    public double? DurationMs { get; init; }

    /// <summary>What the run holds alone, such as `database/main`: a second run over it is refused.</summary>
    public required string Over { get; init; }

    /// <summary>Why it ended as it did.</summary>
    public string? Outcome { get; init; }

    /// <summary>Set when a person must act: what is stuck, and the next command.</summary>
    public string? Person { get; init; }

    /// <summary>Write outage, measured by each gateway on its own monotonic clock; the largest. Null: unknown, or no outage to measure.</summary>
    public double? OutageMs { get; init; }

    /// <summary>What was lost; each null is unknown, and filled in after the old region has rejoined.</summary>
    public RunLost? Lost { get; init; }
    public JsonElement? Report { get; init; }

    /// <summary>How often a server took it up again, and how many lines its journal has.</summary>
    public int Resumes { get; init; }
    public long JournalLines { get; init; }

    /// <summary>Hash of the runbook that it runs; it stays what it is when the document changes.</summary>
    public string? Hash { get; init; }

    /// <summary>The run that has this one as a step, and which step.</summary>
    public string? Parent { get; init; }
    public string? ParentStep { get; init; }

    /// <summary>Steps that wait for people; the run goes on when they have answered.</summary>
    public IReadOnlyList<RunWait> Waiting { get; init; } = [];
    public IReadOnlyList<RunStep> Steps { get; init; } = [];
}

public sealed record RunStep
{
    public required string Id { get; init; }
    public required string Title { get; init; }

    /// <summary>What the step itself does, in a few words; several share a title.</summary>
    public string? Summary { get; init; }
    public required StepStatus Status { get; init; }
    public int Attempts { get; init; }
    public DateTimeOffset? StartedAt { get; init; }
    public double? DurationMs { get; init; }
    public string? Error { get; init; }
    public bool AfterResume { get; init; }
    public IReadOnlyDictionary<string, string> Outputs { get; init; } = new Dictionary<string, string>();

    /// <summary>The parallel group that it belongs to, and who has agreed to it.</summary>
    public string? Group { get; init; }
    public IReadOnlyList<string> Agreed { get; init; } = [];
}

/// <summary>What a run waits for: people who agree to a step, or who do it by hand.</summary>
public sealed record RunWait
{
    public required string Step { get; init; }
    public required string Title { get; init; }

    /// <summary>True: done by hand and confirmed with a note. False: agreed to.</summary>
    public required bool ByHand { get; init; }

    /// <summary>What is to be done by hand.</summary>
    public string? Text { get; init; }

    /// <summary>Roles of those who may answer, how many different people must, and who has.</summary>
    public required IReadOnlyList<string> Roles { get; init; }
    public required int Needed { get; init; }
    public required IReadOnlyList<string> Agreed { get; init; }
    public required DateTimeOffset Expires { get; init; }
}

/// <summary>Data lost by a failover: WAL past the fork, the span of its commits, how many, and their transaction ids (at most 10,000).</summary>
public sealed record RunLost(long? Bytes, double? Seconds, long? Commits, IReadOnlyList<uint>? Transactions);

/// <summary>A line of `GET /v1/runs/{id}/events`: a line of the journal with its position, or a note of the step under way (position 0, not kept).</summary>
public sealed record RunLine
{
    public long Position { get; init; }
    public RunEvent? Event { get; init; }
    public RunNote? Note { get; init; }
}

public sealed record RunNote(string Step, string Text, DateTimeOffset At);

/// <summary>`POST /v1/runs/{id}/approve`, `reject` and `confirm`.</summary>
public sealed record ReplyRequest
{
    public int SchemaVersion { get; init; } = 1;

    /// <summary>Needed when several steps wait.</summary>
    public string? Step { get; init; }

    /// <summary>A note to an approval, the reason of a rejection, what was done by hand.</summary>
    public string? Note { get; init; }
}

/// <summary>`br runbook logs`: a run's journal.</summary>
public sealed record RunLog
{
    public int SchemaVersion { get; init; } = 1;
    public required string Run { get; init; }
    public required IReadOnlyList<RunLine> Lines { get; init; }
}

/// <summary>`POST /v1/runs/{id}/abort`.</summary>
public sealed record AbortRequest
{
    public int SchemaVersion { get; init; } = 1;
    public string? Reason { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, AllowOutOfOrderMetadataProperties = true)]
[JsonSerializable(typeof(RunbookList))]
[JsonSerializable(typeof(RunbookDetail))]
[JsonSerializable(typeof(RunRequest))]
[JsonSerializable(typeof(RunAnswer))]
[JsonSerializable(typeof(RunList))]
[JsonSerializable(typeof(RunDetail))]
[JsonSerializable(typeof(RunRecord))]
[JsonSerializable(typeof(RunLine))]
[JsonSerializable(typeof(AbortRequest))]
[JsonSerializable(typeof(ReplyRequest))]
[JsonSerializable(typeof(RunLog))]
[JsonSerializable(typeof(EvaluateRequest))]
[JsonSerializable(typeof(EvaluationList))]
public sealed partial class RunbooksJson : JsonSerializerContext;
