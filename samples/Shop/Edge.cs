using BuildRunner.Application;
using Npgsql;

namespace Shop;

/// <summary>First in, last out: says who served, and turns what went wrong into a problem that says what to do.</summary>
internal sealed class Edge(ShopOptions options)
{
    public async Task InvokeAsync(HttpContext context, RequestDelegate next)
    {
        context.Response.Headers["X-Served-By"] = options.ServedBy;
        try
        {
            await next(context);
            if (context.Response is { StatusCode: 404 or 405, HasStarted: false } && context.GetEndpoint() is null or { DisplayName: "405 HTTP Method Not Supported" })
                await Unmapped(context).ExecuteAsync(context);
        }
        catch (Exception error) when (!context.Response.HasStarted && Answer(context, error) is { } problem)
        {
            await problem.ExecuteAsync(context);
        }
    }

    /// <summary>Null: a defect, which the server logs and answers with 500.</summary>
    private static Problem? Answer(HttpContext context, Exception error) => error switch
    {
        OperationCanceledException when context.RequestAborted.IsCancellationRequested => Problem.Of(499, "shop.caller-left", "The caller left."),
        BadHttpRequestException bad => Problem.Of(bad.StatusCode, "shop.bad-request", bad.Message),
        DatabaseUnreachableException or NpgsqlException { IsTransient: true } or WritesClosedException =>
            new RetryLater(1).Of("shop.database-unreachable", $"The database does not answer: {error.Message}"),
        _ => null,
    };

    private static Problem Unmapped(HttpContext context) => context.Response.StatusCode == 405
        ? Problem.Of(405, "shop.method", $"{context.Request.Method} is not possible on {context.Request.Path}.", $"Possible: {context.Response.Headers.Allow}.")
        : Problem.Of(404, "shop.not-found", $"There is nothing at {context.Request.Path}.");
}

/// <summary>503 with Retry-After: surely nothing was done.</summary>
internal readonly record struct RetryLater(int Seconds)
{
    public Problem Of(string type, string title) => Problem.Of(StatusCodes.Status503ServiceUnavailable, type, title, "Nothing was done; try again.", Seconds);
}
