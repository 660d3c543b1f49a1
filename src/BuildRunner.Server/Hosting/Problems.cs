using System.Net;
using System.Text.Json;
using BuildRunner.Client;
using Microsoft.AspNetCore.Http;

namespace BuildRunner.Server.Hosting;

/// <summary>
/// Answers that are refusals: `type` is stable for scripts, the title names the thing and what is wrong with it, the detail says what to do.
/// Names are `room.what-is-wrong`.
/// </summary>
internal static class Problems
{
    public const string TypeBase = "https://buildrunner.dev/problems/";

    /// <summary>400, exit 2: the request or a document in it is wrong; one error a line.</summary>
    public static IResult Invalid(string name, string title, string? detail = null, IReadOnlyList<string>? errors = null) =>
        Of(HttpStatusCode.BadRequest, name, title, detail, 2, errors);

    /// <summary>404, exit 2: no such thing.</summary>
    public static IResult NotFound(string name, string title, string? detail = null) => Of(HttpStatusCode.NotFound, name, title, detail, 2);

    /// <summary>409, exit 4: refused by a safety check; the reasons one a line.</summary>
    public static IResult Refused(string name, string title, string? detail = null, IReadOnlyList<string>? errors = null) =>
        Of(HttpStatusCode.Conflict, name, title, detail, 4, errors);

    /// <summary>409, exit 1: somebody else changed it meanwhile; read again and repeat.</summary>
    public static IResult Conflict(string name, string title, string? detail = null) => Of(HttpStatusCode.Conflict, name, title, detail, 1);

    /// <summary>403, exit 5.</summary>
    public static IResult NotPermitted(string name, string title, string? detail = null) => Of(HttpStatusCode.Forbidden, name, title, detail, 5);

    /// <summary>503, exit 3: not now; the same request may succeed later.</summary>
    public static IResult Unavailable(string name, string title, string? detail = null) => Of(HttpStatusCode.ServiceUnavailable, name, title, detail, 3);

    /// <summary>504, exit 6.</summary>
    public static IResult TimedOut(string name, string title, string? detail = null) => Of(HttpStatusCode.GatewayTimeout, name, title, detail, 6);

    public static IResult Of(HttpStatusCode status, string name, string title, string? detail = null, int? exitCode = null, IReadOnlyList<string>? errors = null) =>
        new ProblemResult(new ApiProblem { Type = TypeBase + name, Title = title, Detail = detail, Status = (int)status, ExitCode = exitCode, Errors = errors });

    private sealed class ProblemResult(ApiProblem problem) : IResult, IStatusCodeHttpResult, IValueHttpResult<ApiProblem>
    {
        public int? StatusCode => problem.Status;
        public ApiProblem? Value => problem;

        public Task ExecuteAsync(HttpContext httpContext)
        {
            httpContext.Response.StatusCode = problem.Status ?? 500;
            httpContext.Response.ContentType = "application/problem+json";
            return httpContext.Response.Body.WriteAsync(JsonSerializer.SerializeToUtf8Bytes(problem, ApiJson.Default.ApiProblem), httpContext.RequestAborted).AsTask();
        }
    }
}
