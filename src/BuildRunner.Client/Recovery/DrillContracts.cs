using System.Text.Json.Serialization;
using BuildRunner.Core.Recovery;

namespace BuildRunner.Client.Recovery;

/// <summary>`GET /v1/dr/drills`: newest first, evaluations too; and how each kind got on.</summary>
public sealed record DrillsAnswer
{
    public int SchemaVersion { get; init; } = 1;
    public required IReadOnlyList<DrillRecord> Drills { get; init; }
    public IReadOnlyList<DrillTrend> Trends { get; init; } = [];
}

/// <summary>`GET /v1/dr/drills/schedule`, and the answer to arming.</summary>
public sealed record ScheduleAnswer
{
    public int SchemaVersion { get; init; } = 1;
    public required IReadOnlyList<ScheduleRow> Schedule { get; init; }

    /// <summary>What would keep an armed drill from beginning now; null: nothing.</summary>
    public string? WhyNotNow { get; init; }
}

/// <param name="Kind">`failover`, `scenario`, `data-recovery` or `disaster`.</param>
/// <param name="Cron">Crontab, UTC.</param>
/// <param name="Next">Next time; null: there is none.</param>
/// <param name="Armed">True: it is done for real; false: it is only evaluated.</param>
/// <param name="ArmedUntil">Null: until somebody takes it back.</param>
/// <param name="ArmedBy">Who armed it.</param>
/// <param name="Last">What was done about the last time; null: the calendar has just begun.</param>
/// <param name="NotYet">Why this kind cannot be done yet.</param>
public sealed record ScheduleRow(string Kind, string Cron, DateTimeOffset? Next, bool Armed, DateTimeOffset? ArmedUntil, string? ArmedBy, DrillCalendarRecord? Last, string? NotYet);

/// <summary>`POST /v1/dr/drills/arm`.</summary>
public sealed record ArmOrder
{
    public int SchemaVersion { get; init; } = 1;
    public required string Kind { get; init; }

    /// <summary>Null: until somebody takes it back.</summary>
    public DateTimeOffset? Until { get; init; }

    /// <summary>True: from now on it is evaluated only.</summary>
    public bool Off { get; init; }
}

/// <summary>`GET /v1/dr/evidence/key`: the public half; `value` is empty.</summary>
public sealed record EvidenceKeyAnswer
{
    public int SchemaVersion { get; init; } = 1;
    public required EvidenceSignature Key { get; init; }
}

/// <summary>`br dr evidence … --output json`.</summary>
public sealed record EvidenceCheck
{
    public int SchemaVersion { get; init; } = 1;
    public required string File { get; init; }
    public required bool Genuine { get; init; }
    public required string Fingerprint { get; init; }

    /// <summary>The key is the one that the reader named.</summary>
    public required bool Vouched { get; init; }
    public required DateTimeOffset From { get; init; }
    public required DateTimeOffset To { get; init; }
    public required int Drills { get; init; }
    public required IReadOnlyList<string> Gaps { get; init; }
}

/// <summary>A drill's end, for `br dr drill run --output json`.</summary>
public sealed record DrillAnswer
{
    public int SchemaVersion { get; init; } = 1;
    public required DrillRecord Drill { get; init; }
}

/// <summary>`GET /v1/dr/scenarios`: in the order of names, and what of the folder could not be read.</summary>
public sealed record ScenariosAnswer
{
    public int SchemaVersion { get; init; } = 1;
    public required IReadOnlyList<ScenarioSummary> Scenarios { get; init; }
    public IReadOnlyList<string> Bad { get; init; } = [];
}

/// <param name="Name">By which it is run.</param>
/// <param name="Title">What it tries.</param>
/// <param name="Expect">What must come of it.</param>
/// <param name="Faults">What is broken, one line each.</param>
/// <param name="Reviewed">When a person last read it.</param>
public sealed record ScenarioSummary(string Name, string Title, DrillExpectation Expect, IReadOnlyList<string> Faults, DateOnly? Reviewed);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(DrillRecord))]
[JsonSerializable(typeof(DrillState))]
[JsonSerializable(typeof(DrillsAnswer))]
[JsonSerializable(typeof(DrillAnswer))]
[JsonSerializable(typeof(ScenariosAnswer))]
[JsonSerializable(typeof(ScheduleAnswer))]
[JsonSerializable(typeof(ArmOrder))]
[JsonSerializable(typeof(DrillCalendarRecord))]
[JsonSerializable(typeof(DrillArming))]
[JsonSerializable(typeof(EvidenceKeyAnswer))]
[JsonSerializable(typeof(EvidenceCheck))]
public sealed partial class DrillsJson : JsonSerializerContext;

public static class DrillsClient
{
    public static Task<ScenariosAnswer> ScenariosAsync(this ApiConnection api, CancellationToken cancel) => api.GetAsync("/v1/dr/scenarios", DrillsJson.Default.ScenariosAnswer, cancel);

    public static Task<ScheduleAnswer> ScheduleAsync(this ApiConnection api, CancellationToken cancel) => api.GetAsync("/v1/dr/drills/schedule", DrillsJson.Default.ScheduleAnswer, cancel);

    public static Task<ScheduleAnswer> ArmAsync(this ApiConnection api, ArmOrder order, CancellationToken cancel) =>
        api.SendAsync(HttpMethod.Post, "/v1/dr/drills/arm", order, DrillsJson.Default.ArmOrder, DrillsJson.Default.ScheduleAnswer, cancel);

    /// <summary>A signed file's bytes, as they are.</summary>
    public static Task<byte[]> EvidenceAsync(this ApiConnection api, DateTimeOffset from, DateTimeOffset to, CancellationToken cancel) =>
        api.GetBytesAsync($"/v1/dr/evidence?from={Uri.EscapeDataString(from.ToString("O", CultureInfo.InvariantCulture))}&to={Uri.EscapeDataString(to.ToString("O", CultureInfo.InvariantCulture))}", cancel);

    public static Task<EvidenceKeyAnswer> EvidenceKeyAsync(this ApiConnection api, CancellationToken cancel) => api.GetAsync("/v1/dr/evidence/key", DrillsJson.Default.EvidenceKeyAnswer, cancel);

    public static Task<DrillsAnswer> DrillsAsync(this ApiConnection api, CancellationToken cancel) => api.GetAsync("/v1/dr/drills", DrillsJson.Default.DrillsAnswer, cancel);
}
