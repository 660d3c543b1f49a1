namespace BuildRunner.Core.Databases;

/// <summary>What a recovery needs to know of a PostgreSQL's settings and rights, read every 15 s.</summary>
public sealed record DatabaseSettings
{
    public required bool DataChecksums { get; init; }
    public required bool WalLogHints { get; init; }
    public required bool FullPageWrites { get; init; }

    /// <summary>Whose commits wait neither for the gate nor for standbys.</summary>
    public IReadOnlyList<LooseCommit> LooseCommits { get; init; } = [];

    /// <summary>Rights that orders need and that are not there, a clause each: `the role br_replication may not replicate`.</summary>
    public IReadOnlyList<string> MissingRights { get; init; } = [];

    /// <summary>Where the oldest WAL that is still there begins; null: it could not be told.</summary>
    public Lsn? OldestWal { get; init; }
}

/// <summary>Sessions that commit with synchronous_commit `off` or `local`: of a role, in a database, or, both null, of everybody.</summary>
public sealed record LooseCommit(string? Role, string? Database, string Setting)
{
    /// <summary>`The role app in the database shop`.</summary>
    public string Whose => (Role, Database) switch
    {
        (null, null) => "Everybody",
        ({ } role, null) => $"The role {role}",
        (null, { } database) => $"Everybody in the database {database}",
        ({ } role, { } database) => $"The role {role} in the database {database}",
    };

    /// <summary>The statement that takes the setting back.</summary>
    public string Remedy => (Role, Database) switch
    {
        (null, null) => "alter system reset synchronous_commit; select pg_reload_conf()",
        ({ } role, null) => $"alter role {Quoted(role)} reset synchronous_commit",
        (null, { } database) => $"alter database {Quoted(database)} reset synchronous_commit",
        ({ } role, { } database) => $"alter role {Quoted(role)} in database {Quoted(database)} reset synchronous_commit",
    };

    private static string Quoted(string name) => name.All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c == '_') ? name : $"\"{name.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
}
