using System.Text.Json;
using System.Text.Json.Serialization;

namespace BuildRunner.Application;

/// <summary>The agent's address file as it stands on disk. Its writer's type is in BuildRunner.Client; `tests/recordings/address-file.v1.json` holds both to one shape.</summary>
internal sealed record AddressDocument
{
    public const int SchemaVersionMax = 1;

    public required int SchemaVersion { get; init; }
    public required string Region { get; init; }
    public required string Database { get; init; }
    public required long Epoch { get; init; }
    public required bool Open { get; init; }
    public string? WriteHost { get; init; }
    public int WritePort { get; init; }
    public string? WriteRegion { get; init; }
    public string? ReadHost { get; init; }
    public int ReadPort { get; init; }
    public required string DatabaseName { get; init; }
    public required string User { get; init; }
    public required string PasswordFile { get; init; }

    /// <summary>Null when the text is not a whole address file of a version that is understood here: half written, or from a later agent.</summary>
    public static WriteAddress? Read(ReadOnlySpan<byte> text)
    {
        AddressDocument? document;
        try { document = JsonSerializer.Deserialize(text, AddressJson.Default.AddressDocument); }
        catch (JsonException) { return null; }
        if (document is null or { SchemaVersion: < 1 or > SchemaVersionMax })
            return null;

        var write = Endpoint(document.WriteHost, document.WritePort);
        return new WriteAddress
        {
            Region = document.Region,
            Database = document.Database,
            Epoch = document.Epoch,
            Open = document.Open && write is not null,
            Write = write,
            WriteRegion = document.WriteRegion,
            Read = Endpoint(document.ReadHost, document.ReadPort),
            DatabaseName = document.DatabaseName,
            User = document.User,
            PasswordFile = document.PasswordFile,
        };
    }

    private static DatabaseEndpoint? Endpoint(string? host, int port) => host is { Length: > 0 } && port is > 0 and < 65536 ? new(host, port) : null;
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(AddressDocument))]
internal sealed partial class AddressJson : JsonSerializerContext;
