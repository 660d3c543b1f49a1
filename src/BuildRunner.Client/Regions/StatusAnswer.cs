using BuildRunner.Core.Regions;

namespace BuildRunner.Client.Regions;

/// <summary>`GET /v1/status`, and a line a change of `GET /v1/status/watch`.</summary>
public sealed record StatusAnswer
{
    public int SchemaVersion { get; init; } = 1;
    public required DateTimeOffset At { get; init; }
    public required HealthState Health { get; init; }
    public required string Sentence { get; init; }
    public IReadOnlyList<StatusProblemItem> Problems { get; init; } = [];
    public IReadOnlyList<string> Notes { get; init; } = [];
    public string? Next { get; init; }

    /// <summary>`act` or `observe`.</summary>
    public string Mode { get; init; } = "act";
    public StatusFreezeItem? Freeze { get; init; }
    public bool RecoveryEnabled { get; init; } = true;
    public bool MultiRegion { get; init; } = true;
    public IReadOnlyList<StatusRunItem> Runs { get; init; } = [];
    public IReadOnlyList<RegionItem> Regions { get; init; } = [];

    /// <summary>User requests a second that each region served over the last 10 s, as the gateways counted them.</summary>
    public IReadOnlyDictionary<string, double> RequestsPerSecond { get; init; } = new Dictionary<string, double>();

    /// <summary>The newest events, newest first.</summary>
    public IReadOnlyList<StatusEventItem> Events { get; init; } = [];

    /// <summary>`server`, or `table` when a command made it up from the last saved table.</summary>
    public string Source { get; init; } = "server";
}

public sealed record StatusProblemItem(string Region, HealthState Health, string What, DateTimeOffset? Since, string Next);

public sealed record StatusFreezeItem(string Reason, string By, DateTimeOffset Until);

public sealed record StatusRunItem(string Id, string Title, string State, DateTimeOffset Since);

public sealed record StatusEventItem(long Id, DateTimeOffset At, string Kind, string Actor, string Summary);
