using System.Reflection;
using System.Text.Json.Serialization;

namespace BuildRunner.Client.Hosting;

/// <summary>`GET /v1/version`: which BuildRunner answers.</summary>
public sealed record VersionAnswer
{
    public int SchemaVersion { get; init; } = 1;
    public string Product { get; init; } = "BuildRunner";
    public required string Version { get; init; }

    /// <summary>Of this process.</summary>
    public static string Running { get; } =
        typeof(VersionAnswer).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "unknown";
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(VersionAnswer))]
public sealed partial class HostingJson : JsonSerializerContext;
