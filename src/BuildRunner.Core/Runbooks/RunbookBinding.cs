using BuildRunner.Core.Policy;

namespace BuildRunner.Core.Runbooks;

/// <summary>What came of reading a runbook's text: the runbook, or every error at once.</summary>
public sealed record RunbookBinding
{
    /// <summary>Null when there is any error.</summary>
    public Runbook? Runbook { get; init; }
    public IReadOnlyList<PolicyError> Errors { get; init; } = [];

    /// <summary>The name that the text gives itself, also when it is bad; null when it gives none.</summary>
    public string? Name { get; init; }
}
