using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Recovery;

/// <summary>Everything that readiness is judged on, read at one moment. Null is unknown, never zero.</summary>
public sealed record ReadinessReading
{
    public required PolicyDocument Policy { get; init; }
    public IReadOnlyList<ReadinessDatabase> Databases { get; init; } = [];
    public IReadOnlyList<ReadinessRunbook> Runbooks { get; init; } = [];
    public IReadOnlyList<ReadinessObserver> Observers { get; init; } = [];
    public IReadOnlyList<ReadinessRegion> Regions { get; init; } = [];
    public ReadinessServer Server { get; init; } = new(true, null);

    /// <summary>Null: the policy names no driver.</summary>
    public ReadinessDns? Dns { get; init; }

    /// <summary>What other rooms found, and the names of those that were asked.</summary>
    public IReadOnlyList<ReadinessFinding> Told { get; init; } = [];
    public IReadOnlyList<string> Sources { get; init; } = [];
}

/// <summary>A database as a failover would find it now; <paramref name="Run"/>: the run that is moving it.</summary>
public sealed record ReadinessDatabase(FailoverFacts Facts, string? Run = null);

/// <summary>What evaluating a runbook came to.</summary>
public sealed record ReadinessRunbook
{
    public required string Name { get; init; }

    /// <summary>False: its text, its actions or the regions it names are wrong, so that no run of it can begin.</summary>
    public required bool Sound { get; init; }

    /// <summary>What stands against a run with the inputs that it has by itself; empty also when it needs more of them.</summary>
    public IReadOnlyList<string> Problems { get; init; } = [];
    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <summary>The database that it moves; null: none.</summary>
    public string? Database { get; init; }
}

/// <summary>Someone who looks at regions; <paramref name="Region"/> null: stands in none.</summary>
public sealed record ReadinessObserver(string Name, string? Region, bool Reports);

/// <summary>A region's traffic and room. <paramref name="Rate"/>: requests per second it serves; <paramref name="Capacity"/>: what its ready instances take; null: cannot be told.</summary>
public sealed record ReadinessRegion(string Code, HealthState Health, bool TakesTraffic, double? Rate, double? Capacity);

/// <summary>Whether there is only one server, and the region in which it stands; null: it does not say.</summary>
public sealed record ReadinessServer(bool Alone, string? Region);

/// <summary>How writing and reading back names goes. <paramref name="Settled"/>: every authoritative server answers what it should.</summary>
public sealed record ReadinessDns(string Driver, bool Settled, string Said, string? WriteError = null, string? Fix = null);
