using System.Net;
using BuildRunner.Server.Storage;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Hosting;

/// <summary>Turns what nobody handled into a problem answer: a bad body, a store that refuses, a bug (whose details stay in the log), an empty error answer.</summary>
internal sealed partial class ProblemAnswers(RequestDelegate next, ILogger<ProblemAnswers> logger)
{
    public async Task InvokeAsync(HttpContext context)
    {
        try
        {
            await next(context);
            if (Empty(context) is { } empty)
                await empty.ExecuteAsync(context);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // the caller is gone, or the server is stopping: there is nobody to tell
        }
        catch (Exception error) when (!context.Response.HasStarted)
        {
            var problem = ProblemOf(error);
            if (problem is null)
            {
                LogFailed(logger, error, context.Request.Method, context.Request.Path);
                problem = Problems.Of(HttpStatusCode.InternalServerError, "hosting.unexpected",
                    $"The server failed on {context.Request.Method} {context.Request.Path}.", "This is a bug; the server's log has the details.", 1);
            }
            context.Response.Clear();
            await problem.ExecuteAsync(context);
        }
    }

    private static IResult? ProblemOf(Exception error) => error switch
    {
        BadHttpRequestException { StatusCode: 413 } => Problems.Of(HttpStatusCode.RequestEntityTooLarge, "hosting.too-large", "The request's body is too large.", "Send less at once.", 2),
        BadHttpRequestException bad => Problems.Invalid("hosting.bad-request", bad.Message, bad.InnerException?.Message),
        StoreException store => Problems.Of(HttpStatusCode.ServiceUnavailable, "storage.failed", store.Message, exitCode: 1),
        _ => null,
    };

    private static IResult? Empty(HttpContext context)
    {
        if (context.Response.HasStarted || context.Response.ContentLength is > 0 || context.Response.ContentType is not null || !context.Request.Path.StartsWithSegments("/v1", StringComparison.Ordinal))
            return null;
        return context.Response.StatusCode switch
        {
            404 => Problems.NotFound("hosting.no-such-path", $"There is no {context.Request.Path} here.", "Is the server older than this `br`?"),
            405 => Problems.Of(HttpStatusCode.MethodNotAllowed, "hosting.method", $"{context.Request.Path} does not take {context.Request.Method}.", exitCode: 2),
            415 => Problems.Of(HttpStatusCode.UnsupportedMediaType, "hosting.media-type", "The body must be JSON (Content-Type: application/json).", exitCode: 2),
            _ => null,
        };
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "{Method} {Path} failed.")]
    private static partial void LogFailed(ILogger logger, Exception error, string method, PathString path);
}
