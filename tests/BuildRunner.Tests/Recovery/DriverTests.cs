using BuildRunner.Core.Policy;
using BuildRunner.Server.Recovery.Failover;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Recovery;

/// <summary>The driver `exec` of power, against real commands.</summary>
public class DriverTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory(Timeout = 30_000)]
    [InlineData("echo {region} is off", true, "ended with 0: us-east-1 is off")]
    [InlineData("echo no such host {region} >&2; exit 3", false, "ended with 3: no such host us-east-1")]
    public async Task ExecPower_ExitCode_SaysWhetherItIsOff(string script, bool off, string evidence)
    {
        var answer = await Exec("/bin/sh", "-c", script).OffAsync("us-east-1", Cancel);
        Assert.Equal((off, "us-east-1"), (answer.Off, answer.Region));
        Assert.Contains(evidence, answer.Evidence, StringComparison.Ordinal);
    }

    [Fact(Timeout = 30_000)]
    public async Task ExecPower_HangingCommand_IsEndedWithItsChildren()
    {
        using var folder = new TempFolder();
        var file = folder.File("pid");
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var asked = Exec("/bin/sh", "-c", $"sleep 100 & echo $! > {file}.new && mv {file}.new {file}; wait").OffAsync("us-east-1", stop.Token);
        await Eventually.TrueAsync(() => File.Exists(file), "the command runs", Cancel);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => asked);
        var child = $"/proc/{(await File.ReadAllTextAsync(file, Cancel)).Trim()}/stat";
        await Eventually.TrueAsync(() => !File.Exists(child) || File.ReadAllText(child).Contains(") Z ", StringComparison.Ordinal), "its child is gone", Cancel);
    }

    [Fact(Timeout = 30_000)]
    public async Task ExecPower_CommandIsMissing_IsNoProof()
    {
        var answer = await Exec("/nowhere/power").OffAsync("us-east-1", Cancel);
        Assert.False(answer.Off);
        Assert.Contains("/nowhere/power could not be started", answer.Evidence, StringComparison.Ordinal);
    }

    /// <summary>A command that never stops talking fills nobody's memory, and what it said last is not waited for.</summary>
    [Fact(Timeout = 30_000)]
    public async Task ExecPower_EndlessOutput_IsEndedAndNoProof()
    {
        var answer = await Exec("/bin/sh", "-c", "yes {region} is off").OffAsync("us-east-1", Cancel);
        Assert.False(answer.Off);
        Assert.Contains("64 KiB", answer.Evidence, StringComparison.Ordinal);
    }

    private static PolicyPowerDriver Exec(params string[] command)
    {
        var driver = new PolicyPowerDriver(new HousePolicy(new PolicyDocument { Recovery = new RecoveryRules { PowerDriver = "exec", PowerCommand = command } }));
        Assert.True(driver.Ready);
        return driver;
    }
}
