using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Routing;

/// <summary>All that a region choice may depend on beside the table: the same facts give the same decision, in a gateway and in `br route explain`.</summary>
public sealed record RequestFacts
{
    /// <summary>Code of the region whose gateway took the request.</summary>
    public required string Gateway { get; init; }
    public required string Method { get; init; }

    /// <summary>Decoded path, without the query.</summary>
    public required string Path { get; init; }

    /// <summary>See <see cref="ClientKey"/>.</summary>
    public required ulong Client { get; init; }

    /// <summary>Where the address is; null: not known.</summary>
    public GeoPlace? Place { get; init; }

    /// <summary>The cookie `br-region` as it came.</summary>
    public string? RegionCookie { get; init; }

    /// <summary>What a genuine, unexpired `br-affinity` says; null: none, forged or expired.</summary>
    public AffinityClaim? Affinity { get; init; }

    /// <summary>A WebSocket upgrade or a gRPC call: goes to the primary's region unless the route says that it reads.</summary>
    public bool Stream { get; init; }

    /// <summary>Services in regions that this gateway itself sees down: taken last, whatever the table says.</summary>
    public IReadOnlySet<(string Region, string Service)> SeenDown { get; init; } = NothingDown;

    private static readonly HashSet<(string Region, string Service)> NothingDown = [];
}

/// <summary>Where an address is, as far as the data tells: a point from a city database, or a country alone (its point is where its people are).</summary>
public readonly record struct GeoPlace(string Country, GeoPoint? Point, bool City);

/// <summary>What a `br-affinity` cookie claims, once its signature has been checked.</summary>
public readonly record struct AffinityClaim(string Region, DateTimeOffset Issued, DateTimeOffset Expires);
