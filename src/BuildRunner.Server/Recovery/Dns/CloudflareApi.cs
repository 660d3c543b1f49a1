namespace BuildRunner.Server.Recovery.Dns;

/// <summary>The envelope of every answer of Cloudflare's API.</summary>
internal sealed record CloudflareAnswer<T>
{
    public bool Success { get; init; }
    public IReadOnlyList<CloudflareError> Errors { get; init; } = [];
    public T? Result { get; init; }
    public CloudflarePages? ResultInfo { get; init; }
}

internal sealed record CloudflareError(int Code, string Message);

internal sealed record CloudflarePages(int Page, int TotalPages);

internal sealed record CloudflareZone(string Id, string Name);

/// <summary>A DNS record; a null field is not sent.</summary>
internal sealed record CloudflareRecord
{
    public string? Id { get; init; }
    public string? Type { get; init; }
    public string? Name { get; init; }
    public string? Content { get; init; }
    public int? Ttl { get; init; }
    public bool? Proxied { get; init; }
    public string? Comment { get; init; }
}

/// <summary>Changes that Cloudflare makes in one transaction: deletes, then patches, then posts.</summary>
internal sealed record CloudflareBatch
{
    public IReadOnlyList<CloudflareRecord>? Deletes { get; init; }
    public IReadOnlyList<CloudflareRecord>? Patches { get; init; }
    public IReadOnlyList<CloudflareRecord>? Posts { get; init; }

    public bool IsEmpty => Deletes is null && Patches is null && Posts is null;
}
