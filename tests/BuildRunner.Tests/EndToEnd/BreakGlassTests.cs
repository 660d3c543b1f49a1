using System.Diagnostics;
using System.Text.Json;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>The server and the region that takes writes are both gone: a person moves the database from the command line alone.</summary>
[Collection(EndToEndGroup.Name)]
public sealed class BreakGlassTests(ITestOutputHelper output)
{
    private const int AcknowledgedFirst = 100;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 600_000)]
    public async Task Failover_WithoutTheServer_TrafficMovesAndTheServerAdoptsIt()
    {
        await using var sandbox = await Sandbox.StartAsync("--no-traffic");
        await using var writer = OrderWriter.Start(new() { Gateway = new Uri(sandbox.Gateway("eu-west-1")), InFlightMax = 800 });
        await writer.AcknowledgedAsync(AcknowledgedFirst, Cancel);
        var living = await sandbox.BrAsync("dr", "failover", "--without-server", "--target", "us-west-1", "--yes");
        Assert.Equal(4, living.Code);
        Assert.Contains("is not gone", living.Error, StringComparison.Ordinal);

        (await sandbox.BrAsync("dev", "stop", "server")).Fine();
        (await sandbox.BrAsync("dev", "kill", "us-east-1")).Fine();
        Assert.Equal(4, (await sandbox.BrAsync("dr", "failover", "--without-server", "--target", "us-west-1", "--yes")).Code); // the loss is unknown
        Assert.Equal(2, (await sandbox.BrAsync("dr", "failover", "--without-server", "--target", "us-west-1", "--accept-data-loss")).Code); // nobody has typed it
        (await sandbox.BrAsync("dr", "failover", "--without-server", "--target", "us-west-1", "--accept-data-loss", "--dry-run")).Fine();
        Assert.False(Directory.Exists(Path.Combine(sandbox.Data, "break-glass")), "a dry run leaves nothing behind");

        var commanded = Stopwatch.GetTimestamp();
        var done = (await sandbox.BrAsync("dr", "failover", "--without-server", "--target", "us-west-1", "--accept-data-loss", "--yes", "--output", "json")).Fine();
        var result = done.Json;
        output.WriteLine(done.Error);
        Assert.True(result.GetProperty("success").GetBoolean());
        var run = result.GetProperty("run");
        Assert.Equal("powered_off", run.GetProperty("report").GetProperty("proof").GetProperty("kind").GetString());
        await writer.AcknowledgedAsync(AcknowledgedFirst, Cancel, Limit);
        var report = await writer.StopAsync();
        output.WriteLine($"command to first acknowledged order {report.FirstOfANewEpochAfter(commanded)?.TotalSeconds:0.00} s; {report}");
        Assert.NotNull(report.FirstOfANewEpochAfter(commanded));

        // The server comes back with the old record: it only reads, and says what to type.
        (await sandbox.BrAsync("dev", "restart", "server")).Fine();
        Said refused = null!;
        await Eventually.TrueAsync(async () => (refused = await sandbox.BrAsync("dr", "failover", "--target", "eu-west-1", "--reason", "test", "--accept-data-loss")).Code == 4
            && refused.Error.Contains("br server adopt", StringComparison.Ordinal), "the server refuses to act", Cancel, Limit);
        Assert.Contains("br server adopt", (await sandbox.BrAsync("alerts", "list")).Fine().Out, StringComparison.Ordinal);
        await WritesGoOnAsync(sandbox);

        output.WriteLine((await sandbox.BrAsync("server", "adopt", Path.Combine(sandbox.Data, "break-glass"))).Fine().Out);
        var database = (await sandbox.BrAsync("dr", "status", "--output", "json")).Fine().Json.GetProperty("databases")[0];
        Assert.Equal(("us-west-1", 2L, "open"), (database.GetProperty("primary").GetString(), database.GetProperty("epoch").GetInt64(), database.GetProperty("state").GetString()));
        Assert.Equal(run.GetProperty("id").GetString(), database.GetProperty("last_failover").GetProperty("run").GetString());
        await FailoverTests.HealedAsync(sandbox);
        await WritesGoOnAsync(sandbox);
        await FailoverTests.AccountAsync(sandbox, run.GetProperty("id").GetString()!, report, output);
        // The server leads again: what it orders is obeyed.
        (await sandbox.BrAsync("dr", "switchover", "--target", "us-east-1", "--reason", "back to normal")).Fine();
    }

    /// <summary>The host on which it was typed dies half way; the same command again goes on where the journal ends.</summary>
    [Theory(Timeout = 600_000), Trait("Category", "long")]
    [InlineData(7)]
    [InlineData(14)]
    public async Task Failover_WithoutTheServerAndCutOff_GoesOnWhenItIsTypedAgain(int afterLine)
    {
        await using var sandbox = await Sandbox.StartAsync("--no-traffic");
        await WritesGoOnAsync(sandbox);
        (await sandbox.BrAsync("dev", "stop", "server")).Fine();
        (await sandbox.BrAsync("dev", "kill", "us-east-1")).Fine();
        string[] command = ["dr", "failover", "--without-server", "--target", "us-west-1", "--accept-data-loss", "--yes", "--output", "json"];
        var cut = await sandbox.BrAsync(new Dictionary<string, string> { ["BR_CRASH_AFTER_JOURNAL"] = afterLine.ToString(CultureInfo.InvariantCulture) }, command);
        Assert.Equal(137, cut.Code);
        var done = (await sandbox.BrAsync(command)).Fine();
        output.WriteLine(done.Error);
        Assert.True(done.Json.GetProperty("success").GetBoolean());
        Assert.True(done.Json.GetProperty("run").GetProperty("resumes").GetInt32() >= 1);
        await WritesGoOnAsync(sandbox);
    }

    private static async Task WritesGoOnAsync(Sandbox sandbox)
    {
        await using var writer = OrderWriter.Start(new() { Gateway = new Uri(sandbox.Gateway("eu-west-1")), InFlightMax = 800 });
        await writer.AcknowledgedAsync(AcknowledgedFirst / 2, Cancel, Limit);
        await writer.StopAsync();
    }
}
