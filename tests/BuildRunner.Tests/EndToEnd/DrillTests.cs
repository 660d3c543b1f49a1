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
