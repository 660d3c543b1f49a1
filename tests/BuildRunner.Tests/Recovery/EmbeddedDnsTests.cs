using System.Net;
using System.Net.Sockets;
using ARSoft.Tools.Net;
using ARSoft.Tools.Net.Dns;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Recovery.Dns;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace BuildRunner.Tests.Recovery;

public class EmbeddedDnsTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory(Timeout = 30_000)]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Responder_OwnZone_AnswersAndForeignIsRefused(bool tcp)
    {
        var folder = Directory.CreateTempSubdirectory("br-dns-");
        try
        {
            using var store = SqliteStore.Open(Path.Combine(folder.FullName, "state.db"), TimeProvider.System, NullLogger.Instance);
            var port = FreePort();
            using var dns = new EmbeddedDns(new DnsRecords(store), new HousePolicy(new PolicyDocument { Dns = new DnsRules { Driver = "embedded", Name = "shop.br.test", Listen = $"127.0.0.1:{port}" } }), NullLogger<EmbeddedDns>.Instance);
            await dns.StartAsync(Cancel);
            await dns.SetAsync(new DnsRecordSet("shop.br.test", "A", ["127.0.2.1", "127.0.3.1"], TimeSpan.FromSeconds(5)), null, Cancel);
            await dns.SetAsync(new DnsRecordSet("primary.shop.br.test", "A", ["127.0.2.1"], TimeSpan.FromSeconds(5)), null, Cancel);

            using var client = new DnsClient([IPAddress.Loopback], [tcp ? new TcpClientTransport(port) : new UdpClientTransport(port)], true, 2000);
            var users = await client.ResolveAsync(DomainName.Parse("shop.br.test"), RecordType.A, RecordClass.INet, null, Cancel);
            Assert.True(users!.IsAuthoritiveAnswer);
            Assert.Equal(["127.0.2.1", "127.0.3.1"], users.AnswerRecords.OfType<ARecord>().Select(a => a.Address.ToString()).Order());
            Assert.Equal(5, users.AnswerRecords[0].TimeToLive);
            var primary = await client.ResolveAsync(DomainName.Parse("primary.shop.br.test"), RecordType.A, RecordClass.INet, null, Cancel);
            Assert.Equal("127.0.2.1", Assert.Single(primary!.AnswerRecords.OfType<ARecord>()).Address.ToString());
            var soa = await client.ResolveAsync(DomainName.Parse("shop.br.test"), RecordType.Soa, RecordClass.INet, null, Cancel);
            Assert.Single(soa!.AnswerRecords.OfType<SoaRecord>());
            var missing = await client.ResolveAsync(DomainName.Parse("no.shop.br.test"), RecordType.A, RecordClass.INet, null, Cancel);
            Assert.Equal(ReturnCode.NxDomain, missing!.ReturnCode);
            var foreign = await client.ResolveAsync(DomainName.Parse("example.org"), RecordType.A, RecordClass.INet, null, Cancel);
            Assert.Equal(ReturnCode.Refused, foreign!.ReturnCode);
            var back = Assert.Single(await dns.ReadBackAsync("primary.shop.br.test", "A", Cancel));
            Assert.Equal(["127.0.2.1"], back.Addresses!);
            await dns.StopAsync(Cancel);
        }
        finally { folder.Delete(recursive: true); }
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
