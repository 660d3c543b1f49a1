using Npgsql;

namespace BuildRunner.Application;

/// <summary>What an application tells BuildRunner's library when it starts.</summary>
public sealed class BuildRunnerApplicationOptions
{
    /// <summary>The agent's address file of the application's database on this host. It need not exist yet.</summary>
    public required string AddressFile { get; init; }

    /// <summary>Name under which PostgreSQL lists the connections. Default: buildrunner-application.</summary>
    public string ApplicationName { get; init; } = "buildrunner-application";

    /// <summary>Connections that write, and as many that read, at most. Where this host's copy is the primary they come from one pool. Default: 16.</summary>
    public int ConnectionsMax { get; init; } = 16;

    /// <summary>How long a connection may take to open. Default: 2 s.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How long a statement, or the wait for a commit's confirmation, may take; a commit that takes longer is "unknown". Default: 10 s.</summary>
    public TimeSpan CommandTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Last word on the data sources (types, TLS, tracing). What the commit helper relies on is set after it.</summary>
    public Action<NpgsqlSlimDataSourceBuilder>? Configure { get; init; }
}
