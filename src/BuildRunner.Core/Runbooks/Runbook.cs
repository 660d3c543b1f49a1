using System.Text.Json.Serialization;

namespace BuildRunner.Core.Runbooks;

/// <summary>A procedure as data: what is done, in what order, how each step is checked, repeated and undone. A run pins its hash.</summary>
public sealed record Runbook
{
    public int SchemaVersion { get; init; } = 1;
    public required string Name { get; init; }
    public required string Title { get; init; }
    public DateOnly? Reviewed { get; init; }

    /// <summary>Names of the values a run takes; a required one without a value is refused.</summary>
    public IReadOnlyList<RunbookInput> Inputs { get; init; } = [];
    public required IReadOnlyList<RunbookStep> Steps { get; init; }
}

public sealed record RunbookInput(string Name, string Summary, bool Required = false, string? Default = null);

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

    /// <summary>Whether the steps after it are done although it failed.</summary>
    [JsonIgnore]
    public bool GoesOn => OnFailure is OnFailure.Continue or OnFailure.ContinueAndFail;

    /// <summary>What a person does when the run ends here: a sentence with the next command; `${input}` is filled in.</summary>
    public string? IfStuck { get; init; }
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
