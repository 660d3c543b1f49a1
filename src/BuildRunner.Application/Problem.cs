using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Http;

namespace BuildRunner.Application;

/// <summary>An answer of RFC 9457: a stable type, a sentence that names the thing, and what to do.</summary>
public sealed class Problem : IResult
{
    /// <summary>Answers carry the epoch under which they were given; the gateway reads it.</summary>
    public const string EpochHeader = "BuildRunner-Epoch";

    /// <summary>`unknown`: the write may or may not have happened.</summary>
    public const string OutcomeHeader = "BuildRunner-Outcome";

    private readonly int _status;
    private readonly string _type;
    private readonly string _title;
    private readonly string? _detail;

    private Problem(int status, string type, string title, string? detail) => (_status, _type, _title, _detail) = (status, type, title, detail);

    public int Status => _status;

    /// <summary>Seconds for `Retry-After`; null: none.</summary>
    public int? RetryAfter { get; private init; }

    public static Problem Of(int status, string type, string title, string? detail = null, int? retryAfter = null) =>
        new(status, type, title, detail) { RetryAfter = retryAfter };

    /// <summary>421: nothing was touched; the request belongs to another epoch or another host.</summary>
    public static Problem Misdirected(string reason) =>
        new(StatusCodes.Status421MisdirectedRequest, "application.other-epoch", reason, "Nothing was done. Send it where the current epoch's primary is.");

    /// <summary>504: the commit was sent and its end is not known.</summary>
    public static Problem Unknown(string reason) =>
        new(StatusCodes.Status504GatewayTimeout, "application.outcome-unknown", reason, "The write may or may not have happened. Ask for it by its id before you send it again.");

    public Task ExecuteAsync(HttpContext httpContext)
    {
        var answer = httpContext.Response;
        answer.StatusCode = _status;
        answer.Headers.CacheControl = "no-store";
        if (_status == StatusCodes.Status504GatewayTimeout)
            answer.Headers[OutcomeHeader] = "unknown";
        if (RetryAfter is { } seconds)
            answer.Headers.RetryAfter = seconds.ToString(CultureInfo.InvariantCulture);
        if (HttpMethods.IsHead(httpContext.Request.Method))
            return Task.CompletedTask;
        return answer.WriteAsJsonAsync(new ProblemDocument($"https://buildrunner.dev/problems/{_type}", _title, _detail, _status), ApplicationJson.Default.ProblemDocument, "application/problem+json");
    }
}

internal sealed record ProblemDocument(string Type, string Title, string? Detail, int Status);

internal sealed record VerifyDocument(long? Epoch, string Id, string? From = null);

internal sealed record WarmDocument(int Warmers, int Connections, double Milliseconds, IReadOnlyList<string> Failures);

internal sealed record HealthDocument(string Status, IReadOnlyList<HealthCheckDocument> Checks);

internal sealed record HealthCheckDocument(string Name, bool Ok, string? Detail);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(ProblemDocument))]
[JsonSerializable(typeof(VerifyDocument))]
[JsonSerializable(typeof(WarmDocument))]
[JsonSerializable(typeof(HealthDocument))]
internal sealed partial class ApplicationJson : JsonSerializerContext;
