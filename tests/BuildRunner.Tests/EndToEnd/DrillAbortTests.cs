using System.Text.Json;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>
/// Drills of a house that fails over by itself: one that the house recovers from while nobody can reach the primary, one that it sits out, one that takes itself
/// back because users would wait too long, and one that a person aborts. After each everything is as it was.
/// </summary>
[Collection(EndToEndGroup.Name)]
public sealed class DrillAbortTests(ITestOutputHelper output)
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(90);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 500_000)]
    public async Task Drills_UnderAutomaticFailover_RecoverEndureOrGoBack_AndLeaveNothing()
    {
        // The default lease: its verdict takes longer than the drill that takes itself back.
        await using var sandbox = await AutoFailoverTests.StartAsync(TimeSpan.FromSeconds(10));
        foreach (var shipped in (await sandbox.BrAsync("dr", "drill", "scenarios", "--output", "json")).Fine().Json.GetProperty("scenarios").EnumerateArray().Select(s => s.GetProperty("name").GetString()!).ToList())
            (await sandbox.BrAsync("dr", "drill", "run", "--kind", "scenario", "--scenario", shipped, "--dry-run")).Fine();

        // Users would wait longer than the drill may make them: it takes itself back before anything fails over.
        var early = await DrillAsync(sandbox, 1, "--kind", "failover", "--fault", "stop", "--outage-max", "1");
        Assert.Equal(("aborted", "outage_max", JsonValueKind.Null), (early.GetProperty("outcome").GetString(), early.GetProperty("aborted_by").GetString(), early.GetProperty("failover").ValueKind));

        // A person says stop while a copy is down.
        var before = await DrillTests.HouseAsync(sandbox);
        using (var running = sandbox.Start("dr", "drill", "run", "--kind", "scenario", "--scenario", Scenario(sandbox, "copy-down", "endure", "{kind: kill, region: standby, duration: 5m}"), "--output", "json"))
        {
            var (said, _) = (running.StandardOutput.ReadToEndAsync(Cancel), running.StandardError.ReadToEndAsync(Cancel));
            string? id = null;
            await Eventually.TrueAsync(async () =>
            {
                var run = (await sandbox.BrAsync("runbook", "status", "--output", "json")).Fine().Json.GetProperty("runs").EnumerateArray().FirstOrDefault(r => r.GetProperty("runbook").GetString() == "drill-scenario");
                id = run.ValueKind == JsonValueKind.Object && run.GetProperty("steps").EnumerateArray().Any(s => s.GetProperty("id").GetString() == "endured" && s.GetProperty("status").GetString() == "running") ? run.GetProperty("id").GetString() : null;
                return id is not null;
            }, "the copy is broken", Cancel, Limit);
            (await sandbox.BrAsync("runbook", "abort", id!, "--reason", "enough")).Fine();
            await running.WaitForExitAsync(Cancel).WaitAsync(Limit, Cancel);
            var drill = JsonDocument.Parse(await said).RootElement.GetProperty("drill");
            Assert.Equal("aborted", drill.GetProperty("outcome").GetString());
            Assert.NotEqual("outage_max", drill.GetProperty("aborted_by").GetString());
            Assert.Equal(before, await DrillTests.HouseAsync(sandbox));
        }

        // Cut off for a while, nothing is moved.
        var endured = await DrillAsync(sandbox, 0, "--kind", "scenario", "--scenario", Scenario(sandbox, "copy-cut", "endure", "{kind: partition, region: standby, duration: 8s}"));
        Assert.Equal(("success", 0, JsonValueKind.Null), (endured.GetProperty("outcome").GetString(), endured.GetProperty("rto_achieved_minutes").GetDouble(), endured.GetProperty("failover").ValueKind));

        // Nobody reaches the primary: the house fails over when its lease has run out, and the drill brings everything back.
        var cut = await DrillAsync(sandbox, 0, "--kind", "scenario", "--scenario", Scenario(sandbox, "primary-cut", "failover", "{kind: partition, region: primary, duration: 30s}"));
        Assert.Equal(("success", "expired", "us-east-1"), (cut.GetProperty("outcome").GetString(), cut.GetProperty("proof").GetString(), cut.GetProperty("from").GetString()));
        Assert.Equal("automatic failover", (await sandbox.BrAsync("runbook", "status", cut.GetProperty("failover").GetString()!, "--output", "json")).Fine().Json.GetProperty("run").GetProperty("actor").GetString());
        Assert.True(cut.GetProperty("rto_achieved_minutes").GetDouble() is > 0 and < 1);
    }

    /// <summary>A drill, after which everything is as it was.</summary>
    private async Task<JsonElement> DrillAsync(Sandbox sandbox, int code, params string[] arguments)
    {
        var before = await DrillTests.HouseAsync(sandbox);
        var said = await sandbox.BrAsync(["dr", "drill", "run", "--output", "json", .. arguments]);
        Assert.True(said.Code == code, $"exit {said.Code}\n{said.Out}\n{said.Error}");
        var drill = said.Json.GetProperty("drill");
        output.WriteLine($"{drill}");
        Assert.Equal(before, await DrillTests.HouseAsync(sandbox));
        return drill;
    }

    private static string Scenario(Sandbox sandbox, string name, string expect, string fault)
    {
        var path = Path.Combine(sandbox.Data, $"{name}.yml");
        File.WriteAllText(path, $"name: {name}\ntitle: {name}\nexpect: {expect}\nfaults:\n  - {fault}\n");
        return path;
    }
}
