using System.Text.Json;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>A drill breaks the primary for real while a client writes, and leaves everything as it was.</summary>
[Collection(EndToEndGroup.Name)]
public sealed class DrillTests(ITestOutputHelper output)
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 400_000)]
    public async Task Drill_Failover_ReturnsToTheStartAndItsRecoveryTimeIsTheClients()
    {
        await using var sandbox = await Sandbox.StartAsync("--no-traffic");
        await using var writer = OrderWriter.Start(new() { Gateway = new Uri(sandbox.Gateway("us-west-1")), InFlightMax = 800 });
        await writer.AcknowledgedAsync(100, Cancel);
        var before = await HouseAsync(sandbox);

        var drill = (await sandbox.BrAsync("dr", "drill", "run", "--kind", "failover", "--output", "json")).Fine().Json.GetProperty("drill");
        await writer.AcknowledgedAsync(100, Cancel);
        var report = await writer.StopAsync();
        output.WriteLine($"{report}; {drill}");

        Assert.Equal("success", drill.GetProperty("outcome").GetString());
        Assert.Equal("stopped", drill.GetProperty("proof").GetString());
        var reported = drill.GetProperty("rto_achieved_minutes").GetDouble() * 60_000;
        Assert.True(Math.Abs(reported - report.Outage!.Value.TotalMilliseconds) <= Math.Max(300, reported * 0.1), $"the drill says {reported:0} ms, the client saw {report.Outage.Value.TotalMilliseconds:0} ms");
        Assert.Equal(before, await HouseAsync(sandbox));
        Assert.Empty(report.LateAcknowledgements());
        var listed = (await sandbox.BrAsync("dr", "drill", "list", "--output", "json")).Fine().Json.GetProperty("drills");
        Assert.Equal(drill.GetProperty("id").GetString(), listed[0].GetProperty("id").GetString());
        Assert.Contains("success", (await sandbox.BrAsync("dr", "drill", "show")).Fine().Out, StringComparison.Ordinal);
        await PractiseAsync(sandbox, before);
    }

    /// <summary>People find what is lost, say so, and bring writes back themselves; the house times them and puts everything back.</summary>
    private async Task PractiseAsync(Sandbox sandbox, string before)
    {
        using var practice = sandbox.Start("dr", "drill", "run", "--practice", "--participants", "ada,ben", "--output", "json");
        var (said, wrong) = (practice.StandardOutput.ReadToEndAsync(Cancel), practice.StandardError.ReadToEndAsync(Cancel));
        string? run = null;
        await Eventually.TrueAsync(async () =>
        {
            run = (await sandbox.BrAsync("runbook", "status", "--output", "json")).Fine().Json.GetProperty("runs").EnumerateArray()
                .FirstOrDefault(r => r.GetProperty("waiting").EnumerateArray().Any(w => w.GetProperty("step").GetString() == "known")) is { ValueKind: JsonValueKind.Object } found ? found.GetProperty("id").GetString() : null;
            return run is not null;
        }, "people are waited for", Cancel, TimeSpan.FromSeconds(60));
        (await sandbox.BrAsync("runbook", "confirm", run!, "--step", "known", "--note", "ada: no writes, us-east-1's database is gone")).Fine();
        (await sandbox.BrAsync("dr", "failover", "--target", "us-west-1", "--reason", "practice", "--yes")).Fine();
        await practice.WaitForExitAsync(Cancel).WaitAsync(TimeSpan.FromSeconds(120), Cancel);
        Assert.True(practice.ExitCode == 0, $"exit {practice.ExitCode}\n{await said}\n{await wrong}");
        var drill = JsonDocument.Parse(await said).RootElement.GetProperty("drill");
        output.WriteLine($"{drill}");
        Assert.Equal(("success", "us-west-1", "stopped"), (drill.GetProperty("outcome").GetString(), drill.GetProperty("to").GetString(), drill.GetProperty("proof").GetString()));
        Assert.All(new[] { "detection_minutes", "decision_minutes", "recovery_minutes", "rto_achieved_minutes" }, name => Assert.True(drill.GetProperty(name).GetDouble() > 0));
        Assert.Equal(before, await HouseAsync(sandbox));
    }

    /// <summary>Who is what, whom it follows, and what names answer, as the status tells it.</summary>
    internal static async Task<string> HouseAsync(Sandbox sandbox)
    {
        var status = (await sandbox.BrAsync("dr", "status", "--output", "json")).Fine().Json;
        var database = status.GetProperty("databases")[0];
        var regions = database.GetProperty("regions").EnumerateArray().Select(r => $"{r.GetProperty("code")} {r.GetProperty("state")} {r.GetProperty("following")} {r.GetProperty("streaming")}");
        return $"{database.GetProperty("primary")} {database.GetProperty("state")} | {string.Join(" | ", regions)}";
    }
}
