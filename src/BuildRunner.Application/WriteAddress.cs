namespace BuildRunner.Application;

/// <summary>What the host's agent last said about the database: the epoch, whether anyone may write now, where writes go, and where this host's own copy is. Immutable.</summary>
public sealed record WriteAddress
{
    /// <summary>Nothing is known: closed, and nowhere to read.</summary>
    public static WriteAddress Unknown { get; } = new();

    public string? Region { get; init; }
    public string? Database { get; init; }

    /// <summary>Null: unknown.</summary>
    public long? Epoch { get; init; }

    /// <summary>True only when somebody may acknowledge writes at <see cref="Epoch"/> and <see cref="Write"/> says who.</summary>
    public bool Open { get; init; }
    public DatabaseEndpoint? Write { get; init; }
    public string? WriteRegion { get; init; }

    /// <summary>This host's own copy, for reads; null when it takes none.</summary>
    public DatabaseEndpoint? Read { get; init; }
    public string DatabaseName { get; init; } = "";
    public string User { get; init; } = "";
    public string PasswordFile { get; init; } = "";

    /// <summary>Writes go to this host's own region.</summary>
    public bool IsPrimaryHere => Open && WriteRegion is not null && WriteRegion == Region;
}

/// <summary>Host and port of a PostgreSQL, as this region reaches it.</summary>
public sealed record DatabaseEndpoint(string Host, int Port)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Host}:{Port}");
}
