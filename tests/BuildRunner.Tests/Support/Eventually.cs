using System.Diagnostics;

namespace BuildRunner.Tests.Support;

/// <summary>Waits for something that another process does, with a limit and a sentence that says what did not come.</summary>
public static class Eventually
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    public static Task TrueAsync(Func<bool> condition, string what, CancellationToken cancel, TimeSpan? limit = null) =>
        TrueAsync(() => Task.FromResult(condition()), what, cancel, limit);

    public static async Task TrueAsync(Func<Task<bool>> condition, string what, CancellationToken cancel, TimeSpan? limit = null)
    {
        var start = Stopwatch.GetTimestamp();
        while (!await condition())
        {
            if (Stopwatch.GetElapsedTime(start) > (limit ?? Limit))
                throw new TimeoutException($"Waited {limit ?? Limit} in vain: {what}.");
            await Task.Delay(10, cancel);
        }
    }
}
