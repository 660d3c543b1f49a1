using BuildRunner.Core.Databases;

namespace BuildRunner.Core.Regions;

/// <summary>What is so of a region, apart from what observers see of it.</summary>
public sealed record RegionFacts
{
    public required string Code { get; init; }

    /// <summary>The role in force (<see cref="CurrentRole"/>), not the policy's.</summary>
    public required RegionRole Role { get; init; }

    /// <summary>Services that should run here, without `gateway` and `db`.</summary>
    public IReadOnlyList<ServiceFacts> Services { get; init; } = [];

    /// <summary>Null: the region has no database.</summary>
    public DatabaseFacts? Database { get; init; }
    public RegionControl Control { get; init; } = new();
}

/// <summary>A service that a region should run. <paramref name="Instances"/> null: nobody has said; 0: its agent says that none runs.</summary>
public sealed record ServiceFacts(string Service, int? Instances);

/// <summary>A region's copy of the database, as its agent reports it.</summary>
public sealed record DatabaseFacts
{
    /// <summary>What the agent read; null when it has not reported lately.</summary>
    public DatabaseReading? Reading { get; init; }

    /// <summary>Age of the agent's newest report; null: never reported.</summary>
    public TimeSpan? ReportAge { get; init; }

    /// <summary>Region that may write by the epoch record; null: there is no record yet.</summary>
    public string? Primary { get; init; }
    public long Epoch { get; init; }

    /// <summary>A run is moving the epoch: a primary that was stopped for that is no fault of its region.</summary>
    public bool Moving { get; init; }

    /// <summary>A copy further behind than this is degraded.</summary>
    public required TimeSpan LagMax { get; init; }
}

/// <summary>Someone who looks at regions and reports: a gateway, or the server (which stands in no region).</summary>
public sealed record Observer
{
    /// <summary>`gateway/us-east-1`, `server`.</summary>
    public required string Name { get; init; }
    public string? Region { get; init; }
    public IReadOnlyList<Sighting> Sightings { get; init; } = [];

    /// <summary>Reported lately. An observer that fell silent says nothing, but is not forgotten in the evidence.</summary>
    public TimeSpan? SilentFor { get; init; }
}

/// <summary>What an observer saw of a service in a region.</summary>
public sealed record Sighting
{
    public required string Region { get; init; }
    public required string Service { get; init; }

    /// <summary>By the observer's rise and fall counts; null: not yet known.</summary>
    public bool? Up { get; init; }
    public int FailuresInRow { get; init; }
    public string? Error { get; init; }
    public int Targets { get; init; } = 1;
    public IReadOnlyList<string> Down { get; init; } = [];
    public int PassiveRequests { get; init; }
    public int PassiveFailures { get; init; }
}

/// <summary>When failing user requests make an observer call a service down: at least this share of at least so many in ten seconds.</summary>
public sealed record PassiveRules(double FailureShare = 0.5, int RequestsMin = 20);
