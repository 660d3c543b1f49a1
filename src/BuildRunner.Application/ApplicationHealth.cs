using Microsoft.AspNetCore.Http;

namespace BuildRunner.Application;

/// <summary>A dependency: null when it is well, otherwise one clause that says what is wrong.</summary>
public delegate Task<string?> HealthProbe(CancellationToken cancel);

/// <summary>When a failing dependency counts.</summary>
public enum HealthNeed
{
    /// <summary>Without it the process can serve nothing: `/healthz` and `/readyz` fail.</summary>
    ToServe,

    /// <summary>Without it the process should get no traffic yet: `/readyz` fails.</summary>
    ToBeReady,
}

/// <summary>`/healthz` and `/readyz` say what is so: every check really asks, at most a second, and is named with what it found.</summary>
public sealed class ApplicationHealth
{
    private static readonly TimeSpan ProbeTimeout = TimeSpan.FromSeconds(1);

    private readonly List<(string Name, HealthNeed Need, HealthProbe Probe)> _checks = [];

    /// <summary>Adds a check; before the application starts.</summary>
    public ApplicationHealth Check(string name, HealthNeed need, HealthProbe probe)
    {
        _checks.Add((name, need, probe));
        return this;
    }

    internal async Task AnswerAsync(HttpContext context, bool ready)
    {
        var checks = await Task.WhenAll(_checks.Where(check => ready || check.Need == HealthNeed.ToServe).Select(check => RunAsync(check.Name, check.Probe, context.RequestAborted)));
        var ok = checks.All(check => check.Ok);
        context.Response.StatusCode = ok ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable;
        context.Response.Headers.CacheControl = "no-store";
        if (!HttpMethods.IsHead(context.Request.Method))
            await context.Response.WriteAsJsonAsync(new HealthDocument(ok ? "healthy" : "unhealthy", checks), ApplicationJson.Default.HealthDocument);
    }

    private static async Task<HealthCheckDocument> RunAsync(string name, HealthProbe probe, CancellationToken aborted)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(aborted);
        limit.CancelAfter(ProbeTimeout);
        try
        {
            var wrong = await probe(limit.Token).WaitAsync(limit.Token);
            return new(name, wrong is null, wrong);
        }
        catch (OperationCanceledException) { return new(name, false, "no answer within 1 s"); }
        catch (Exception error) { return new(name, false, error.Message); }
    }
}
