using System.Text.Json.Serialization;

namespace BuildRunner.Core.Databases;

/// <summary>One line of JSON from an agent to the guard of its PostgreSQL; the guard answers with one <see cref="GuardAnswer"/>.</summary>
public sealed record GuardRequest
{
    /// <summary>`status`, `stop` or `deadline`.</summary>
    public required string Do { get; init; }

    /// <summary>Stop: the epoch to fence; null: an ordinary stop that leaves no fence.</summary>
    public long? Epoch { get; init; }
    public string? Run { get; init; }

    /// <summary>Stop without a fence: let transactions be cut and buffers be written for at most this long before the immediate stop.</summary>
    public int FastMs { get; init; }

    /// <summary>Deadline: milliseconds of CLOCK_BOOTTIME; only ever grows. <see cref="GateName.NoDeadline"/> lifts it.</summary>
    public long? DeadlineMs { get; init; }
}

public sealed record GuardAnswer
{
    public required bool Ok { get; init; }
    public string? Error { get; init; }
    public int Guard { get; init; }
    public int Postmaster { get; init; }
    public bool Running { get; init; }
    public string? Data { get; init; }
    public long? DeadlineMs { get; init; }

    /// <summary>The gate is connected: PostgreSQL answers commits when the guard confirms them.</summary>
    public bool Gate { get; init; }

    /// <summary>Processes that the immediate stop did not end and SIGKILL did.</summary>
    public int Killed { get; init; }

    /// <summary>Processes with the data directory as working directory that are neither gone, zombies nor under a pending SIGKILL.</summary>
    public int Left { get; init; }
    public string? Evidence { get; init; }
    public FenceFile? Fence { get; init; }

    /// <summary>False: the fence stood before.</summary>
    public bool Effect { get; init; }
}

/// <summary>The guard as a synchronous standby.</summary>
public static class GateName
{
    /// <summary>Its name in `synchronous_standby_names`.</summary>
    public const string Value = "br_gate";

    /// <summary>A deadline that never comes.</summary>
    public const long NoDeadline = long.MaxValue;
}

/// <summary>`fence.json` beside a data directory: the highest epoch that ended here for good, fsynced before anyone is told.</summary>
public sealed record FenceFile
{
    public int SchemaVersion { get; init; } = 1;
    public required long Epoch { get; init; }
    public string? Run { get; init; }
    public required string Evidence { get; init; }
    public required DateTimeOffset At { get; init; }

    /// <summary>How often a fence took effect here since the data was made; counted in the same write.</summary>
    public int Fences { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(GuardRequest))]
[JsonSerializable(typeof(GuardAnswer))]
[JsonSerializable(typeof(FenceFile))]
public sealed partial class GuardJson : JsonSerializerContext;
