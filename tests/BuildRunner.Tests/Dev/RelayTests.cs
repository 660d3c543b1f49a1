using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using BuildRunner.Dev;

namespace BuildRunner.Tests.Dev;

public sealed class RelayTests : IDisposable
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private readonly TcpListener _target = new(IPAddress.Loopback, 0);

    public RelayTests() => _target.Start();

    public void Dispose() => _target.Dispose();

    [Theory(Timeout = 20_000)]
    [InlineData(0)]
    [InlineData(40)]
    public async Task Relay_EchoThroughADelay_TakesThereAndBack(int oneWayMs)
    {
        using var relay = Open(new Link(1, 2, TimeSpan.FromMilliseconds(oneWayMs)));
        using var near = await ConnectAsync(relay);
        using var far = await _target.AcceptSocketAsync(Cancel);
        await ExchangeAsync(near, far); // the first exchange pays for the handshake

        // A busy machine makes some late, and none early; timers tick in milliseconds.
        var quickest = double.MaxValue;
        for (var i = 0; i < 20 && quickest > (oneWayMs * 2) + 20; i++)
        {
            var begun = Stopwatch.GetTimestamp();
            await ExchangeAsync(near, far);
            var took = Stopwatch.GetElapsedTime(begun).TotalMilliseconds;
            Assert.True(took >= (oneWayMs * 2) - 3, $"{took} ms");
            quickest = Math.Min(quickest, took);
        }
        Assert.True(quickest <= (oneWayMs * 2) + 60, $"{quickest} ms");
    }

    [Fact(Timeout = 20_000)]
    public async Task Relay_HalfClosed_StillCarriesTheOtherWay()
    {
        using var relay = Open(new Link(1, 2, TimeSpan.FromMilliseconds(5)));
        using var near = await ConnectAsync(relay);
        using var far = await _target.AcceptSocketAsync(Cancel);
        await near.SendAsync("last"u8.ToArray(), Cancel);
        near.Shutdown(SocketShutdown.Send);

        Assert.Equal("last", await ReadToEndAsync(far));
        await far.SendAsync("answer"u8.ToArray(), Cancel);
        far.Shutdown(SocketShutdown.Send);
        Assert.Equal("answer", await ReadToEndAsync(near));
    }

    [Fact(Timeout = 60_000)]
    public async Task Relay_ManyBytesThroughADelay_ArriveWholeAndFast()
    {
        const int size = 64 * 1024 * 1024;
        using var relay = Open(new Link(1, 2, TimeSpan.FromMilliseconds(31)));
        using var near = await ConnectAsync(relay);
        using var far = await _target.AcceptSocketAsync(Cancel);
        var sent = new byte[size];
        new Random(1).NextBytes(sent);

        var begun = Stopwatch.GetTimestamp();
        var sending = Task.Run(async () =>
        {
            for (var at = 0; at < size;)
                at += await near.SendAsync(sent.AsMemory(at, Math.Min(1 << 20, size - at)), Cancel);
            near.Shutdown(SocketShutdown.Send);
        }, Cancel);
        var received = new byte[size];
        var got = 0;
        while (await far.ReceiveAsync(received.AsMemory(got), Cancel) is > 0 and var count)
            got += count;
        await sending;

        Assert.Equal(size, got);
        Assert.True(received.AsSpan().SequenceEqual(sent));
        Assert.True(Stopwatch.GetElapsedTime(begun) < TimeSpan.FromSeconds(15), $"{Stopwatch.GetElapsedTime(begun).TotalSeconds:0.0} s for 64 MiB");
    }

    [Theory(Timeout = 20_000)]
    [InlineData(0)]
    [InlineData(5)]
    public async Task Relay_SilentOneWay_CarriesTheOtherWayAndGoesOnWhenMended(int oneWayMs)
    {
        var link = new Link(1, 2, TimeSpan.FromMilliseconds(oneWayMs));
        using var relay = Open(link);
        using var near = await ConnectAsync(relay);
        using var far = await _target.AcceptSocketAsync(Cancel);
        await ExchangeAsync(near, far);

        link.Set(LinkState.Silent, 2, Silence.In);
        Assert.Equal((Silence.In, Silence.Out), (link.OneWayOf(2), link.OneWayOf(1)));
        await near.SendAsync("lost?"u8.ToArray(), Cancel);
        await far.SendAsync("heard"u8.ToArray(), Cancel);
        far.Shutdown(SocketShutdown.Send);
        Assert.Equal("heard", await ReadToEndAsync(near));
        Assert.Equal(0, far.Available);

        link.Set(LinkState.Open);
        near.Shutdown(SocketShutdown.Send);
        Assert.Equal("lost?", await ReadToEndAsync(far));
    }

    [Fact(Timeout = 20_000)]
    public async Task Relay_Refusing_ResetsWhatRunsAndRefusesWhatComes()
    {
        var link = new Link(1, 2, TimeSpan.Zero);
        using var relay = Open(link);
        using var near = await ConnectAsync(relay);
        using var far = await _target.AcceptSocketAsync(Cancel);
        await ExchangeAsync(near, far);

        link.Set(LinkState.Refusing);
        relay.Follow(targetListens: true);
        relay.ResetConnections();

        await Assert.ThrowsAsync<SocketException>(async () => await near.ReceiveAsync(new byte[1], Cancel));
        var refused = await Assert.ThrowsAsync<SocketException>(() => ConnectAsync(relay));
        Assert.Equal(SocketError.ConnectionRefused, refused.SocketErrorCode);
    }

    [Fact(Timeout = 20_000)]
    public async Task Relay_SilentThenOpen_LosesNothing()
    {
        var link = new Link(1, 2, TimeSpan.Zero);
        using var relay = Open(link);
        using var near = await ConnectAsync(relay);
        using var far = await _target.AcceptSocketAsync(Cancel);
        await ExchangeAsync(near, far);

        link.Set(LinkState.Silent);
        await near.SendAsync("held"u8.ToArray(), Cancel);
        Assert.False(far.Poll(TimeSpan.FromMilliseconds(200), SelectMode.SelectRead));

        link.Set(LinkState.Open);
        var bytes = new byte[4];
        Assert.Equal(4, await far.ReceiveAsync(bytes, Cancel));
        Assert.Equal("held"u8.ToArray(), bytes);
    }

    [Fact(Timeout = 20_000)]
    public async Task Relay_TargetDoesNotListen_RefusesAsTheTargetWould()
    {
        using var relay = Open(new Link(1, 2, TimeSpan.Zero));
        relay.Follow(targetListens: false);

        var refused = await Assert.ThrowsAsync<SocketException>(() => ConnectAsync(relay));
        Assert.Equal(SocketError.ConnectionRefused, refused.SocketErrorCode);
    }

    private Relay Open(Link link)
    {
        using var free = new TcpListener(IPAddress.Loopback, 0);
        free.Start();
        var at = (IPEndPoint)free.LocalEndpoint;
        free.Stop();
        var relay = new Relay(link, at, (IPEndPoint)_target.LocalEndpoint);
        relay.Follow(targetListens: true);
        return relay;
    }

    private static async Task<Socket> ConnectAsync(Relay relay)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(relay.At, Cancel);
        return socket;
    }

    private static async Task ExchangeAsync(Socket near, Socket far)
    {
        var bytes = new byte[1];
        await near.SendAsync(bytes, Cancel);
        Assert.Equal(1, await far.ReceiveAsync(bytes, Cancel));
        await far.SendAsync(bytes, Cancel);
        Assert.Equal(1, await near.ReceiveAsync(bytes, Cancel));
    }

    private static async Task<string> ReadToEndAsync(Socket socket)
    {
        var text = "";
        var bytes = new byte[100];
        while (await socket.ReceiveAsync(bytes, Cancel) is > 0 and var count)
            text += System.Text.Encoding.UTF8.GetString(bytes, 0, count);
        return text;
    }
}
