using System.Text.Json;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>The server really dies after each journal write of a failover; started again, it finishes the run, and nothing took effect twice.</summary>
[Collection(EndToEndGroup.Name)]
public sealed class CrashPointTests(ITestOutputHelper output)
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>A few points spread over the run, for every change.</summary>
    [Theory(Timeout = 300_000)]
    [InlineData(2, true, Traits = ["Category", "long"])]
    [InlineData(5, true, Traits = ["Category", "long"])]
    [InlineData(8, false)]
    public async Task Failover_ServerDiesAfterAJournalWrite_TheRunIsFinished(int write, bool killed) => Assert.True(await CrashAsync(write, killed), "the server died");

    /// <summary>All of them; the number is counted, not known.</summary>
    [Theory(Timeout = 3_600_000), Trait("Category", "long")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Failover_ServerDiesAfterEachJournalWrite_TheRunIsFinished(bool killed)
    {
        var points = 0;
        while (await CrashAsync(points + 1, killed))
            points++;
        output.WriteLine($"{points} crash points with us-east-1 {(killed ? "killed" : "alive")}");
        Assert.True(points >= 12, $"{points} journal writes");
    }

    /// <returns>False when the run had fewer writes, so that nothing crashed.</returns>
    private async Task<bool> CrashAsync(int write, bool killed)
    {
        await using var sandbox = await Sandbox.StartAsync("--no-traffic", "--wan", "off");
        (await sandbox.BrAsync("dev", "restart", "server", "--env", $"BR_CRASH_AFTER_JOURNAL={write}")).Fine();
        await Eventually.TrueAsync(async () => (await sandbox.BrAsync("regions", "health")).Code == 0, "the server sees every region healthy", Cancel, TimeSpan.FromSeconds(30));
        var before = await RestartsAsync(sandbox);
        if (killed)
            (await sandbox.BrAsync("dev", "kill", "us-east-1")).Fine();

        await sandbox.BrAsync("dr", "failover", "--target", "us-west-1", "--reason", $"crash after write {write}");

        JsonElement run = default;
        await Eventually.TrueAsync(async () =>
        {
            var said = await sandbox.BrAsync("runbook", "status", "--output", "json");
            if (said.Code == 3)
                return false; // the server is starting again
            run = said.Json.TryGetProperty("run", out var one) ? one : said.Json.GetProperty("runs").EnumerateArray().FirstOrDefault();
            return run.ValueKind == JsonValueKind.Object && run.GetProperty("finished_at").ValueKind == JsonValueKind.String;
        }, "the run is finished", Cancel, TimeSpan.FromSeconds(90));
        var crashed = await RestartsAsync(sandbox) > before;

        Assert.True(run.GetProperty("state").GetString() == "succeeded", run.ToString());
        var status = (await sandbox.BrAsync("dr", "status", "--output", "json")).Fine().Json;
        Assert.Equal("us-west-1", FailoverTests.Primary(status));
        Assert.Equal(1, Effect(status, "us-west-1", "promotions"));
        if (killed)
        {
            var power = (await sandbox.BrAsync("dev", "status", "--output", "json")).Fine().Json;
            Assert.Equal(1, power.GetProperty("regions").EnumerateArray().Single(r => r.GetProperty("code").GetString() == "us-east-1").GetProperty("power_offs").GetInt32());
        }
        else
        {
            Assert.Equal(1, Effect(status, "us-east-1", "fences"));
        }
        output.WriteLine($"write {write}: {(crashed ? "crashed and finished" : "no such write")}");
        return crashed;
    }

    private static async Task<int> RestartsAsync(Sandbox sandbox) => (await sandbox.BrAsync("dev", "status", "--output", "json")).Fine().Json
        .GetProperty("processes").EnumerateArray().Single(p => p.GetProperty("name").GetString() == "server").GetProperty("restarts").GetInt32();

    private static int Effect(JsonElement status, string region, string effect) => status.GetProperty("databases")[0].GetProperty("regions").EnumerateArray()
        .Single(r => r.GetProperty("code").GetString() == region).GetProperty("effects").GetProperty(effect).GetInt32();
}
