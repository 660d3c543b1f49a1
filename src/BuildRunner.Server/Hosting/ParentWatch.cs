using System.Diagnostics;

namespace BuildRunner.Server.Hosting;

/// <summary>`--watch-stdin`: the process ends when whoever started it ends, however that happened: the kernel closes the pipe.</summary>
public static class ParentWatch
{
    /// <summary>How long a shutdown may take before the process ends itself.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(4);

    /// <summary>Calls <paramref name="stop"/> once when standard input ends; the process is killed when it is still there some seconds later.</summary>
    public static void Start(Action stop) => Start(Console.OpenStandardInput(), stop, static () => Process.GetCurrentProcess().Kill());

    internal static void Start(Stream parent, Action stop, Action kill)
    {
        var thread = new Thread(() =>
        {
            Drain(parent);
            using var limit = new Timer(_ => kill(), null, Grace, Timeout.InfiniteTimeSpan);
            stop();
            Thread.Sleep(Timeout.Infinite); // keeps the timer until the process has ended
        })
        { IsBackground = true, Name = "parent watch" };
        thread.Start();
    }

    private static void Drain(Stream parent)
    {
        Span<byte> ignored = stackalloc byte[256];
        try
        {
            while (parent.Read(ignored) > 0) { }
        }
        catch (IOException) { } // a broken pipe is an end, too
    }
}
