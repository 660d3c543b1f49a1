using System.Net.Http.Headers;
using System.Security.Claims;
using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace BuildRunner.Server.Access;

/// <summary>Knows the caller by the bearer token, or a browser by its session cookie.</summary>
internal sealed partial class AccessHandler(IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory logs, UrlEncoder encoder, TokenStore tokens, FailureLimit failures)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, logs, encoder)
{
    public const string Scheme_ = "br";
    public const string BySession = "session";
    public const string CookieName = "br-session";
    public const string UntilClaim = "until";

    protected override Task<AuthenticateResult> HandleAuthenticateAsync() => Task.FromResult(Authenticate());

    private AuthenticateResult Authenticate()
    {
        if (Request.Headers.Authorization is { Count: > 0 } header)
        {
            // A header decides alone: a wrong token is never made good by a cookie that the browser added.
            if (header.Count != 1 || !AuthenticationHeaderValue.TryParse(header[0], out var value) || !value.Scheme.Equals("Bearer", StringComparison.OrdinalIgnoreCase))
                return AuthenticateResult.Fail("not a bearer token");
            return tokens.Find(value.Parameter ?? "") is { } token ? Success(token, "token", null) : AuthenticateResult.Fail("unknown token");
        }
        if (Request.Cookies.TryGetValue(CookieName, out var cookie))
            return tokens.FindSession(cookie) is { } session ? Success(session.Token, BySession, session.Until) : AuthenticateResult.Fail("no such session");
        return AuthenticateResult.NoResult();
    }

    protected override Task HandleChallengeAsync(AuthenticationProperties properties)
    {
        var address = Context.Connection.RemoteIpAddress?.ToString() ?? "unknown";
        var (tooMany, first) = failures.Count(address);
        if (first)
            LogFailed(Logger, address, Request.Method, Request.Path);
        if (tooMany)
        {
            Response.Headers.RetryAfter = "10";
            return AccessAnswers.TooManyFailures().ExecuteAsync(Context);
        }
        Response.Headers.WWWAuthenticate = "Bearer";
        return AccessAnswers.NotSignedIn().ExecuteAsync(Context);
    }

    protected override Task HandleForbiddenAsync(AuthenticationProperties properties)
    {
        var (name, role, region) = (Context.User.Identity?.Name, Context.User.FindFirstValue(ClaimTypes.Role), Context.User.FindFirstValue(AccessRules.RegionClaim));
        return AccessAnswers.Of(403, "not-permitted",
            $"'{name}' is {role}{(region is null ? "" : $" of {region}")} and may not {Request.Method} {Request.Path}.",
            "An administrator makes a token of another role with `br token create`.").ExecuteAsync(Context);
    }

    private static AuthenticateResult Success(StoredToken token, string how, DateTimeOffset? until)
    {
        var identity = new ClaimsIdentity(how, ClaimTypes.Name, ClaimTypes.Role);
        identity.AddClaim(new(ClaimTypes.Name, token.Name));
        identity.AddClaim(new(ClaimTypes.NameIdentifier, token.Id));
        identity.AddClaim(new(ClaimTypes.Role, AccessRules.Word(token.Role)));
        if (token.Region is not null)
            identity.AddClaim(new(AccessRules.RegionClaim, token.Region));
        if (until is { } end)
            identity.AddClaim(new(UntilClaim, end.ToString("O", CultureInfo.InvariantCulture)));
        return AuthenticateResult.Success(new(new ClaimsPrincipal(identity), Scheme_));
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "A request without a valid token came from {Address}: {Method} {Path}.")]
    private static partial void LogFailed(ILogger logger, string address, string method, PathString path);
}
