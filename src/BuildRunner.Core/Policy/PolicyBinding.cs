namespace BuildRunner.Core.Policy;

/// <summary>What came of reading a policy: the document, or every error at once.</summary>
public sealed record PolicyBinding
{
    /// <summary>Null when there is any error.</summary>
    public PolicyDocument? Document { get; init; }
    public IReadOnlyList<PolicyError> Errors { get; init; } = [];

    /// <summary>Every effective value and where it came from; empty when there is any error.</summary>
    public IReadOnlyList<PolicyValue> Values { get; init; } = [];
}

/// <summary>An effective value: `policy.yml:12`, `env:DEFAULT_REGION` or `default` is its source.</summary>
public sealed record PolicyValue(string Path, string Value, string Source);
