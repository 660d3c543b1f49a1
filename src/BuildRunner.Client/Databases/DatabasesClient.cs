using System.Text.Json.Serialization;
using BuildRunner.Core.Databases;

namespace BuildRunner.Client.Databases;

/// <summary>`GET /v1/databases`: who is primary, at which epoch, and how far each copy is behind.</summary>
public sealed class DatabasesClient(ApiConnection api)
{
    public Task<DatabasesView> ListAsync(CancellationToken cancel) => api.GetAsync("/v1/databases", DatabasesJson.Default.DatabasesView, cancel);
}

public sealed record DatabasesView
{
    public int SchemaVersion { get; init; } = 1;
    public required IReadOnlyList<DatabaseView> Databases { get; init; }
}

public sealed record DatabaseView
{
    public required string Name { get; init; }

    /// <summary>Null: no epoch has been opened yet.</summary>
    public EpochRecord? Record { get; init; }
    public required IReadOnlyList<DatabaseCopyView> Regions { get; init; }
}

/// <summary>A region's copy: its newest reading, and what was known of it with the primary's last report.</summary>
public sealed record DatabaseCopyView
{
    public required string Region { get; init; }

    /// <summary>`unknown` when its agent has not reported for 3 s.</summary>
    public required DatabaseState State { get; init; }
    public double? ReportAgeSeconds { get; init; }

    public DatabaseReading? Reading { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(DatabasesView))]
public sealed partial class DatabasesJson : JsonSerializerContext;
