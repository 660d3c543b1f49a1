using System.Text.Json.Serialization;

namespace BuildRunner.Core.Routing;

/// <summary>Where a request goes, or why it goes nowhere; every answer carries its reasons, in the order in which they counted.</summary>
public abstract record RegionDecision
{
    private RegionDecision() { }

    /// <summary>What decided the region.</summary>
    public RoutePrecision Precision { get; init; }

    /// <summary>The region nearest the address; null when the table knows none.</summary>
    public string? Home { get; init; }
    public RouteMatch? Match { get; init; }
    public bool IsWrite { get; init; }

    /// <summary>Empty unless asked for: the hot path builds no sentences.</summary>
    public IReadOnlyList<string> Reasons { get; init; } = [];

    /// <summary>To an instance in <paramref name="Region"/>; a read whose connection fails may go to <paramref name="Retry"/> once. A write carries the epoch.</summary>
    public sealed record Send(string Region, string? Retry, string? Database, long Epoch) : RegionDecision;

    /// <summary>A write that waits until the hold is gone; it would go to <paramref name="Region"/>.</summary>
    public sealed record Hold(string Region, string Database, string HoldId, long Epoch) : RegionDecision;

    /// <summary>Answered here: 403 not allowed, 404 no such route, 451 data residency, 503 nobody can serve it now.</summary>
    public sealed record Refuse(int Status, string Problem, string Because) : RegionDecision;
}

/// <summary>What decided a region.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<RoutePrecision>))]
public enum RoutePrecision
{
    /// <summary>Nothing better was known, or MULTIREGION_ENABLED=false: the default region.</summary>
    Default,

    /// <summary>The user's own choice, `br-region`.</summary>
    Cookie,
    Affinity,

    /// <summary>The address' country: where its people are on the average.</summary>
    Country,

    /// <summary>The address' own point, from a city database.</summary>
    City,

    /// <summary>The place of the address is unknown: nearest to the gateway that took the request.</summary>
    Latency,

    /// <summary>A write: the region that holds the epoch, wherever the user is.</summary>
    Primary,
}
