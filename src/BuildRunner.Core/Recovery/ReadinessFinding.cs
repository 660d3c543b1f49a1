using System.Text.Json.Serialization;

namespace BuildRunner.Core.Recovery;

/// <summary>Something that stands against recovering tonight, that cannot be told, or that a person should look at.</summary>
public sealed record ReadinessFinding
{
    /// <summary>What kind of thing it is, a word that stays: `agent.unreachable`, `rewind.impossible`.</summary>
    public required string Code { get; init; }
    public required ReadinessSeverity Severity { get; init; }

    /// <summary>One sentence: what is wrong, with what.</summary>
    public required string Reason { get; init; }

    /// <summary>One sentence: what to do.</summary>
    public required string Remedy { get; init; }

    /// <summary>The runbook that would fail; null: it is about no single one.</summary>
    public string? Runbook { get; init; }
    public string? Database { get; init; }
    public string? Region { get; init; }

    /// <summary>Since which evaluation it has been found without a break.</summary>
    public DateTimeOffset? Since { get; init; }

    /// <summary>Equal for the same trouble in two evaluations, whatever the numbers in its reason.</summary>
    [JsonIgnore]
    public string Key => $"{Code}|{Runbook}|{Database}|{Region}";
}

/// <summary>The worst decides the verdict: red before unknown before warning.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<ReadinessSeverity>))]
public enum ReadinessSeverity
{
    Warning,

    /// <summary>Something that the verdict rests on could not be read.</summary>
    Unknown,
    Red,
}

[JsonConverter(typeof(SnakeCaseEnumConverter<ReadinessVerdict>))]
public enum ReadinessVerdict
{
    Unknown,
    Ready,
    ReadyWithWarnings,
    NotReady,
}
