using System.Net;
using System.Net.Sockets;
using BuildRunner.Dev;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Dev;

public sealed class PacketFilterTests : IDisposable
{
    private const string Out = "127.1.2.1 . 9101", In = "127.2.1.1 . 9101";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        if (PacketFilter.WhyNot() is null)
            PacketFilter.Mend(DevRegion.All[0]);
    }

    /// <summary>Region 1 sees region 2 at 127.1.2.1 and is seen by it at 127.2.1.1: a packet goes to the relay, and its answer comes from it.</summary>
    [Theory]
    [InlineData("Both", $"{Out} {In}", $"{Out} {In}")]
    [InlineData("In", In, Out)]
    [InlineData("Out", Out, In)]
    public void Script_EachWay_DropsWhatGoesThatWay(string way, string there, string back)
    {
        var script = PacketFilter.Script("t", 1, Enum.Parse<Silence>(way), [(new Link(1, 2, default), new(IPAddress.Parse("127.1.2.1"), 9101)), (new Link(2, 1, default), new(IPAddress.Parse("127.2.1.1"), 9101))], TimeSpan.FromSeconds(30));
        string[] lines = script.Split('\n');
        foreach (var (line, expected) in (ReadOnlySpan<(string, string)>)[(lines[1], there), (lines[2], back)])
        {
            foreach (var element in (string[])[Out, In])
                Assert.Equal(expected.Contains(element, StringComparison.Ordinal), line.Contains($"{element} timeout 30000ms", StringComparison.Ordinal));
        }
    }

    [Fact(Timeout = 60_000)]
    public async Task Cut_OneWay_TheOtherWayGoesOnAndAllAfterMending()
    {
        Assert.SkipUnless(PacketFilter.WhyNot() is null, "needs root and nft");
        using var relay = new TcpListener(IPAddress.Parse("127.1.2.1"), 0);
        relay.Start();
        var at = (IPEndPoint)relay.LocalEndpoint;
        using var near = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await near.ConnectAsync(at, Cancel);
        using var far = await relay.AcceptSocketAsync(Cancel);

        // Nothing reaches region 1, which is the near end: what it sends arrives, though it never learns that it did.
        PacketFilter.Cut(DevRegion.All[0], Silence.In, [(new Link(1, 2, default), at)], TimeSpan.FromMinutes(1));
        await near.SendAsync("a"u8.ToArray(), Cancel);
        Assert.Equal('a', await ReadAsync(far));
        await far.SendAsync("b"u8.ToArray(), Cancel);
        await near.SendAsync("c"u8.ToArray(), Cancel);
        Assert.Equal('c', await ReadAsync(far)); // a way there and, unheard, a way back later
        Assert.Equal(0, near.Available);

        PacketFilter.Mend(DevRegion.All[0]);
        Assert.Equal('b', await ReadAsync(near)); // the kernel sends it again
        PacketFilter.Mend(DevRegion.All[0]);
    }

    private static async Task<char> ReadAsync(Socket socket)
    {
        var one = new byte[1];
        Assert.Equal(1, await socket.ReceiveAsync(one, Cancel));
        return (char)one[0];
    }
}
