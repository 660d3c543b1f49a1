using BuildRunner.Client.Regions;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Time.Testing;

namespace BuildRunner.Tests.Regions;

public class ProberTests
{
    private const int Limit = 20_000;

    [Fact(Timeout = Limit)]
    public async Task Probe_FirstSuccess_IsUpWithLatency()
    {
        await using var service = await FakeService.StartAsync();
        await using var prober = Prober([Target("api", $"{service.Address}/healthz")]);

        await prober.ProbeAllAsync(TestContext.Current.CancellationToken);

        var reading = Assert.Single(prober.Read());
        Assert.True(reading.Up);
        Assert.Equal(1, reading.LatencySamples);
        Assert.InRange(reading.LatencyMs!.Value, 0, 5000);
    }

    [Fact(Timeout = Limit)]
    public async Task Probe_FailuresAndSuccesses_CountByRiseAndFall()
    {
        await using var service = await FakeService.StartAsync();
        await using var prober = Prober([Target("api", service.Address)]);
        var seen = new List<bool?>();

        foreach (var status in new[] { 200, 500, 500, 500, 200, 200 })
        {
            service.Status = status;
            await prober.ProbeAllAsync(TestContext.Current.CancellationToken);
            seen.Add(prober.Read()[0].Up);
        }

        Assert.Equal([true, true, true, false, false, true], seen);
        Assert.Equal("answered 500, 200 expected", prober.Read()[0].LastError);
    }

    [Fact(Timeout = Limit)]
    public async Task Probe_NeverUpAndFailing_UnknownUntilFall()
    {
        await using var prober = Prober([Target("api", "http://127.0.0.1:1")]);
        var seen = new List<bool?>();

        for (var i = 0; i < 3; i++)
        {
            await prober.ProbeAllAsync(TestContext.Current.CancellationToken);
            seen.Add(prober.Read()[0].Up);
        }

        Assert.Equal([null, null, false], seen);
        Assert.Equal("connection refused", prober.Read()[0].LastError);
    }

    [Fact(Timeout = Limit)]
    public async Task Probe_NoAnswerInTime_Fails()
    {
        await using var service = await FakeService.StartAsync();
        service.Hang = new TaskCompletionSource();
        await using var prober = Prober([Target("api", service.Address) with { Timeout = TimeSpan.FromMilliseconds(50) }]);

        await prober.ProbeAllAsync(TestContext.Current.CancellationToken);

        Assert.Equal("no answer within 50 ms", prober.Read()[0].LastError);
    }

    [Fact(Timeout = Limit)]
    public async Task Probe_Tcp_KnocksAndNeedsNoAnswer()
    {
        await using var service = await FakeService.StartAsync();
        await using var prober = Prober([Target("db", new Uri(service.Address).Authority) with { Kind = ProbeKind.Tcp }]);

        await prober.ProbeAllAsync(TestContext.Current.CancellationToken);

        Assert.True(prober.Read()[0].Up);
        Assert.Equal(0, service.Asked);
    }

    [Fact(Timeout = 60_000)]
    public async Task Probe_Postgres_OneThatIsFrozenIsSeenThoughItsPortIsOpen()
    {
        await using var server = await Support.PostgresServer.StartAsync();
        await using var prober = Prober([Target("db", $"{server.Host}:{server.Port}") with { Kind = ProbeKind.Postgres, Timeout = TimeSpan.FromMilliseconds(500) }]);
        await prober.ProbeAllAsync(TestContext.Current.CancellationToken);
        Assert.True(prober.Read()[0].Up);

        System.Diagnostics.Process.Start("kill", ["-STOP", $"{server.ProcessId}"]).WaitForExit();
        try
        {
            await prober.ProbeAllAsync(TestContext.Current.CancellationToken);
            Assert.Equal("no answer within 500 ms", prober.Read()[0].LastError);
        }
        finally { System.Diagnostics.Process.Start("kill", ["-CONT", $"{server.ProcessId}"]).WaitForExit(); }
        Assert.DoesNotContain("incomplete startup packet", server.Log, StringComparison.Ordinal);
    }

    [Fact(Timeout = Limit)]
    public async Task Read_OneOfTwoInstancesDown_UpAndNamesTheOther()
    {
        await using var service = await FakeService.StartAsync();
        await using var prober = Prober([Target("api", service.Address) with { Fall = 1 }, Target("api", "http://127.0.0.1:1/") with { Fall = 1 }]);

        await prober.ProbeAllAsync(TestContext.Current.CancellationToken);

        var reading = Assert.Single(prober.Read());
        Assert.True(reading.Up);
        Assert.Equal((2, "http://127.0.0.1:1/"), (reading.Targets, Assert.Single(reading.Down)));
    }

    [Fact(Timeout = Limit)]
    public async Task Update_RemovedTarget_IsForgottenAndKeptOneGoesOn()
    {
        await using var service = await FakeService.StartAsync();
        var (kept, removed) = (Target("api", service.Address), Target("web", service.Address));
        await using var prober = Prober([kept, removed]);
        await prober.ProbeAllAsync(TestContext.Current.CancellationToken);

        prober.Update([kept]);

        Assert.Equal(("api", true), (prober.Read().Single().Service, prober.Read().Single().Up));
        prober.RecordPassive("us-east-1", "web", failed: true); // not probed any more: not counted
        prober.Update([kept, removed]);
        Assert.Equal((null, 0), (prober.Read()[1].Up, prober.Read()[1].PassiveRequests));
    }

    [Fact(Timeout = Limit)]
    public async Task RecordPassive_TenSecondsLater_IsForgotten()
    {
        var time = new FakeTimeProvider();
        await using var prober = new Prober(new DirectNetwork(), time);
        prober.Update([Target("api", "http://127.0.0.1:1")]);

        prober.RecordPassive("us-east-1", "api", failed: true);
        prober.RecordPassive("us-east-1", "api", failed: false);
        time.Advance(TimeSpan.FromSeconds(9));
        Assert.Equal((2, 1), (prober.Read()[0].PassiveRequests, prober.Read()[0].PassiveFailures));
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal((0, 0), (prober.Read()[0].PassiveRequests, prober.Read()[0].PassiveFailures));
    }

    /// <summary>Its own timer is an hour away: only the test probes.</summary>
    private static Prober Prober(IReadOnlyList<ProbeTarget> targets)
    {
        var prober = new Prober(new DirectNetwork(), TimeProvider.System);
        prober.Update(targets);
        return prober;
    }

    private static ProbeTarget Target(string service, string address) => new() { Region = "us-east-1", Service = service, Kind = ProbeKind.Http, Address = address, Interval = TimeSpan.FromDays(40), Timeout = TimeSpan.FromSeconds(5) };
}
