namespace BuildRunner.Core.Regions;

/// <summary>What people have asked of a region: kept in the store under `regions/CODE/control`, changed only by runs.</summary>
public sealed record RegionControl
{
    public int SchemaVersion { get; init; } = 1;

    /// <summary>True: no new work comes here; what is under way ends.</summary>
    public bool Draining { get; init; }

    /// <summary>Share of what would come here that may come, 0..100.</summary>
    public int Weight { get; init; } = 100;

    /// <summary>Who asked last, and why; for people.</summary>
    public string By { get; init; } = "";
    public string Reason { get; init; } = "";

    /// <summary>The step of a run that wrote it, `run/step`, and what was asked before: a step cut off after writing finds here what it has to put back.</summary>
    public string? Step { get; init; }
    public RegionShare? Was { get; init; }
}

/// <summary>What a region takes of its traffic.</summary>
public sealed record RegionShare(bool Draining, int Weight);
