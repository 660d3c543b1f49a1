using System.Security.Claims;
using BuildRunner.Client.Access;
using BuildRunner.Server.Events;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace BuildRunner.Server.Access;

public static class AccessRoom
{
    public static IServiceCollection AddAccess(this IServiceCollection services, AccessOptions options)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(options);
        services.AddSingleton<TokenStore>();
        services.AddSingleton<FailureLimit>();
        services.AddHostedService<AccessStart>();
        services.AddAuthentication(AccessHandler.Scheme_).AddScheme<AuthenticationSchemeOptions, AccessHandler>(AccessHandler.Scheme_, null);
        services.AddAuthorization(access =>
        {
            foreach (var (policy, roles) in AccessRules.Policies)
                access.AddPolicy(policy, rules =>
                {
                    rules.RequireAuthenticatedUser().RequireRole(roles.Select(AccessRules.Word));
                    if (AccessRules.IsNode(roles[0]))
                        rules.RequireAssertion(OfThisRegion);
                });
            // An endpoint that names no policy is for people, never open by mistake.
            access.DefaultPolicy = access.FallbackPolicy = access.GetPolicy("viewer")!;
        });
        return services.ConfigureHttpJsonOptions(json => json.SerializerOptions.TypeInfoResolverChain.Insert(0, AccessJson.Default));
    }

    /// <summary>Before routing: requests for another host are refused, so that no page elsewhere reaches the server by a bent name.</summary>
    public static void UseAccess(this IApplicationBuilder app)
    {
        var options = app.ApplicationServices.GetRequiredService<AccessOptions>();
        app.Use(async (context, next) =>
        {
            if (!AccessRules.HostAllowed(context.Request.Host.Host, options.Hosts))
            {
                await AccessAnswers.Foreign(context.Request.Host.Host).ExecuteAsync(context);
                return;
            }
            var headers = context.Response.Headers;
            headers.XContentTypeOptions = "nosniff";
            headers.XFrameOptions = "DENY";
            headers["Referrer-Policy"] = "no-referrer";
            if (context.Request.Path.StartsWithSegments("/v1", StringComparison.Ordinal))
                headers.CacheControl = "no-store";
            await next(context);
        });
        app.UseRouting();
        app.UseAuthentication();
        app.Use(async (context, next) =>
        {
            var request = context.Request;
            var upgrades = context.WebSockets.IsWebSocketRequest || request.Headers.ContainsKey("Upgrade");
            if (context.User.Identity?.AuthenticationType == AccessHandler.BySession
                && AccessRules.MayChange(request.Method, upgrades)
                && !AccessRules.SameOrigin(request.Scheme, request.Host.Value ?? "", request.Headers["Sec-Fetch-Site"], request.Headers.Origin))
            {
                await AccessAnswers.CrossSite().ExecuteAsync(context);
                return;
            }
            await next(context);
        });
        app.UseAuthorization();
    }

    public static void MapAccess(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapGet("/v1/tokens", (TokenStore tokens) => Results.Json(new TokenList { Tokens = [.. tokens.All.Select(RowOf)] }, AccessJson.Default.TokenList)).RequireAuthorization("admin");

        endpoints.MapPost("/v1/tokens", async (TokenRequest request, HttpContext context, TokenStore tokens, IEventLog events) =>
        {
            if (AccessRules.Fault(request.Role, request.Name, request.Region) is { } fault)
                return AccessAnswers.Of(400, "invalid-token", fault, exitCode: 2);
            var (by, text) = (Actor(context), AccessToken.New());
            var name = request.Name?.Trim() ?? (request.Region is null ? AccessRules.Word(request.Role) : $"{AccessRules.Word(request.Role)}/{request.Region}");
            var (token, _) = await tokens.AddAsync(name, request.Role, request.Region, AccessToken.HashText(text), by, CancellationToken.None);
            if (token is null)
                return AccessAnswers.Of(409, "too-many-tokens", $"There are {TokenStore.TokensMax} tokens in use.", "Revoke what nobody needs: `br token list`.", 4);
            await events.RecordAsync("token.created", by, $"Token {token.Id} '{name}' with role {AccessRules.Word(token.Role)} was made.", null, CancellationToken.None);
            return Results.Json(new TokenCreated { Token = text, Row = RowOf(token) }, AccessJson.Default.TokenCreated, statusCode: 201);
        }).RequireAuthorization("admin");

        endpoints.MapDelete("/v1/tokens/{id}", async (string id, HttpContext context, TokenStore tokens, IEventLog events) =>
        {
            var by = Actor(context);
            switch (await tokens.RevokeAsync(id, by, CancellationToken.None))
            {
                case (null, _):
                    return AccessAnswers.Of(404, "no-such-token", $"There is no token '{id}' in use.", "`br token list` names them.", 2);
                case (_, true):
                    return AccessAnswers.Of(409, "last-admin", $"Token '{id}' is the last administrator's.", "Make another first: `br token create --role admin`.", 4);
                case ({ } token, _):
                    await events.RecordAsync("token.revoked", by, $"Token {token.Id} '{token.Name}' with role {AccessRules.Word(token.Role)} was revoked.", null, CancellationToken.None);
                    return Results.NoContent();
            }
        }).RequireAuthorization("admin");

        endpoints.MapGet("/v1/session", (HttpContext context) => Results.Json(new WhoAmI
        {
            Name = Actor(context),
            Role = Enum.Parse<AccessRole>(context.User.FindFirstValue(ClaimTypes.Role)!, ignoreCase: true),
            Region = context.User.FindFirstValue(AccessRules.RegionClaim),
            Until = context.User.FindFirstValue(AccessHandler.UntilClaim) is { } until ? DateTimeOffset.Parse(until, CultureInfo.InvariantCulture) : null,
        }, AccessJson.Default.WhoAmI)).RequireAuthorization(new AuthorizationPolicyBuilder().RequireAuthenticatedUser().Build());

        endpoints.MapPost("/v1/session", SignInAsync).AllowAnonymous();
        endpoints.MapDelete("/v1/session", SignOutAsync).AllowAnonymous();
    }

    private static async Task<IResult> SignInAsync(SignIn request, HttpContext context, TokenStore tokens, FailureLimit failures, IEventLog events)
    {
        var headers = context.Request.Headers;
        var fromPage = headers.ContainsKey("Sec-Fetch-Site") || headers.ContainsKey("Origin");
        if (fromPage && !AccessRules.SameOrigin(context.Request.Scheme, context.Request.Host.Value ?? "", headers["Sec-Fetch-Site"], headers.Origin))
            return AccessAnswers.CrossSite(); // a stranger's page must not sign anybody in as the stranger
        if (tokens.Find(request.Token?.Trim() ?? "") is not { } token)
            return failures.Count(context.Connection.RemoteIpAddress?.ToString() ?? "unknown").TooMany ? AccessAnswers.TooManyFailures() : AccessAnswers.NotSignedIn();
        if (AccessRules.IsNode(token.Role))
            return AccessAnswers.Of(403, "not-a-person", "A gateway's or an agent's token opens no page.", "Paste a viewer's, an operator's or an administrator's.");
        var (cookie, until) = await tokens.SignInAsync(token, CancellationToken.None);
        context.Response.Cookies.Append(AccessHandler.CookieName, cookie, CookieOf(context, until));
        await events.RecordAsync("session.opened", token.Name, $"'{token.Name}' signed in on the page.", null, CancellationToken.None);
        return Results.Json(new WhoAmI { Name = token.Name, Role = token.Role, Until = until }, AccessJson.Default.WhoAmI);
    }

    private static async Task<IResult> SignOutAsync(HttpContext context, TokenStore tokens)
    {
        if (context.Request.Cookies.TryGetValue(AccessHandler.CookieName, out var cookie))
            await tokens.SignOutAsync(cookie, CancellationToken.None);
        context.Response.Cookies.Delete(AccessHandler.CookieName, CookieOf(context, null));
        return Results.NoContent();
    }

    private static CookieOptions CookieOf(HttpContext context, DateTimeOffset? until) => new()
    {
        HttpOnly = true,
        SameSite = SameSiteMode.Strict,
        Secure = context.Request.IsHttps,
        Path = "/",
        Expires = until,
        IsEssential = true,
    };

    /// <summary>A node's token opens only what is its own region's; an endpoint that names no region is not for nodes.</summary>
    private static bool OfThisRegion(AuthorizationHandlerContext access) =>
        access.Resource is HttpContext context
        && context.Request.RouteValues["region"] is string region
        && access.User.FindFirstValue(AccessRules.RegionClaim) is { } own
        && string.Equals(region, own, StringComparison.Ordinal);

    private static string Actor(HttpContext context) => context.User.Identity?.Name ?? "unknown";

    private static TokenRow RowOf(StoredToken token) => new()
    {
        Id = token.Id,
        Name = token.Name,
        Role = token.Role,
        Region = token.Region,
        CreatedAt = token.CreatedAt,
        CreatedBy = token.CreatedBy,
        RevokedAt = token.RevokedAt,
        RevokedBy = token.RevokedBy,
    };
}
