using System.Text.Json.Serialization;
using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent.Adoption;

/// <summary>A PostgreSQL that somebody else made and runs: what its host and the server itself say of it.</summary>
internal sealed record FoundServer
{
    /// <summary>Its data directory, links resolved.</summary>
    public required string Folder { get; init; }

    /// <summary>Process id of the postmaster.</summary>
    public required int Process { get; init; }
    public required int Port { get; init; }

    /// <summary>Who started it and may start it again: a service of systemd or another parent process; null: nobody who is still there.</summary>
    public string? Starter { get; init; }

    /// <summary>Names of variables that it has and the agent has not.</summary>
    public IReadOnlyList<string> Variables { get; init; } = [];

    /// <summary>What stands on the disk against it, each a sentence.</summary>
    public IReadOnlyList<string> DiskProblems { get; init; } = [];

    /// <summary>Major version of the programs that the agent would run it with; null: they did not say.</summary>
    public int? ProgramsMajor { get; init; }

    /// <summary>Its configuration is one that BuildRunner wrote or closed: an adoption was broken off there.</summary>
    public bool Broken { get; init; }

    /// <summary>Highest epoch of a marker in the application's database; null: it bears none.</summary>
    public long? Marker { get; init; }

    /// <summary>What it said of itself.</summary>
    public required FoundAnswers Said { get; init; }
}

/// <summary>Answers of the server to one statement of <see cref="AdoptionReader"/>.</summary>
internal sealed record FoundAnswers
{
    public required bool InRecovery { get; init; }
    public required bool Superuser { get; init; }
    public required string System { get; init; }
    public required int Number { get; init; }
    public required string Version { get; init; }
    public required bool Checksums { get; init; }
    public required string ConfigFile { get; init; }
    public required string HbaFile { get; init; }
    public required string IdentFile { get; init; }
    public required string Listen { get; init; }
    public required string Sockets { get; init; }
    public required string SyncNames { get; init; }
    public required IReadOnlyList<string> Databases { get; init; }

    /// <summary>Roles that may log in, at most 200.</summary>
    public required IReadOnlyList<string> Roles { get; init; }
    public required IReadOnlyList<string> Tablespaces { get; init; }
    public required int Sessions { get; init; }

    /// <summary>Those that stream from it.</summary>
    public required int Receivers { get; init; }

    /// <summary>The extension pg_stat_statements is installed on the host.</summary>
    public required bool Statements { get; init; }
    public required int Timeline { get; init; }
    public required string Position { get; init; }

    /// <summary>Lines of its configuration files, in order; `auto`: of postgresql.auto.conf, which stays as it is.</summary>
    public required IReadOnlyList<FoundSetting> Files { get; init; }

    /// <summary>Settings that it was started with.</summary>
    public required IReadOnlyList<FoundSetting> Arguments { get; init; }

    /// <summary>Settings of the files that take effect only at the next start.</summary>
    public required IReadOnlyList<string> Pending { get; init; }

    /// <summary>Values in force of settings that the house sets otherwise.</summary>
    public required IReadOnlyDictionary<string, string> InForce { get; init; }

    /// <summary>Lines of its access rules and user names that are wrong: its next start would fail.</summary>
    public required IReadOnlyList<string> Rules { get; init; }

    /// <summary>How the superuser may come over a socket.</summary>
    public required IReadOnlyList<string> LocalMethods { get; init; }

    public int Major => Number / 10_000;
    public Lsn At => Lsn.Parse(Position);
}

/// <summary>A setting as its file has it.</summary>
internal sealed record FoundSetting(string? Name, string? Setting, string? Error = null, bool Auto = false);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(FoundAnswers))]
internal sealed partial class AdoptionJson : JsonSerializerContext;
