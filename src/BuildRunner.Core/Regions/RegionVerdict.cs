namespace BuildRunner.Core.Regions;

/// <summary>What is believed of a region's health, since when, and why.</summary>
public sealed record RegionVerdict
{
    public required string Code { get; init; }
    public required HealthState Health { get; init; }

    /// <summary>When the region took this state.</summary>
    public required DateTimeOffset Since { get; init; }

    /// <summary>One clause for people: why it is not healthy; empty when it is.</summary>
    public string Reason { get; init; } = "";
    public IReadOnlyList<ServiceVerdict> Services { get; init; } = [];

    /// <summary>Statements of the observers, one sentence each: who saw what, and who was not believed and why.</summary>
    public IReadOnlyList<string> Evidence { get; init; } = [];

    /// <summary>`region_health_check_failures`: consecutive failed checks of what the region cannot do without, as a majority of observers saw them.</summary>
    public int CheckFailures { get; init; }

    /// <summary>Verdict on one of its services; `gateway` and `db` are the region's own. Unknown when nothing is known of it.</summary>
    public HealthState HealthOf(string service) => Services.FirstOrDefault(s => s.Service == service)?.Health ?? HealthState.Unknown;
}

/// <summary>What is believed of a service in a region.</summary>
public sealed record ServiceVerdict
{
    public required string Service { get; init; }
    public required HealthState Health { get; init; }
    public string Reason { get; init; } = "";

    /// <summary>Consecutive failed checks that a majority of the observers saw.</summary>
    public int CheckFailures { get; init; }

    /// <summary>Observers that say up, that say down, and that could not say.</summary>
    public int Up { get; init; }
    public int Down { get; init; }
    public int Unsure { get; init; }
}
