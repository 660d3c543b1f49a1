namespace BuildRunner.Server.Agent;

/// <summary>What an agent needs to start; everything else comes with its assignment.</summary>
public sealed record AgentOptions
{
    public required string Region { get; init; }

    /// <summary>The agent's own folder: assignment, state, logs, and the database's folder or a link to it.</summary>
    public required string DataFolder { get; init; }
    public required Uri Server { get; init; }
    public required string TokenFile { get; init; }

    /// <summary>Address of this host as its own region reaches it.</summary>
    public required string Host { get; init; }

    /// <summary>PostgreSQL's port; 0: this host has no database.</summary>
    public int DatabasePort { get; init; }

    /// <summary>Data directory of a PostgreSQL that somebody else made and runs, and that is to become this region's; null: there is none.</summary>
    public string? Adopt { get; init; }

    /// <summary>Port on which this agent answers the others' agents (failsafe); 0: none.</summary>
    public int PeerPort { get; init; }

    /// <summary>Folder with the files `replication` and `app`: passwords of the database's roles, mode 0600.</summary>
    public string? SecretsFolder { get; init; }

    /// <summary>Folder of PostgreSQL's executables. Default: Debian's of version 15 when there, else the newest, else PATH.</summary>
    public string Binaries { get; init; } = FindBinaries();

    /// <summary>PostgreSQL's shared_buffers. Default: 128MB.</summary>
    public string SharedBuffers { get; init; } = "128MB";

    /// <summary>The `br` executable, which is the guard too. Default: this one.</summary>
    public string Executable { get; init; } = Path.Combine(AppContext.BaseDirectory, "br");

    /// <summary>Folder on a tmpfs in which permits lie. Default: /dev/shm/buildrunner.</summary>
    public string PermitRoot { get; init; } = "/dev/shm/buildrunner";

    /// <summary>Where a database lies whose data folder PostgreSQL's user cannot enter. Default: /var/tmp.</summary>
    public string ElsewhereRoot { get; init; } = Leftovers.Elsewhere;

    /// <summary>Unix socket whose holder PostgreSQL must not outlive. Default: BR_LIFELINE; null: it outlives everybody but its guard.</summary>
    public string? Lifeline { get; init; } = Environment.GetEnvironmentVariable("BR_LIFELINE");

    /// <summary>The database is a sandbox's: it may go with its folder. Default: whether there is a lifeline.</summary>
    public bool IsSandbox { get; init; } = Environment.GetEnvironmentVariable("BR_LIFELINE") is { Length: > 0 };

    private static string FindBinaries()
    {
        const string debian = "/usr/lib/postgresql";
        if (File.Exists($"{debian}/15/bin/postgres"))
            return $"{debian}/15/bin";
        return Directory.Exists(debian)
            ? Directory.GetDirectories(debian).Select(d => Path.Combine(d, "bin")).LastOrDefault(d => File.Exists(Path.Combine(d, "postgres"))) ?? ""
            : "";
    }
}
