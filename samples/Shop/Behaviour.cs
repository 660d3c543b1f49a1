using BuildRunner.Application;

namespace Shop;

/// <summary>
/// How a version behaves: each request takes some time of its own (log-normal: p95 is three times the median), `slow` takes twice as long,
/// and `bad` fails every fiftieth request before it touches data.
/// </summary>
internal sealed class Behaviour(ShopOptions options)
{
    private const int BadEvery = 50;
    private const double Spread = 0.67;

    private readonly TimeSpan _median = options.Service switch
    {
        "api" => options.Work,
        "reports" => options.Work * 25, // a budget of its own: these would break the api's
        _ => TimeSpan.Zero,
    } * (options.Version == "slow" ? 2 : 1);

    private int _requests;

    public async Task InvokeAsync(HttpContext context, RequestDelegate next)
    {
        if (Admission.IsOwn(context.Request.Path))
        {
            await next(context);
            return;
        }

        var number = Interlocked.Increment(ref _requests);
        if (_median > TimeSpan.Zero)
            await Task.Delay(Duration(_median, Random.Shared.NextDouble(), Random.Shared.NextDouble()), context.RequestAborted);
        if (options.Version == "bad" && number % BadEvery == 0)
        {
            await Problem.Of(StatusCodes.Status500InternalServerError, "shop.bad-version", "This version has a defect.").ExecuteAsync(context);
            return;
        }

        await next(context);
    }

    /// <summary>A log-normal duration from two uniform numbers (Box-Muller); never above ten medians.</summary>
    public static TimeSpan Duration(TimeSpan median, double u, double v)
    {
        var normal = Math.Sqrt(-2 * Math.Log(1 - u)) * Math.Cos(2 * Math.PI * v);
        return median * Math.Min(10, Math.Exp(Spread * normal));
    }
}
