using System.Text.Json;
using BuildRunner.Dev;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>A sandbox starts, is healthy, and ends without leaving anything, however it ends.</summary>
[Collection(EndToEndGroup.Name)]
public sealed class LifeTests(ITestOutputHelper output)
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 300_000)]
    public async Task Dev_StartedStoppedAndStarted_IsHealthyBothTimesAndLeavesNothing()
    {
        await using var sandbox = await Sandbox.StartAsync("--no-traffic");
        output.WriteLine($"first start: {sandbox.Took.TotalSeconds:0.0} s");
        await HealthyAsync(sandbox);

        var second = await sandbox.BrAsync("dev", "--detach", "--data", sandbox.Data);
        Assert.Equal(1, second.Code);
        Assert.Contains("runs already", second.Error, StringComparison.Ordinal);

        (await sandbox.BrAsync("dev", "stop")).Fine();
        Assert.Empty(sandbox.Processes);
        Assert.Empty(sandbox.Listening);
        Assert.Equal(3, (await sandbox.BrAsync("dev", "status")).Code);

        await sandbox.StartAgainAsync("--no-traffic");
        output.WriteLine($"second start: {sandbox.Took.TotalSeconds:0.0} s");
        await HealthyAsync(sandbox);
    }

    [Fact(Timeout = 300_000)]
    public async Task Dev_SupervisorKilled_LeavesNothingAndStartsAgain()
    {
        await using var sandbox = await Sandbox.StartAsync("--no-traffic");

        ProcessTable.Kill(sandbox.Supervisor);

        await Eventually.TrueAsync(() => sandbox.Processes.Count == 0 && sandbox.Listening.Count == 0,
            "every process and port is gone", Cancel, TimeSpan.FromSeconds(10));
        await sandbox.StartAgainAsync("--no-traffic");
        await HealthyAsync(sandbox);
    }

    [Theory(Timeout = 300_000)]
    [InlineData(2, Traits = ["Category", "long"])]
    [InlineData(12)]
    [InlineData(20, Traits = ["Category", "long"])]
    public async Task Dev_KilledWhileItStarts_LeavesNothingAndStartsAgain(int processes)
    {
        await using var sandbox = Sandbox.Empty();
        using (var starting = sandbox.Start("dev", "--detach", "--data", sandbox.Data, "--port-offset", "auto", "--no-traffic"))
        {
            await Eventually.TrueAsync(() => starting.HasExited || sandbox.Processes.Count >= processes, $"{processes} processes have been started", Cancel, TimeSpan.FromSeconds(60));
            ProcessTable.Kill(starting.Id);
        }

        await Eventually.TrueAsync(() => sandbox.Processes.Count == 0 && !DevLock.IsHeld(sandbox.Layout) && sandbox.Listening.Count == 0,
            "every process and port is gone", Cancel, TimeSpan.FromSeconds(15));
        await sandbox.StartAgainAsync("--no-traffic");
        await HealthyAsync(sandbox);
    }

    [Fact(Timeout = 120_000)]
    public async Task Dev_PortTaken_SaysByWhom()
    {
        using var taken = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Parse("127.0.3.1"), 0);
        taken.Start();
        var offset = ((System.Net.IPEndPoint)taken.LocalEndpoint).Port - 8080;
        await using var sandbox = Sandbox.Empty();

        var said = await sandbox.BrAsync("dev", "--detach", "--data", sandbox.Data, "--port-offset", offset.ToString(System.Globalization.CultureInfo.InvariantCulture));

        Assert.Equal(1, said.Code);
        Assert.Contains($"({Environment.ProcessId}", said.Error.Replace("process ", "(", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.Contains("--port-offset auto", said.Error, StringComparison.Ordinal);
        Assert.Empty(sandbox.Processes);
    }

    private static async Task HealthyAsync(Sandbox sandbox)
    {
        var health = (await sandbox.BrAsync("regions", "health", "--all", "--output", "json")).Fine().Json;
        var regions = health.GetProperty("regions").EnumerateArray().ToList();
        Assert.Equal(["us-east-1", "us-west-1", "eu-west-1", "ap-south-1"], regions.Select(r => r.GetProperty("code").GetString()!));
        foreach (var region in regions)
        {
            Assert.True(region.GetProperty("active").GetBoolean(), region.ToString());
            Assert.Equal(JsonValueKind.Number, region.GetProperty("latency_ms").ValueKind);
        }
        Assert.All(regions.Where(r => r.GetProperty("code").GetString() is "us-west-1" or "eu-west-1"), copy =>
            Assert.Equal(JsonValueKind.Number, copy.GetProperty("replication").GetProperty("lag_seconds").ValueKind));
    }
}
