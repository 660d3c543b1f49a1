using System.Text.Json;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>
/// Drills of a house that fails over by itself: one of the calendar, in which nobody can reach the primary; one that takes itself back because users would wait
/// too long; one that a person aborts; one that the house sits out; a practice. After each everything is as it was, and the evidence tells all of it.
/// </summary>
[Collection(EndToEndGroup.Name)]
public sealed class DrillAbortTests(ITestOutputHelper output)
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(120);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 600_000), Trait("Category", "long")]
    public async Task Drills_UnderAutomaticFailover_RecoverEndureOrGoBack_AndLeaveNothing()
    {
        // The default lease: its verdict takes longer than the drill that takes itself back.
        await using var sandbox = await AutoFailoverTests.StartAsync(TimeSpan.FromSeconds(10), (text, folder) =>
        {
            Directory.CreateDirectory(Path.Combine(folder, "scenarios"));
            File.WriteAllText(Path.Combine(folder, "scenarios", "primary-cut.yml"), Text("primary-cut", "failover", "{kind: partition, region: primary, duration: 30s}"));
            return text.Replace("  monthly: \"0 4 1 * *\"", "  monthly: \"* * * * *\"\n  scenario: primary-cut", StringComparison.Ordinal);
        });
        foreach (var name in (await sandbox.BrAsync("dr", "drill", "scenarios", "--output", "json")).Fine().Json.GetProperty("scenarios").EnumerateArray().Select(s => s.GetProperty("name").GetString()!).ToList())
            (await sandbox.BrAsync("dr", "drill", "run", "--kind", "scenario", "--scenario", name, "--dry-run")).Fine();
        var before = await DrillTests.HouseAsync(sandbox);

        // Armed, the calendar does it: the house fails over when the lease of the primary that nobody reaches has run out, and the drill brings everything back.
        (await sandbox.BrAsync("dr", "drill", "arm", "--kind", "scenario", "--until", "1h")).Fine();
        var cut = await LastAsync(sandbox, d => d.GetProperty("kind").GetString() == "scenario" && !d.GetProperty("dry_run").GetBoolean());
        (await sandbox.BrAsync("dr", "drill", "arm", "--kind", "scenario", "--off")).Fine();
        Assert.Equal(("success", "scheduled", "expired", "us-east-1"), (cut.GetProperty("outcome").GetString(), cut.GetProperty("type").GetString(), cut.GetProperty("proof").GetString(), cut.GetProperty("from").GetString()));
        Assert.Equal("automatic failover", (await sandbox.BrAsync("runbook", "status", cut.GetProperty("failover").GetString()!, "--output", "json")).Fine().Json.GetProperty("run").GetProperty("actor").GetString());
        Assert.True(cut.GetProperty("rto_achieved_minutes").GetDouble() is > 0 and < 1.5);
        Assert.Equal(before, await DrillTests.HouseAsync(sandbox));

        // Users would wait longer than the drill may make them: it takes itself back before anything fails over.
        var early = await DrillAsync(sandbox, 1, "--kind", "failover", "--fault", "stop", "--outage-max", "1");
        Assert.Equal(("aborted", "outage_max", JsonValueKind.Null, "us-east-1"), (early.GetProperty("outcome").GetString(), early.GetProperty("aborted_by").GetString(), early.GetProperty("failover").ValueKind, early.GetProperty("from").GetString()));
        Assert.Equal(before, await DrillTests.HouseAsync(sandbox));

        // A person says stop while a copy is down.
        using (var running = sandbox.Start("dr", "drill", "run", "--kind", "scenario", "--scenario", Scenario(sandbox, "copy-down", "endure", "{kind: kill, region: standby, duration: 5m}"), "--output", "json"))
        {
            var (said, _) = (running.StandardOutput.ReadToEndAsync(Cancel), running.StandardError.ReadToEndAsync(Cancel));
            var run = await RunAsync(sandbox, r => r.GetProperty("runbook").GetString() == "drill-scenario" && r.GetProperty("state").GetString() == "running" && Step(r, "break") == "done");
            (await sandbox.BrAsync("runbook", "abort", run.GetProperty("id").GetString()!, "--reason", "enough")).Fine();
            await running.WaitForExitAsync(Cancel).WaitAsync(Limit, Cancel);
            var drill = JsonDocument.Parse(await said).RootElement.GetProperty("drill");
            Assert.Equal("aborted", drill.GetProperty("outcome").GetString());
            Assert.NotEqual("outage_max", drill.GetProperty("aborted_by").GetString());
            Assert.Equal(before, await DrillTests.HouseAsync(sandbox));
        }

        // Cut off for a while, nothing is moved.
        var endured = await DrillAsync(sandbox, 0, "--kind", "scenario", "--scenario", Scenario(sandbox, "copy-cut", "endure", "{kind: partition, region: standby, duration: 8s}"));
        Assert.Equal(("success", 0, JsonValueKind.Null), (endured.GetProperty("outcome").GetString(), endured.GetProperty("rto_achieved_minutes").GetDouble(), endured.GetProperty("failover").ValueKind));
        Assert.Equal(before, await DrillTests.HouseAsync(sandbox));

        await PractiseAsync(sandbox);
        await ProveAsync(sandbox);
    }

    /// <summary>People walk through a loss that is only announced, and are timed.</summary>
    private async Task PractiseAsync(Sandbox sandbox)
    {
        Assert.Equal(2, (await sandbox.BrAsync("dr", "drill", "run", "--practice")).Code);
        using var practice = sandbox.Start("dr", "drill", "run", "--practice", "--participants", "ada, ben", "--announce-only", "--output", "json");
        var (said, _) = (practice.StandardOutput.ReadToEndAsync(Cancel), practice.StandardError.ReadToEndAsync(Cancel));
        foreach (var step in new[] { "told", "decided", "walked" })
        {
            var run = await RunAsync(sandbox, r => r.GetProperty("waiting").EnumerateArray().Any(w => w.GetProperty("step").GetString() == step));
            (await sandbox.BrAsync("runbook", "confirm", run.GetProperty("id").GetString()!, "--note", $"ada: {step}")).Fine();
        }
        await practice.WaitForExitAsync(Cancel).WaitAsync(Limit, Cancel);
        var drill = JsonDocument.Parse(await said).RootElement.GetProperty("drill");
        output.WriteLine($"{drill}");
        Assert.Equal(("success", "failover"), (drill.GetProperty("outcome").GetString(), drill.GetProperty("kind").GetString()));
        Assert.Equal(["ada", "ben"], drill.GetProperty("participants").EnumerateArray().Select(p => p.GetString()));
        Assert.All(new[] { "detection_minutes", "decision_minutes", "recovery_minutes" }, name => Assert.True(drill.GetProperty(name).GetDouble() > 0));
    }

    /// <summary>The evidence of the day: every drill is in it, its words of practice too; it is genuine, and not when a byte is changed.</summary>
    private async Task ProveAsync(Sandbox sandbox)
    {
        var file = Path.Combine(sandbox.Data, "evidence.json");
        var made = (await sandbox.BrAsync("dr", "evidence", "--from", DateTimeOffset.UtcNow.AddDays(-1).ToString("yyyy-MM-dd", CultureInfo.InvariantCulture), "--out", file, "--output", "json")).Fine().Json;
        var fingerprint = made.GetProperty("fingerprint").GetString()!;
        output.WriteLine($"{made}");
        Assert.Equal(fingerprint, (await sandbox.BrAsync("dr", "evidence", "key", "--output", "json")).Fine().Json.GetProperty("key").GetProperty("fingerprint").GetString());
        var evidence = JsonDocument.Parse(await File.ReadAllBytesAsync(file, Cancel)).RootElement.GetProperty("evidence");
        // The practice that was only announced broke nothing and proves nothing: like an evaluation it is in it as a dry run.
        Assert.Equal(4, evidence.GetProperty("drills").EnumerateArray().Count(d => !d.GetProperty("dry_run").GetBoolean()));
        Assert.Equal(["failover", "failback"], evidence.GetProperty("moves").EnumerateArray().Select(m => m.GetProperty("runbook").GetString()));
        Assert.All(evidence.GetProperty("moves").EnumerateArray(), m => Assert.Equal(JsonValueKind.String, m.GetProperty("drill").ValueKind));
        Assert.Equal(3, evidence.GetProperty("approvals").GetArrayLength());

        (await sandbox.BrAsync("dr", "evidence", "verify", file, "--fingerprint", fingerprint)).Fine();
        Assert.Equal(4, (await sandbox.BrAsync("dr", "evidence", "verify", file, "--fingerprint", "SHA256:00")).Code);
        var bytes = await File.ReadAllBytesAsync(file, Cancel);
        bytes[bytes.AsSpan().IndexOf("\"success\""u8) + 1] ^= 1; // in a word: a change that breaks the JSON is said as unreadable (2)
        await File.WriteAllBytesAsync(file, bytes, Cancel);
        Assert.Equal(1, (await sandbox.BrAsync("dr", "evidence", "verify", file)).Code);
        Assert.Equal(2, (await sandbox.BrAsync("dr", "evidence", "verify", Path.Combine(sandbox.Data, "none"))).Code);
        var listed = await sandbox.BrAsync("dr", "drill", "list");
        Assert.Contains("within the objectives", listed.Fine().Out, StringComparison.Ordinal);
    }

    private async Task<JsonElement> DrillAsync(Sandbox sandbox, int code, params string[] arguments)
    {
        var said = await sandbox.BrAsync(["dr", "drill", "run", "--output", "json", .. arguments]);
        Assert.True(said.Code == code, $"exit {said.Code}\n{said.Out}\n{said.Error}");
        var drill = said.Json.GetProperty("drill");
        output.WriteLine($"{drill}");
        return drill;
    }

    private async Task<JsonElement> LastAsync(Sandbox sandbox, Func<JsonElement, bool> which)
    {
        JsonElement found = default;
        await Eventually.TrueAsync(async () =>
        {
            found = (await sandbox.BrAsync("dr", "drill", "list", "--output", "json")).Fine().Json.GetProperty("drills").EnumerateArray().FirstOrDefault(which);
            return found.ValueKind == JsonValueKind.Object;
        }, "the calendar's drill has ended", Cancel, TimeSpan.FromMinutes(4));
        output.WriteLine($"{found}");
        return found;
    }

    private static async Task<JsonElement> RunAsync(Sandbox sandbox, Func<JsonElement, bool> which)
    {
        JsonElement found = default;
        await Eventually.TrueAsync(async () =>
        {
            found = (await sandbox.BrAsync("runbook", "status", "--output", "json")).Fine().Json.GetProperty("runs").EnumerateArray().FirstOrDefault(which);
            return found.ValueKind == JsonValueKind.Object;
        }, "the run has come so far", Cancel, Limit);
        return found;
    }

    private static string? Step(JsonElement run, string id) => run.GetProperty("steps").EnumerateArray().FirstOrDefault(s => s.GetProperty("id").GetString() == id) is { ValueKind: JsonValueKind.Object } step ? step.GetProperty("status").GetString() : null;

    private static string Text(string name, string expect, string fault) => $"name: {name}\ntitle: {name}\nexpect: {expect}\nfaults:\n  - {fault}\n";

    private static string Scenario(Sandbox sandbox, string name, string expect, string fault)
    {
        var path = Path.Combine(sandbox.Data, $"{name}.yml");
        File.WriteAllText(path, Text(name, expect, fault));
        return path;
    }
}
