using System.Text.Json;
using System.Text.Json.Serialization;
using BuildRunner.Core;

namespace BuildRunner.Dev;

/// <summary>Whether a region's processes run.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<RegionPower>))]
internal enum RegionPower
{
    On,

    /// <summary>Ended by `br dev kill`.</summary>
    Killed,

    /// <summary>Ended, or seen to be ended, on the server's order: started again by `br dev heal` only.</summary>
    Off,
}

/// <summary>`GET /v1/status` of the supervisor.</summary>
internal sealed record SandboxStatus
{
    public int SchemaVersion { get; init; } = 1;
    public required string State { get; init; }
    public required int ProcessId { get; init; }
    public required string Data { get; init; }
    public required string Server { get; init; }
    public required string Dns { get; init; }
    public required string TokenFile { get; init; }
    public required IReadOnlyList<SandboxRegion> Regions { get; init; }
    public required IReadOnlyList<SandboxProcess> Processes { get; init; }
}

internal sealed record SandboxRegion
{
    public required string Code { get; init; }
    public required string Gateway { get; init; }
    public required string? Database { get; init; }
    public required RegionPower Power { get; init; }

    /// <summary>`open`, `refusing`, `silent`, `silent_in` or `silent_out`: what its links to other regions do.</summary>
    public required string Links { get; init; }

    /// <summary>`br dev freeze` stopped something in it that `br dev heal` has not thawed yet.</summary>
    public bool Frozen { get; init; }

    /// <summary>Orders to power it off that took effect since the start.</summary>
    public required int PowerOffs { get; init; }
}

internal sealed record SandboxProcess(string Name, string? Region, int? ProcessId, int Restarts);

/// <summary>Answer to `POST /v1/power/{region}/off`: proof that a region runs nothing.</summary>
internal sealed record PowerOff
{
    public required string Region { get; init; }
    public required bool Off { get; init; }

    /// <summary>True for the order that changed it; a repeat finds it so.</summary>
    public required bool Effect { get; init; }
    public required int Killed { get; init; }
    public required string Evidence { get; init; }
}

/// <summary>What a fault or a mend did, in a sentence.</summary>
internal sealed record Done(string Summary);

internal sealed record ServerStart(IReadOnlyDictionary<string, string> Environment);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(SandboxStatus))]
[JsonSerializable(typeof(PowerOff))]
[JsonSerializable(typeof(Done))]
[JsonSerializable(typeof(ServerStart))]
internal sealed partial class DevJson : JsonSerializerContext;
