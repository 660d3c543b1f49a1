namespace BuildRunner.Core.Policy;

/// <summary>The section `storage`: where the control plane keeps its state.</summary>
public sealed record StorageRules
{
    public const string Sqlite = "sqlite";

    public string Driver { get; init; } = Sqlite;
}
