namespace Shop;

/// <summary>
/// Lets 8 requests in at once, so that an instance's capacity is its own and not the machine's; 64 more wait at most a second; the rest is
/// told to come again. Probes and BuildRunner's own calls do not queue: a busy instance is not a dead one.
/// </summary>
internal sealed class Admission : IDisposable
{
    public const int RunningMax = 8;
    public const int WaitingMax = 64;

    private static readonly TimeSpan s_waitMax = TimeSpan.FromSeconds(1);

    private readonly SemaphoreSlim _free = new(RunningMax);
    private int _inside;

    public static bool IsOwn(PathString path) =>
        path == "/healthz" || path == "/readyz" || path.StartsWithSegments("/br") || path.StartsWithSegments("/metrics");

    public async Task InvokeAsync(HttpContext context, RequestDelegate next)
    {
        if (IsOwn(context.Request.Path))
        {
            await next(context);
            return;
        }

        var inside = Interlocked.Increment(ref _inside);
        try
        {
            if (inside > RunningMax + WaitingMax || !await _free.WaitAsync(s_waitMax, context.RequestAborted))
            {
                await new RetryLater(1).Of("shop.busy", $"This instance has {RunningMax} requests in work and no room for more.").ExecuteAsync(context);
                return;
            }

            try { await next(context); }
            finally { _free.Release(); }
        }
        finally { Interlocked.Decrement(ref _inside); }
    }

    public void Dispose() => _free.Dispose();
}
