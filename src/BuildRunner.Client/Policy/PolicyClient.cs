using System.Text.Json.Serialization;

namespace BuildRunner.Client.Policy;

/// <summary>The policy in force, checking and applying one, and the freeze.</summary>
public sealed class PolicyClient(ApiConnection api)
{
    public Task<PolicyView> ShowAsync(CancellationToken cancel) => api.GetAsync("/v1/policy", PolicyJson.Default.PolicyView, cancel);

    /// <summary>What the server would say of a policy, with its own environment; changes nothing.</summary>
    public Task<PolicyVerdict> ValidateAsync(PolicyChange change, CancellationToken cancel) =>
        api.SendAsync(HttpMethod.Post, "/v1/policy/validate", change, PolicyJson.Default.PolicyChange, PolicyJson.Default.PolicyVerdict, cancel);

    public Task<PolicyView> ApplyAsync(PolicyChange change, CancellationToken cancel) =>
        api.SendAsync(HttpMethod.Put, "/v1/policy", change, PolicyJson.Default.PolicyChange, PolicyJson.Default.PolicyView, cancel);

    public Task<FreezeView> FreezeAsync(CancellationToken cancel) => api.GetAsync("/v1/freeze", PolicyJson.Default.FreezeView, cancel);

    public Task<FreezeView> FreezeAsync(FreezeOrder order, CancellationToken cancel) =>
        api.SendAsync(HttpMethod.Post, "/v1/freeze", order, PolicyJson.Default.FreezeOrder, PolicyJson.Default.FreezeView, cancel);

    public Task LiftAsync(CancellationToken cancel) => api.SendAsync(HttpMethod.Delete, "/v1/freeze", cancel);
}

/// <summary>`GET /v1/policy`: what is in force, and what was refused since.</summary>
public sealed record PolicyView
{
    public int SchemaVersion { get; init; } = 1;
    public required string Hash { get; init; }
    public required string Text { get; init; }
    public required string AppliedBy { get; init; }
    public required DateTimeOffset AppliedAt { get; init; }
    public required string Mode { get; init; }

    /// <summary>The policy with every default, as YAML.</summary>
    public required string Effective { get; init; }

    /// <summary>Every effective value and where it came from: `policy.yml:12`, `env:DEFAULT_REGION`, `default`.</summary>
    public required IReadOnlyList<PolicyValueView> Values { get; init; }

    /// <summary>The last change that was refused, until a good one came; null: none.</summary>
    public RejectedView? Rejected { get; init; }
    public FreezeView? Freeze { get; init; }
}

/// <summary>What a file means, without a server: `br config show --file F --output json`.</summary>
public sealed record PolicyEffective
{
    public int SchemaVersion { get; init; } = 1;
    public required string File { get; init; }
    public required string Effective { get; init; }
    public required IReadOnlyList<PolicyValueView> Values { get; init; }
}

public sealed record PolicyValueView(string Path, string Value, string Source);

/// <summary>A policy that was refused; the one before it stays in force.</summary>
public sealed record RejectedView
{
    public required string File { get; init; }
    public required string Hash { get; init; }
    public required DateTimeOffset At { get; init; }
    public required IReadOnlyList<PolicyErrorView> Errors { get; init; }
}

/// <summary>One error: where (line 0: an environment variable, named by <paramref name="File"/>), which key, what, and the fix.</summary>
public sealed record PolicyErrorView(string File, int Line, int Column, string Path, string Message, string Fix);

/// <summary>A policy's text; <paramref name="File"/> is only for messages.</summary>
public sealed record PolicyChange(string Text, string? File = null, string? ExpectedHash = null);

/// <summary>`POST /v1/policy/validate`, and `br config validate --output json`.</summary>
public sealed record PolicyVerdict
{
    public int SchemaVersion { get; init; } = 1;
    public required bool Valid { get; init; }
    public required IReadOnlyList<PolicyErrorView> Errors { get; init; }
}

/// <summary>No automatic act until then; at most 30 days ahead.</summary>
public sealed record FreezeOrder(string Reason, DateTimeOffset Until);

public sealed record FreezeView
{
    public int SchemaVersion { get; init; } = 1;
    public required bool Frozen { get; init; }
    public string? Reason { get; init; }
    public string? By { get; init; }
    public DateTimeOffset? At { get; init; }
    public DateTimeOffset? Until { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(PolicyView))]
[JsonSerializable(typeof(PolicyEffective))]
[JsonSerializable(typeof(PolicyChange))]
[JsonSerializable(typeof(PolicyVerdict))]
[JsonSerializable(typeof(FreezeOrder))]
[JsonSerializable(typeof(FreezeView))]
public sealed partial class PolicyJson : JsonSerializerContext;
