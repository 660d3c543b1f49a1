using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using ARSoft.Tools.Net;
using ARSoft.Tools.Net.Dns;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;
using BuildRunner.Server.Recovery.Dns;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace BuildRunner.Tests.Recovery;

/// <summary>The embedded server's sockets, asked by a client that is none of ours, and by some that are no clients at all.</summary>
public class DnsListenerTests
{
    private static readonly DnsZone Zone = new()
    {
        Name = "shop.br.test", Serial = 1, NameServers = ["ns.shop.br.test"],
        Records = new Dictionary<string, DnsRecord>
        {
            ["shop.br.test"] = DnsRecord.Of("shop.br.test", TimeSpan.FromSeconds(5), ["192.0.2.1", "192.0.2.2"]),
            ["many.shop.br.test"] = DnsRecord.Of("many.shop.br.test", TimeSpan.FromSeconds(5), Enumerable.Range(0, 200).Select(i => $"192.0.2.{i}")),
        },
        Targets = new Dictionary<string, DnsTarget> { ["192.0.2.1"] = new(new GeoPoint(38.9, -77.4), 1), ["192.0.2.2"] = new(new GeoPoint(50.1, 8.7), 1) },
        Choice = DnsChoice.Nearest,
    };

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory(Timeout = 30_000)]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Ask_ByARealClient_IsAnswered(bool tcp)
    {
        await using var listener = Start();
        using var client = new DnsClient([IPAddress.Loopback], [tcp ? new TcpClientTransport(listener.EndPoint.Port) : new UdpClientTransport(listener.EndPoint.Port)], true, 5000);
        var users = await client.ResolveAsync(DomainName.Parse("shop.br.test"), RecordType.A, RecordClass.INet, null, Cancel);
        Assert.True(users!.IsAuthoritiveAnswer);
        Assert.Equal(["192.0.2.1", "192.0.2.2"], users.AnswerRecords.OfType<ARecord>().Select(a => a.Address.ToString()).Order());
        Assert.Equal(ReturnCode.NxDomain, (await client.ResolveAsync(DomainName.Parse("no.shop.br.test"), RecordType.A, RecordClass.INet, null, Cancel))!.ReturnCode);
        Assert.Equal(ReturnCode.Refused, (await client.ResolveAsync(DomainName.Parse("example.org"), RecordType.A, RecordClass.INet, null, Cancel))!.ReturnCode);
        Assert.Equal(1u, Assert.Single((await client.ResolveAsync(DomainName.Parse("shop.br.test"), RecordType.Soa, RecordClass.INet, null, Cancel))!.AnswerRecords.OfType<SoaRecord>()).SerialNumber);
    }

    [Fact(Timeout = 30_000)]
    public async Task Ask_ClientSubnet_GetsTheNearestWithItsScope()
    {
        await using var listener = Start();
        using var client = new DnsClient([IPAddress.Loopback], [new UdpClientTransport(listener.EndPoint.Port)], true, 5000);
        var options = new DnsQueryOptions { IsEDnsEnabled = true, EDnsOptions = new OptRecord(1232, new ClientSubnetOption(24, IPAddress.Parse("81.169.145.0"))) };
        var answer = await client.ResolveAsync(DomainName.Parse("shop.br.test"), RecordType.A, RecordClass.INet, options, Cancel);
        Assert.Equal("192.0.2.2", Assert.Single(answer!.AnswerRecords.OfType<ARecord>()).Address.ToString());
        var subnet = Assert.Single(answer.EDnsOptions!.Options.OfType<ClientSubnetOption>());
        Assert.Equal((24, 24), (subnet.SourceNetmask, subnet.ScopeNetmask));
    }

    [Fact(Timeout = 30_000)]
    public async Task Ask_TooLongForUdp_ComesOverTcp()
    {
        await using var listener = Start();
        Assert.Equal(200, (await NameServer.AskAsync(listener.EndPoint, "many.shop.br.test")).Count);
    }

    [Fact(Timeout = 60_000)]
    public async Task Rubbish_OverUdpAndTcp_LeavesItAnswering()
    {
        await using var listener = Start();
        var random = new Random(7);
        using var udp = new UdpClient(AddressFamily.InterNetwork);
        for (var i = 0; i < 300; i++)
        {
            var rubbish = new byte[random.Next(0, 1200)];
            random.NextBytes(rubbish);
            await udp.SendAsync(rubbish, listener.EndPoint, Cancel);
        }
        for (var i = 0; i < 100; i++) // more connections than it keeps: the rest is closed, and none stays for ever
        {
            using var tcp = new TcpClient();
            await tcp.ConnectAsync(listener.EndPoint, Cancel);
            var rubbish = new byte[random.Next(0, 50)];
            random.NextBytes(rubbish);
            try { await tcp.GetStream().WriteAsync(rubbish, Cancel); }
            catch (IOException) { } // closed at once
        }
        await Eventually.TrueAsync(async () => (await NameServer.AskAsync(listener.EndPoint, "shop.br.test")).Count == 2, "it answers", Cancel);
        Assert.True(listener.Listens);
    }

    [Fact(Timeout = 30_000)]
    public async Task Tcp_SeveralQueriesInOneConnection_AreAnswered()
    {
        await using var listener = Start();
        using var tcp = new TcpClient();
        await tcp.ConnectAsync(listener.EndPoint, Cancel);
        byte[] query = [0, 30, 1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, .. "shop"u8, 2, .. "br"u8, 4, .. "test"u8, 0, 0, 1, 0, 1];
        for (var i = 0; i < 3; i++)
        {
            await tcp.GetStream().WriteAsync(query, Cancel);
            var length = new byte[2];
            await tcp.GetStream().ReadExactlyAsync(length, Cancel);
            var answer = new byte[BinaryPrimitives.ReadUInt16BigEndian(length)];
            await tcp.GetStream().ReadExactlyAsync(answer, Cancel);
            Assert.Equal(2, answer[7]); // two addresses
        }
    }

    [Fact]
    public void RateLimit_Flood_IsToldToUseTcpAndDropped()
    {
        var time = new FakeTimeProvider();
        var limit = new DnsRateLimit(time);
        var flood = IPAddress.Parse("192.0.2.1");
        Assert.All(Enumerable.Range(0, DnsRateLimit.Burst), _ => Assert.Equal(DnsPermit.Answer, limit.Take(flood)));
        Assert.Equal([DnsPermit.Drop, DnsPermit.AskOverTcp, DnsPermit.Drop], [limit.Take(flood), limit.Take(IPAddress.Parse("192.0.2.200")), limit.Take(flood)]); // the same network
        Assert.Equal(DnsPermit.Answer, limit.Take(IPAddress.Parse("198.51.100.1")));
        Assert.Equal(DnsPermit.Answer, limit.Take(IPAddress.Parse("2001:db8::1")));
        time.Advance(TimeSpan.FromSeconds(0.1));
        Assert.Equal(DnsRateLimit.PerSecond / 10, Enumerable.Range(0, 200).Count(_ => limit.Take(flood) == DnsPermit.Answer));
    }

    [Fact]
    public void RateLimit_ManyNetworks_ShareOneAllowancePastTheBound()
    {
        var time = new FakeTimeProvider();
        var limit = new DnsRateLimit(time);
        int Answered() => Enumerable.Range(0, 10_000).Count(i => limit.Take(new IPAddress([10, (byte)(i >> 8), (byte)i, 1])) == DnsPermit.Answer);
        Assert.Equal(4096 + DnsRateLimit.Burst, Answered());
        time.Advance(TimeSpan.FromSeconds(2)); // all have their allowance again: the old are forgotten
        Assert.Equal(DnsPermit.Answer, limit.Take(IPAddress.Parse("203.0.113.1")));
    }

    private static DnsListener Start() => DnsListener.Start(new(IPAddress.Loopback, 0), (query, from, tcp) =>
        DnsResponder.Answer(Zone, query.Span, from, tcp, address => address.ToString().StartsWith("81.", StringComparison.Ordinal) ? new GeoPoint(52.5, 13.4) : null, 0), TimeProvider.System, NullLogger.Instance);
}
