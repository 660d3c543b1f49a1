using System.Text.Json.Serialization;
using BuildRunner.Core;

namespace BuildRunner.Client.Access;

/// <summary>Makes, lists and revokes tokens.</summary>
public sealed class AccessClient(ApiConnection api)
{
    public Task<TokenCreated> CreateAsync(TokenRequest request, CancellationToken cancel) =>
        api.SendAsync(HttpMethod.Post, "/v1/tokens", request, AccessJson.Default.TokenRequest, AccessJson.Default.TokenCreated, cancel);

    public Task<TokenList> ListAsync(CancellationToken cancel) => api.GetAsync("/v1/tokens", AccessJson.Default.TokenList, cancel);

    public Task RevokeAsync(string id, CancellationToken cancel) => api.SendAsync(HttpMethod.Delete, $"/v1/tokens/{Uri.EscapeDataString(id)}", cancel);

    public Task<WhoAmI> WhoAmIAsync(CancellationToken cancel) => api.GetAsync("/v1/session", AccessJson.Default.WhoAmI, cancel);
}

/// <summary>What a token lets its bearer do; viewer, operator and admin include each other in that order, gateway and agent stand alone.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<AccessRole>))]
public enum AccessRole
{
    Viewer,
    Operator,
    Admin,
    Gateway,
    Agent,
}

/// <summary>`POST /v1/tokens`.</summary>
public sealed record TokenRequest
{
    public required AccessRole Role { get; init; }

    /// <summary>Who will bear it; what the bearer does is recorded under this name. Null: made of role and region.</summary>
    public string? Name { get; init; }

    /// <summary>Required for gateway and agent, refused for others.</summary>
    public string? Region { get; init; }
}

/// <summary>The only time that the token itself is seen.</summary>
public sealed record TokenCreated
{
    public int SchemaVersion { get; init; } = 1;
    public required string Token { get; init; }
    public required TokenRow Row { get; init; }

    public override string ToString() => $"TokenCreated {{ Row = {Row} }}";
}

public sealed record TokenList
{
    public int SchemaVersion { get; init; } = 1;
    public required IReadOnlyList<TokenRow> Tokens { get; init; }
}

public sealed record TokenRow
{
    public required string Id { get; init; }
    public required string Name { get; init; }
    public required AccessRole Role { get; init; }
    public string? Region { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
    public required string CreatedBy { get; init; }
    public DateTimeOffset? RevokedAt { get; init; }
    public string? RevokedBy { get; init; }
}

/// <summary>`POST /v1/session`: the page signs in with a pasted token.</summary>
public sealed record SignIn
{
    public required string Token { get; init; }

    public override string ToString() => "SignIn";
}

/// <summary>`GET /v1/session`: who the caller is.</summary>
public sealed record WhoAmI
{
    public int SchemaVersion { get; init; } = 1;
    public required string Name { get; init; }
    public required AccessRole Role { get; init; }
    public string? Region { get; init; }

    /// <summary>When a session ends by itself; null for a token.</summary>
    public DateTimeOffset? Until { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(TokenRequest))]
[JsonSerializable(typeof(TokenCreated))]
[JsonSerializable(typeof(TokenList))]
[JsonSerializable(typeof(SignIn))]
[JsonSerializable(typeof(WhoAmI))]
public sealed partial class AccessJson : JsonSerializerContext;
