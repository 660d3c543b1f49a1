namespace BuildRunner.Core.Policy;

/// <summary>An entry of `commands`: a program that an agent may run for a runbook, with its arguments as they are; nothing is added to them.</summary>
public sealed record CommandDefinition
{
    public required string Name { get; init; }
    public IReadOnlyList<string> Command { get; init; } = [];

    /// <summary>After so long it is killed.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Regions whose agents may run it; empty: all.</summary>
    public IReadOnlyList<string> Regions { get; init; } = [];
}
