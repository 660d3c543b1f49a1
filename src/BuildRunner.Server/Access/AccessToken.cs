using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using BuildRunner.Client.Access;

namespace BuildRunner.Server.Access;

/// <summary>A secret of 256 random bits, written `br_…`; only its hash is kept. With that much chance in it a plain hash is enough.</summary>
public static class AccessToken
{
    public const string Prefix = "br_";
    public const int LengthMax = 128;

    public static string New() => Prefix + Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32));

    /// <summary>SHA-256 of the whole token in UTF-8.</summary>
    public static byte[] Hash(string token) => SHA256.HashData(Encoding.UTF8.GetBytes(token));

    public static string HashText(string token) => Convert.ToHexStringLower(Hash(token));

    /// <summary>Public name of a token, drawn from its hash, so that the same token has the same id wherever it is met.</summary>
    public static string IdOf(string hashText) => hashText[..12];
}

/// <summary>An entry of `--seed-tokens`: a token whose hash the server is to know from its start.</summary>
public sealed record SeedToken
{
    public required string Name { get; init; }
    public required AccessRole Role { get; init; }
    public string? Region { get; init; }

    /// <summary>SHA-256 of the token in lower-case hex (<see cref="AccessToken.HashText"/>).</summary>
    public required string Hash { get; init; }

    /// <summary>Writes what `--seed-tokens` reads; the caller gives the file mode 0600.</summary>
    public static byte[] File(IReadOnlyList<SeedToken> seeds) => JsonSerializer.SerializeToUtf8Bytes([.. seeds], AccessStoreJson.Default.SeedTokenArray);
}

/// <summary>`tokens/ID` in the store.</summary>
internal sealed record StoredToken
{
    public int SchemaVersion { get; init; } = 1;
    public required string Id { get; init; }
    public required string Name { get; init; }
    public required AccessRole Role { get; init; }
    public string? Region { get; init; }
    public required string Hash { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
    public required string CreatedBy { get; init; }
    public DateTimeOffset? RevokedAt { get; init; }
    public string? RevokedBy { get; init; }
}

/// <summary>`sessions/HASH` in the store: a browser that was signed in with a token. It ends with the token.</summary>
internal sealed record StoredSession
{
    public int SchemaVersion { get; init; } = 1;
    public required string TokenId { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
    public required DateTimeOffset Until { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(SeedToken[]))]
[JsonSerializable(typeof(StoredToken))]
[JsonSerializable(typeof(StoredSession))]
internal sealed partial class AccessStoreJson : JsonSerializerContext;
