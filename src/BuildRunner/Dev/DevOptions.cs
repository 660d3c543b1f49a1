namespace BuildRunner.Dev;

/// <summary>What `br dev` was asked for.</summary>
internal sealed record DevOptions
{
    /// <summary>Folder of everything it makes, absolute.</summary>
    public required string Data { get; init; }
    public bool Traffic { get; init; } = true;

    /// <summary>Whether links between regions have their distance's delay.</summary>
    public bool Wan { get; init; } = true;

    /// <summary>Writes wait for a copy, whatever the policy says.</summary>
    public bool Sync { get; init; }

    /// <summary>Added to every port; null: a free one is looked for.</summary>
    public int? PortOffset { get; init; } = 0;

    /// <summary>Policy that the server reads; null: BR_POLICY, then `governance/policy.yml` here, then the shipped one.</summary>
    public string? Policy { get; init; }

    /// <summary>City database for the gateways; null: countries only.</summary>
    public string? GeoCity { get; init; }
}
