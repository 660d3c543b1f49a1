using System.Security.Claims;
using System.Text;
using BuildRunner.Client.Policy;
using BuildRunner.Core.Policy;
using BuildRunner.Server.Hosting;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Server.Policy;

public static class PolicyRoom
{
    private static readonly TimeSpan FreezeMax = TimeSpan.FromDays(30);

    public static IServiceCollection AddPolicy(this IServiceCollection services, PolicyOptions options)
    {
        services.AddSingleton(options);
        services.AddSingleton<PolicySource>().AddSingleton<IPolicySource>(all => all.GetRequiredService<PolicySource>());
        services.AddSingleton<PolicyLoop>().AddHostedService(all => all.GetRequiredService<PolicyLoop>());
        services.ConfigureHttpJsonOptions(json => json.SerializerOptions.TypeInfoResolverChain.Insert(0, PolicyJson.Default));
        return services;
    }

    public static void MapPolicy(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapGet("/v1/policy", (PolicySource source) => Results.Json(View(source), PolicyJson.Default.PolicyView)).RequireAuthorization("viewer");

        endpoints.MapPost("/v1/policy/validate", (PolicyChange change, PolicySource source) =>
        {
            var binding = source.Validate(Encoding.UTF8.GetBytes(change.Text), Name(change));
            return Results.Json(new PolicyVerdict { Valid = binding.Document is not null, Errors = [.. binding.Errors.Select(PolicySource.View)] }, PolicyJson.Default.PolicyVerdict);
        }).RequireAuthorization("viewer");

        endpoints.MapPut("/v1/policy", async (PolicyChange change, PolicySource source, ClaimsPrincipal user, CancellationToken cancel) =>
            await source.ApplyAsync(Encoding.UTF8.GetBytes(change.Text), Name(change), Actor(user), change.ExpectedHash, cancel) switch
            {
                PolicyOutcome.Applied => Results.Json(View(source), PolicyJson.Default.PolicyView),
                PolicyOutcome.Refused refused => Problems.Invalid("policy.invalid", $"The policy {Name(change)} has {Errors(refused.Errors.Count)}.", "The one in force stays.", [.. refused.Errors.Select(e => e.ToString())]),
                _ => Problems.Conflict("policy.changed", "Another policy was applied meanwhile.", "Look at it with `br config show`, and apply yours again if it still stands."),
            }).RequireAuthorization("admin");

        endpoints.MapGet("/v1/freeze", (PolicySource source) => Results.Json(View(source.Freeze), PolicyJson.Default.FreezeView)).RequireAuthorization("viewer");

        endpoints.MapPost("/v1/freeze", async (FreezeOrder order, PolicySource source, TimeProvider time, ClaimsPrincipal user, CancellationToken cancel) =>
        {
            var now = time.GetUtcNow();
            if (FreezeWrong(order, now) is { } wrong)
                return Problems.Invalid("policy.freeze-invalid", wrong, "A freeze has a reason, and an end at most 30 days away.");
            await source.SetFreezeAsync(new(order.Reason.Trim(), Actor(user), now, order.Until.ToUniversalTime()), cancel);
            return Results.Json(View(source.Freeze), PolicyJson.Default.FreezeView);
        }).RequireAuthorization("operator");

        endpoints.MapDelete("/v1/freeze", async (PolicySource source, ClaimsPrincipal user, CancellationToken cancel) =>
        {
            await source.LiftFreezeAsync(Actor(user), cancel);
            return Results.NoContent();
        }).RequireAuthorization("operator");
    }

    internal static string? FreezeWrong(FreezeOrder order, DateTimeOffset now) =>
        string.IsNullOrWhiteSpace(order.Reason) ? "The freeze has no reason."
        : order.Reason.Length > 500 || order.Reason.Any(char.IsControl) ? "The reason is longer than 500 characters, or has several lines."
        : order.Until <= now ? $"The freeze would end at {order.Until:u}, which is past."
        : order.Until - now > FreezeMax ? $"The freeze would end at {order.Until:u}, more than 30 days from now."
        : null;

    private static PolicyView View(PolicySource source)
    {
        var now = source.Now;
        return new()
        {
            Hash = now.Record.Hash,
            Text = now.Text,
            AppliedBy = now.Record.By,
            AppliedAt = now.Record.At,
            Mode = now.Document.Mode == PolicyMode.Observe ? "observe" : "act",
            Effective = PolicyBinder.Render(now.Document),
            Values = [.. now.Values.Select(v => new PolicyValueView(v.Path, v.Value, v.Source))],
            Rejected = source.Rejected,
            Freeze = source.Freeze is { } freeze ? View(freeze) : null,
        };
    }

    private static FreezeView View(Freeze? freeze) =>
        freeze is null ? new() { Frozen = false } : new() { Frozen = true, Reason = freeze.Reason, By = freeze.By, At = freeze.At, Until = freeze.Until };

    private static string Name(PolicyChange change) => Path.GetFileName(change.File) is { Length: > 0 } name ? name : "policy.yml";

    private static string Errors(int count) => count == 1 ? "an error" : $"{count} errors";

    private static string Actor(ClaimsPrincipal user) => user.Identity?.Name ?? "unknown";
}
