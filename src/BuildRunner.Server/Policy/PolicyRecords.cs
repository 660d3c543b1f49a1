using System.Text.Json.Serialization;
using BuildRunner.Client.Policy;

namespace BuildRunner.Server.Policy;

/// <summary>Keys of this room in the store.</summary>
internal static class PolicyKeys
{
    public const string Prefix = "policy/";
    public const string Current = Prefix + "current";
    public const string Rejected = Prefix + "rejected";

    /// <summary>Hash of the server's file as it was last looked at: an unchanged file does not undo what was applied since.</summary>
    public const string File = Prefix + "file";
    public const string Freeze = "freeze";

    public static string Text(string hash) => $"{Prefix}text/{hash}";
}

/// <summary>Which policy is in force; its text lies under its hash.</summary>
internal sealed record PolicyRecord
{
    public int SchemaVersion { get; init; } = 1;
    public required string Hash { get; init; }
    public required string File { get; init; }
    public required string By { get; init; }
    public required DateTimeOffset At { get; init; }

    /// <summary>Hash of the one before, whose text is kept too.</summary>
    public string? Previous { get; init; }
}

internal sealed record FileRecord(int SchemaVersion, string Hash);

internal sealed record RejectedRecord(int SchemaVersion, RejectedView Rejected);

internal sealed record FreezeRecord(int SchemaVersion, Freeze Freeze);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(PolicyRecord))]
[JsonSerializable(typeof(FileRecord))]
[JsonSerializable(typeof(RejectedRecord))]
[JsonSerializable(typeof(FreezeRecord))]
internal sealed partial class PolicyStoreJson : JsonSerializerContext;
