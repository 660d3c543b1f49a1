namespace BuildRunner.Server.Access;

/// <summary>What Access needs to start.</summary>
public sealed record AccessOptions
{
    /// <summary>Folder in which the first administrator's token is put, as `token`.</summary>
    public required string DataFolder { get; init; }

    /// <summary>File with hashes of tokens to know from the start; null: none.</summary>
    public string? SeedTokens { get; init; }

    /// <summary>Host names by which the server may be called, beside loopback's.</summary>
    public IReadOnlyList<string> Hosts { get; init; } = [];
}

/// <summary>Access cannot be set up: a file that holds secrets is open to others, or is not what it should be.</summary>
public sealed class AccessException(string message, Exception? inner = null) : Exception(message, inner);
