using System.Text.Json.Serialization;

namespace BuildRunner.Core.Runbooks;

/// <summary>A procedure as data: what is done, in what order, how each step is checked, repeated and undone. A run pins its hash.</summary>
public sealed record Runbook
{
    public int SchemaVersion { get; init; } = 1;
    public required string Name { get; init; }
    public required string Title { get; init; }
    public DateOnly? Reviewed { get; init; }

    /// <summary>What a run holds alone, such as `database/${database}`: a second run over the same is refused. Null: the runbook itself.</summary>
    public string? Over { get; init; }

    /// <summary>Names of the values a run takes; a required one without a value is refused.</summary>
    public IReadOnlyList<RunbookInput> Inputs { get; init; } = [];

    /// <summary>In their order; steps of one parallel group stand side by side and share <see cref="RunbookStep.Group"/>.</summary>
    public required IReadOnlyList<RunbookStep> Steps { get; init; }
}

/// <summary>A value that a run takes; with <paramref name="Values"/> it is one of those.</summary>
public sealed record RunbookInput(string Name, string Summary, bool Required = false, string? Default = null, IReadOnlyList<string>? Values = null);

public sealed record RunbookStep
{
    public required string Id { get; init; }

    /// <summary>What people see; several steps may share one title (SPEC's six failover steps).</summary>
    public required string Title { get; init; }

    /// <summary>What this step itself does, in a few words under its title; null: its id says it.</summary>
    public string? Summary { get; init; }

    /// <summary>Name of a registered action, such as `traffic.hold`.</summary>
    public required string Action { get; init; }

    /// <summary>The action's arguments; `${input}` and `${step.output}` are filled in when the step starts.</summary>
    public IReadOnlyDictionary<string, string> With { get; init; } = new Dictionary<string, string>();
    public TimeSpan Timeout { get; init; } = TimeSpan.FromMinutes(5);
    public int Retries { get; init; }

    /// <summary>Wait before the first repeat; doubled each time, at most 100 s.</summary>
    public TimeSpan RetryDelay { get; init; } = TimeSpan.FromSeconds(1);
    public OnFailure OnFailure { get; init; } = OnFailure.Rollback;

    /// <summary>Whether an abort or a rollback undoes this step; a step that cannot be undone makes the run go forward only.</summary>
    public bool Undo { get; init; } = true;

    /// <summary>After this step has acted the run never undoes: it ends forward or calls a person.</summary>
    public bool PointOfNoReturn { get; init; }

    /// <summary>The step counts only against the run's report: traffic has already resumed.</summary>
    public bool AfterResume { get; init; }

    /// <summary>What must hold for the step to be done, read when it comes up (<see cref="Condition"/>); else it is skipped.</summary>
    public string? When { get; init; }

    /// <summary>The variant of the run, `graceful` or `ungraceful`, in which the step is done; null: in both.</summary>
    public string? Only { get; init; }

    /// <summary>Name of the parallel group that the step belongs to: its steps are started together, and the next step waits for all of them.</summary>
    public string? Group { get; init; }

    /// <summary>Who must agree before the step is done.</summary>
    public StepApproval? Approval { get; init; }

    /// <summary>What a person does by hand and then confirms with a note; the action is then `manual`.</summary>
    public string? Manual { get; init; }

    /// <summary>The runbook that is run as this step, with `with` as its inputs; the action is then `runbook`.</summary>
    public string? Runbook { get; init; }

    /// <summary>What must be so before the run may begin, and again right before the step acts.</summary>
    public StepCall? Check { get; init; }

    /// <summary>What must become so after the step has acted; also looked at after a crash, in place of the action's own look.</summary>
    public StepCall? Verify { get; init; }

    /// <summary>What takes the step back, in place of the action's own undo.</summary>
    public StepCall? UndoBy { get; init; }

    /// <summary>Whether the steps after it are done although it failed.</summary>
    [JsonIgnore]
    public bool GoesOn => OnFailure is OnFailure.Continue or OnFailure.ContinueAndFail;

    /// <summary>What a person does when the run ends here: a sentence with the next command; `${input}` is filled in.</summary>
    public string? IfStuck { get; init; }
}

/// <summary>Who must agree: how many different people, of which roles, and how long the run waits for them.</summary>
public sealed record StepApproval
{
    public static readonly IReadOnlyList<string> KnownRoles = ["viewer", "operator", "admin"];

    public IReadOnlyList<string> Roles { get; init; } = ["operator", "admin"];
    public int Count { get; init; } = 1;
    public TimeSpan Timeout { get; init; } = TimeSpan.FromHours(24);
}

/// <summary>An action, or a runbook, with its arguments.</summary>
public sealed record StepCall
{
    public string? Action { get; init; }
    public string? Runbook { get; init; }
    public IReadOnlyDictionary<string, string> With { get; init; } = new Dictionary<string, string>();
}

/// <summary>Actions that the engine itself brings, and the names that it gives a meaning.</summary>
public static class StepKind
{
    public const string Manual = "manual";
    public const string ChildRun = "runbook";
    public const string Approval = "approval";

    /// <summary>Name of the input that says in which variant a run goes.</summary>
    public const string VariantInput = "variant";
    public const string Graceful = "graceful";
    public const string Ungraceful = "ungraceful";
}

[JsonConverter(typeof(SnakeCaseEnumConverter<OnFailure>))]
public enum OnFailure
{
    Abort,

    /// <summary>The run goes on and may still succeed; the failure is a warning of its report.</summary>
    Continue,
    Rollback,

    /// <summary>The run goes on to its end, and ends failed.</summary>
    ContinueAndFail,
}
