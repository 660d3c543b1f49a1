using System.Diagnostics;
using BuildRunner.Server.Hosting.Priority;

namespace BuildRunner.Tests.Hosting;

/// <summary>Who goes first: by the process's own weight and by its session's, as the kernel shows both.</summary>
public sealed class TurnsTests
{
    [Fact(Timeout = 60_000)]
    public async Task FirstLastEven_AProcessWithItsSession()
    {
        Assert.SkipUnless(Environment.UserName == "root", "only root may let a process go first");
        using var process = Process.Start(new ProcessStartInfo("setsid", ["sleep", "60"]))!;
        try
        {
            await Eventually(() => Command(process.Id).StartsWith("sleep", StringComparison.Ordinal));
            var before = Seen(process.Id);
            Turns.First(process.Id);
            Assert.SkipUnless(Seen(process.Id).Nice == -15, "this root may not (CAP_SYS_NICE)");
            Assert.SkipUnless(Seen(process.Id).Group == Group(-15), "this root may not for a session (CAP_SYS_ADMIN)");
            new Thread(Turns.RealTime).Start(); // who may not, lets nobody be the last
            await Eventually(() =>
            {
                Turns.Last(process.Id);
                return Seen(process.Id).Nice == 19;
            });
            Assert.Equal((19, Group(19)), Seen(process.Id));
            Turns.Even(process.Id);
            Assert.Equal((0, before.Group), Seen(process.Id));
        }
        finally { process.Kill(); }
        Turns.Last(process.Id); // gone, or about to be: nothing happens
    }

    [Fact(Timeout = 60_000)]
    public void RealTime_IsTheThreadsOnly_AndNothingItStartsInheritsIt()
    {
        Assert.SkipUnless(Environment.UserName == "root", "only root may run in real time");
        var (policy, child) = ("", "");
        var thread = new Thread(() =>
        {
            Turns.RealTime();
            policy = PolicyOf("/proc/thread-self");
            using var started = Process.Start(new ProcessStartInfo("cat", ["/proc/self/stat"]) { RedirectStandardOutput = true })!;
            child = started.StandardOutput.ReadToEnd();
            started.WaitForExit();
        });
        thread.Start();
        thread.Join();
        Assert.SkipUnless(policy == "2", "real time is not allowed here");
        Assert.Equal("0", Policy(child));
        Assert.Equal("0", PolicyOf("/proc/thread-self"));
    }

    private static readonly bool Grouped = File.Exists("/proc/self/autogroup");

    private static string? Group(int nice) => Grouped ? $"nice {nice}" : null;

    private static (int Nice, string? Group) Seen(int process)
    {
        var nice = int.Parse(Fields(File.ReadAllText($"/proc/{process}/stat"))[16], CultureInfo.InvariantCulture);
        return (nice, Grouped ? File.ReadAllText($"/proc/{process}/autogroup").Trim().Split(' ', 2)[1] : null);
    }

    private static string Command(int process) => File.ReadAllText($"/proc/{process}/cmdline");

    private static string PolicyOf(string folder) => Policy(File.ReadAllText($"{folder}/stat"));

    /// <summary>The 41st field: 0 is the ordinary policy, 2 is SCHED_RR.</summary>
    private static string Policy(string stat) => Fields(stat)[38];

    /// <summary>From the third field on; the second, a name, may hold anything.</summary>
    private static string[] Fields(string stat) => stat[(stat.LastIndexOf(')') + 2)..].Trim().Split(' ');

    private static Task Eventually(Func<bool> so) => Support.Eventually.TrueAsync(so, "the session is made", TestContext.Current.CancellationToken);
}
