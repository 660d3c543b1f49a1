namespace BuildRunner.Client.Databases;

/// <summary>Name and place of the file in which an agent tells the applications on its host where to write, and at which epoch; written whole and renamed.</summary>
/// <remarks>The same shape is read by BuildRunner.Application; see tests/recordings.</remarks>
public sealed record AddressFile
{
    public int SchemaVersion { get; init; } = 1;
    public required string Region { get; init; }
    public required string Database { get; init; }
    public required long Epoch { get; init; }

    /// <summary>False: nobody may write now (a run is moving the epoch, or this host does not know).</summary>
    public required bool Open { get; init; }

    /// <summary>Where writes go, as this region reaches it; null while nobody is primary.</summary>
    public string? WriteHost { get; init; }
    public int WritePort { get; init; }
    public string? WriteRegion { get; init; }

    /// <summary>This host's own copy, for reads; null when it takes none.</summary>
    public string? ReadHost { get; init; }
    public int ReadPort { get; init; }

    /// <summary>Database, user and the file that holds the password (mode 0600).</summary>
    public required string DatabaseName { get; init; }
    public required string User { get; init; }
    public required string PasswordFile { get; init; }
}
