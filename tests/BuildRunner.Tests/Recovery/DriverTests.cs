using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Recovery.Dns;
using BuildRunner.Server.Recovery.Failover;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Recovery;

/// <summary>The drivers `file` of names and `exec` of power, against a real file and real commands.</summary>
public class DriverTests
{
    private static readonly TimeSpan Ttl = TimeSpan.FromSeconds(5);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 30_000)]
    public async Task FileDns_SetClearAndReadBack_KeepsTheOtherNames()
    {
        using var folder = new TempFolder();
        var file = folder.File("names");
        var dns = new FileDns(new HousePolicy(new PolicyDocument { Dns = new DnsRules { Driver = "file", Name = "shop.test", File = file } }));
        Assert.Empty((await dns.ReadBackAsync("shop.test", "A", Cancel)).Single().Addresses!);

        await dns.SetAsync(new DnsRecordSet("shop.test", "A", ["10.0.0.1", "10.0.0.2"], Ttl), null, Cancel);
        await dns.SetAsync(new DnsRecordSet("primary.shop.test", "A", ["10.0.0.1"], Ttl), null, Cancel);
        await dns.SetAsync(new DnsRecordSet("shop.test", "AAAA", ["2001:db8::1"], Ttl), null, Cancel);
        await dns.SetAsync(new DnsRecordSet("shop.test", "A", ["10.0.0.2"], Ttl), null, Cancel);
        var written = await File.ReadAllTextAsync(file, Cancel);
        await dns.SetAsync(new DnsRecordSet("shop.test", "A", ["10.0.0.2"], Ttl), null, Cancel); // repeatable
        Assert.Equal("primary.shop.test. 5 IN A 10.0.0.1\nshop.test. 5 IN AAAA 2001:db8::1\nshop.test. 5 IN A 10.0.0.2\n", written);
        Assert.Equal(written, await File.ReadAllTextAsync(file, Cancel));
        Assert.Equal(["10.0.0.2"], (await dns.ReadBackAsync("shop.test", "A", Cancel)).Single().Addresses!);

        await dns.ClearAsync("shop.test", "A", null, Cancel);
        await dns.ClearAsync("shop.test", "A", null, Cancel);
        Assert.Empty((await dns.ReadBackAsync("shop.test", "A", Cancel)).Single().Addresses!);
        Assert.Equal(["10.0.0.1"], (await dns.ReadBackAsync("primary.shop.test", "A", Cancel)).Single().Addresses!);
    }

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
    public async Task ExecPower_CommandIsMissing_ThrowsAndIsNoProof() =>
        await Assert.ThrowsAnyAsync<System.ComponentModel.Win32Exception>(() => Exec("/nowhere/power").OffAsync("us-east-1", Cancel));

    private static PolicyPowerDriver Exec(params string[] command)
    {
        var driver = new PolicyPowerDriver(new HousePolicy(new PolicyDocument { Recovery = new RecoveryRules { PowerDriver = "exec", PowerCommand = command } }));
        Assert.True(driver.Ready);
        return driver;
    }
}
