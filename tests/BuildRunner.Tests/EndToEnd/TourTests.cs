using System.Diagnostics;
using System.Text.RegularExpressions;
using BuildRunner.Dev;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>The blocks of README's tour, run as they stand, one after the other.</summary>
[Collection(EndToEndGroup.Name)]
public sealed partial class TourTests(ITestOutputHelper output)
{
    [Fact(Timeout = 600_000)]
    public async Task Readme_EveryBlockOfTheTour_Works()
    {
        var cancel = TestContext.Current.CancellationToken;
        var readme = await File.ReadAllTextAsync(Path.Combine(Sandbox.Root, "README.md"), cancel);
        var blocks = Block().Matches(readme[readme.IndexOf("## A ten-minute tour", StringComparison.Ordinal)..]).Select(m => m.Groups[1].Value).ToList();
        Assert.True(blocks.Count >= 6, "the tour has its blocks");
        await using var sandbox = Sandbox.Empty();
        var script = Path.Combine(sandbox.Data, "tour.sh");
        await File.WriteAllTextAsync(script, string.Join('\n', blocks.Select((block, i) => $"echo '--- block {i + 1}'\nset -x\n{block}\n{{ set +x; }} 2>/dev/null")), cancel);

        // A network of its own has every port free; without the right to make one, the machine's own must have.
        var alone = Environment.UserName == "root";
        if (!alone)
            Assert.SkipWhen(Taken(), "the sandbox's own ports are taken on this machine, and only root can make a network of its own");
        var start = new ProcessStartInfo(alone ? "unshare" : "bash", alone ? ["--net", "bash", "-c", $"ip link set lo up && exec bash -e -o pipefail '{script}'"] : ["-e", "-o", "pipefail", script])
        {
            RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = Sandbox.Root,
        };
        start.Environment["BR_HOME"] = Path.Combine(sandbox.Data, "br");
        start.Environment["PATH"] = $"{start.Environment["PATH"]}:/usr/sbin:/sbin";
        using var tour = Process.Start(start)!;
        var (said, error) = (tour.StandardOutput.ReadToEndAsync(cancel), tour.StandardError.ReadToEndAsync(cancel));
        var layout = new DevLayout(Path.Combine(sandbox.Data, "br"), 0);
        try { await tour.WaitForExitAsync(cancel); }
        finally
        {
            if (DevLock.IsHeld(layout) && DevFiles.ReadEndpoints(layout.Data) is { } left)
                ProcessTable.Kill(left.ProcessId);
        }
        output.WriteLine(await said);
        output.WriteLine(await error);
        Assert.True(tour.ExitCode == 0, $"exit {tour.ExitCode}\n{await said}\n{await error}");
        Assert.Empty(DevLock.Leftovers(layout));
    }

    private static bool Taken()
    {
        try { return DevLock.FreeOffset("/nowhere", 0) != 0; }
        catch (BuildRunner.Cli.CliException) { return true; }
    }

    [GeneratedRegex("^```sh\n(.*?)^```", RegexOptions.Singleline | RegexOptions.Multiline)]
    private static partial Regex Block();
}
