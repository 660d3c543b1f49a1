using System.Net;
using BuildRunner.Core.Databases;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Gateway;

public sealed class HoldTests : IAsyncDisposable
{
    private readonly GatewayUnderTest _gateway = new();

    public ValueTask DisposeAsync() => _gateway.DisposeAsync();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private Client.Routing.HoldReading Hold => _gateway.Report().Holds.Single();

    [Fact(Timeout = 30_000)]
    public async Task Write_WhileHeld_WaitsAndGoesToTheNewPrimaryUnderTheNewEpoch()
    {
        await _gateway.StartAsync(_gateway.Standard());
        Assert.Equal(HttpStatusCode.OK, (await _gateway.PostAsync()).StatusCode);
        _gateway.Apply(d => d with { State = EpochState.Closing, HoldId = "run-1" });
        var waiting = _gateway.PostAsync();
        await Eventually.TrueAsync(() => Hold.Waiting == 1, "a write waits", Cancel);
        Assert.Equal(HttpStatusCode.OK, (await _gateway.GetAsync()).StatusCode); // reads go on
        Assert.False(waiting.IsCompleted);
        _gateway.Apply(d => d with { Epoch = 4, State = EpochState.Moving, Primary = "far" });
        _gateway.Apply(d => d with { State = EpochState.Open, HoldId = null });

        Assert.Equal(HttpStatusCode.OK, (await waiting).StatusCode);
        Assert.Contains("BuildRunner-Epoch: 4", _gateway.Far.Last, StringComparison.Ordinal);
        var report = _gateway.Report();
        Assert.Equal([3L, 4L], report.Writes.Select(w => w.Epoch));
        Assert.True(report.Writes[1].OutageMs > 0);
        Assert.Null(report.Writes[0].OutageMs);
        Assert.Equal(1, report.Traffic.HeldWrites);
    }

    [Fact(Timeout = 30_000)]
    public async Task Write_HoldLastsTooLong_Is503AndThenAtOnce()
    {
        var table = _gateway.Standard();
        await _gateway.StartAsync(table with { Hold = table.Hold with { Duration = TimeSpan.FromMilliseconds(200) } });
        _gateway.Apply(d => d with { HoldId = "run-1" });
        for (var i = 0; i < 2; i++)
        {
            using var answer = await _gateway.PostAsync();
            Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
            Assert.NotNull(answer.Headers.RetryAfter);
        }
        Assert.True(Hold.Expired);
        Assert.Equal(0, _gateway.Near.Requests);
    }

    [Fact(Timeout = 30_000)]
    public async Task Write_NoRoomToWait_Is503()
    {
        await _gateway.StartAsync(_gateway.Standard());
        _gateway.Apply(d => d with { HoldId = "run-1" });
        var waiting = Enumerable.Range(0, 3).Select(_ => _gateway.PostAsync()).ToList();
        await Eventually.TrueAsync(() => Hold.Waiting == 3, "three wait", Cancel);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await _gateway.PostAsync()).StatusCode);
        _gateway.Apply(d => d with { HoldId = null });
        foreach (var answer in await Task.WhenAll(waiting))
            Assert.Equal(HttpStatusCode.OK, answer.StatusCode);

        _gateway.Apply(d => d with { HoldId = "run-2" });
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await _gateway.PostAsync(new string('x', 1001))).StatusCode); // more bytes than may wait
    }

    [Fact(Timeout = 30_000)]
    public async Task Report_WriteSentBeforeTheHold_IsInFlightUntilItIsAnswered()
    {
        var release = new TaskCompletionSource();
        _gateway.Near.Answer = async _ => { await release.Task; return Origin.Ok(); };
        var table = _gateway.Standard();
        await _gateway.StartAsync(table with { Services = [table.Services[0] with { Routes = [table.Services[0].Routes[0] with { Timeout = TimeSpan.FromSeconds(20) }] }] });
        var writing = _gateway.PostAsync();
        await Eventually.TrueAsync(() => _gateway.Near.Requests == 1, "the write is out", Cancel);
        _gateway.Apply(d => d with { HoldId = "run-1" });
        Assert.Equal((0, 1), (Hold.Waiting, Hold.InFlight));
        release.SetResult();
        Assert.Equal(HttpStatusCode.OK, (await writing).StatusCode);
        await Eventually.TrueAsync(() => Hold.InFlight == 0, "nothing is out", Cancel);
    }

    [Fact(Timeout = 30_000)]
    public async Task Write_NotWritableAndNoHold_Is503AtOnce()
    {
        await _gateway.StartAsync(_gateway.Standard());
        _gateway.Apply(d => d with { Writable = false });
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await _gateway.PostAsync()).StatusCode);
        Assert.Equal(0, _gateway.Near.Requests);
    }

    [Fact(Timeout = 30_000)]
    public async Task Write_AnswerBearsANewerEpoch_TheNextWaitsForTheTable()
    {
        _gateway.Near.Answer = static _ => Task.FromResult<string?>(Origin.Ok("BuildRunner-Epoch: 4\r\n", "no", 421));
        await _gateway.StartAsync(_gateway.Standard());
        var waiting = _gateway.PostAsync();
        await Eventually.TrueAsync(() => _gateway.Report().Traffic.HeldWrites == 1, "the write waits", Cancel);
        Assert.Equal(1, _gateway.Near.Requests);
        _gateway.Apply(d => d with { Epoch = 4, Primary = "far" });
        Assert.Equal(HttpStatusCode.OK, (await waiting).StatusCode);
        Assert.Equal(1, _gateway.Far.Requests);
    }

    [Fact(Timeout = 30_000)]
    public async Task Apply_LowerEpoch_TheRowInForceStays()
    {
        await _gateway.StartAsync(_gateway.Standard());
        _gateway.Apply(d => d with { Epoch = 5, Primary = "far" });
        _gateway.Apply(d => d with { Epoch = 4, Primary = "near" });
        Assert.Equal(HttpStatusCode.OK, (await _gateway.PostAsync()).StatusCode);
        Assert.Equal((0, 1), (_gateway.Near.Requests, _gateway.Far.Requests));
    }
}
