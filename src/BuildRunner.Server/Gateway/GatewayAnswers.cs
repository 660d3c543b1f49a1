using System.Text.Json;
using BuildRunner.Client;
using Microsoft.AspNetCore.Http;

namespace BuildRunner.Server.Gateway;

/// <summary>Answers that the gateway makes itself: problem documents with a sentence, honest about what is known of a write.</summary>
internal sealed class GatewayAnswers(string region)
{
    private const string TypeBase = "https://buildrunner.dev/problems/";

    public async Task WriteAsync(HttpContext context, int status, string problem, string title, string? detail = null, bool unknownOutcome = false, int? retryAfterSeconds = null)
    {
        var response = context.Response;
        if (response.HasStarted || context.RequestAborted.IsCancellationRequested)
            return;
        var closes = response.Headers.Connection;
        response.Clear();
        response.Headers.Connection = closes;
        response.StatusCode = status;
        response.Headers["X-Gateway"] = region;
        response.Headers.CacheControl = "no-store";
        if (unknownOutcome)
            response.Headers[Exchange.OutcomeHeader] = "unknown";
        if (retryAfterSeconds is { } seconds)
            response.Headers.RetryAfter = seconds.ToString(CultureInfo.InvariantCulture);
        response.ContentType = "application/problem+json";
        var body = JsonSerializer.SerializeToUtf8Bytes(new ApiProblem { Type = TypeBase + problem, Title = title, Detail = detail, Status = status }, ApiJson.Default.ApiProblem);
        response.ContentLength = body.Length;
        if (!HttpMethods.IsHead(context.Request.Method))
            await response.Body.WriteAsync(body, context.RequestAborted);
    }
}
