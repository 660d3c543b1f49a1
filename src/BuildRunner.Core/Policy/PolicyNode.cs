namespace BuildRunner.Core.Policy;

/// <summary>A policy as it was written: a tree of mappings, sequences and scalars, each with its place. Whoever reads the file makes it.</summary>
public abstract record PolicyNode
{
    private PolicyNode() { }

    public PolicyPosition At { get; init; }

    /// <summary>A single value; <paramref name="Plain"/>: written without quotes.</summary>
    public sealed record Scalar(string Text, bool Plain = true) : PolicyNode
    {
        /// <summary>Nothing was written: `key:`, `~` or `null`.</summary>
        public bool IsNothing => Plain && Text is "" or "~" or "null";
    }

    public sealed record Sequence(IReadOnlyList<PolicyNode> Items) : PolicyNode;

    public sealed record Mapping(IReadOnlyList<PolicyEntry> Entries) : PolicyNode;
}

/// <summary>A key of a mapping, where it stands, and what it holds.</summary>
public sealed record PolicyEntry(string Key, PolicyPosition At, PolicyNode Value);

/// <summary>Where something stands, counted from 1; line 0 is an environment variable whose name is <paramref name="File"/>, no file at all a default.</summary>
public readonly record struct PolicyPosition(string? File, int Line, int Column)
{
    public static PolicyPosition Default => default;

    public static PolicyPosition Variable(string name) => new(name, 0, 0);

    public bool IsDefault => File is null;
    public bool IsVariable => File is not null && Line == 0;

    public override string ToString() => File is null ? "default" : Line == 0 ? $"environment variable {File}" : $"{File}:{Line}:{Column}";

    /// <summary>As in `config show --sources`: `policy.yml:12`, `env:DEFAULT_REGION`, `default`.</summary>
    public string Source => File is null ? "default" : Line == 0 ? $"env:{File}" : $"{File}:{Line}";
}
