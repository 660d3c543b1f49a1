using BuildRunner.Client;
using Microsoft.AspNetCore.Http;

namespace BuildRunner.Server.Access;

/// <summary>Refusals in the form of every problem answer (Hosting's own helper stands beside this room, not below it).</summary>
internal static class AccessAnswers
{
    private const string TypeBase = "https://buildrunner.dev/problems/access.";

    public static IResult Of(int status, string name, string title, string? detail = null, int exitCode = 5) => Results.Json(
        new ApiProblem { Type = TypeBase + name, Title = title, Detail = detail, Status = status, ExitCode = exitCode },
        ApiJson.Default.ApiProblem, "application/problem+json", status);

    public static IResult NotSignedIn() => Of(401, "not-signed-in", "No valid token came with the request.", "Name the file that holds one with --token-file or BR_TOKEN_FILE; an administrator makes one with `br token create`.");

    public static IResult TooManyFailures() => Of(429, "too-many-failures", "Too many requests without a valid token came from this address.", "Wait ten seconds, and send a valid token.");

    public static IResult Foreign(string host) => Of(421, "foreign-host", $"This server does not answer to the name '{host}'.", "Call it by a loopback address, or by the host given with --listen.", 2);

    public static IResult CrossSite() => Of(403, "cross-site", "A request signed by a browser's cookie must come from this server's own page.", "Use a token in the Authorization header instead.");
}
