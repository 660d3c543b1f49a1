namespace BuildRunner.Core.Runbooks;

/// <summary>A runbook as it was written, before groups are laid out and everything is checked.</summary>
internal sealed record RunbookDraft
{
    public string? Name { get; init; }
    public string? Title { get; init; }
    public DateOnly? Reviewed { get; init; }
    public string? Over { get; init; }
    public IReadOnlyList<RunbookInput> Inputs { get; init; } = [];
    public IReadOnlyList<StepDraft> Steps { get; init; } = [];
}

/// <summary>A step as it was written; a missing key is null.</summary>
internal sealed record StepDraft
{
    public string? Id { get; init; }
    public string? Title { get; init; }
    public string? Summary { get; init; }
    public string? Action { get; init; }
    public IReadOnlyDictionary<string, string> With { get; init; } = new Dictionary<string, string>();
    public string? When { get; init; }
    public string? Only { get; init; }
    public TimeSpan? Timeout { get; init; }
    public int? Retries { get; init; }
    public TimeSpan? RetryDelay { get; init; }
    public OnFailure? OnFailure { get; init; }
    public StepCall? Check { get; init; }
    public StepCall? Verify { get; init; }
    public UndoDraft? Undo { get; init; }
    public bool PointOfNoReturn { get; init; }
    public bool AfterResume { get; init; }
    public string? IfStuck { get; init; }
    public ApprovalDraft? Approval { get; init; }
    public string? Manual { get; init; }
    public string? Runbook { get; init; }
    public IReadOnlyList<StepDraft> Parallel { get; init; } = [];
}

internal sealed record ApprovalDraft
{
    public IReadOnlyList<string>? Roles { get; init; }
    public int? Count { get; init; }
    public TimeSpan? Timeout { get; init; }
}

/// <summary>`undo: false`, `undo: true`, or what takes the step back.</summary>
internal sealed record UndoDraft(bool Can, StepCall? By);
