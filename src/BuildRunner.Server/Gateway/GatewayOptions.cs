namespace BuildRunner.Server.Gateway;

/// <summary>What a gateway needs to start.</summary>
public sealed record GatewayOptions
{
    public required string Region { get; init; }

    /// <summary>Folder of the saved table and the affinity keys.</summary>
    public required string DataFolder { get; init; }
    public required Uri Server { get; init; }
    public required string TokenFile { get; init; }

    /// <summary>`address:port` for users.</summary>
    public required string Listen { get; init; }

    /// <summary>City database (MaxMind format); null: countries only.</summary>
    public string? GeoCityFile { get; init; }

    /// <summary>End when standard input closes.</summary>
    public bool WatchStdin { get; init; }

    /// <summary>How long a connection to an origin may take. Default: 1.5 s.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromMilliseconds(1500);

    /// <summary>Requests run on the socket's own thread: a third less work each (docs: bench). Off: on the thread pool.</summary>
    public bool Inline { get; init; } = true;

    /// <summary>Longest body that is kept so that it can be sent again or wait in a hold. Default: 1 MiB.</summary>
    public int BufferedBodyMax { get; init; } = 1024 * 1024;

    /// <summary>Longest body at all. Default: 100 MiB.</summary>
    public long BodyMax { get; init; } = 100L * 1024 * 1024;
    public int ConnectionsMax { get; init; } = 10_000;
}
