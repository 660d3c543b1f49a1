using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using BuildRunner.Tests.Shop;

namespace BuildRunner.Tests.Support;

public sealed class OrderWriterTests(ShopDatabase database) : IClassFixture<ShopDatabase>
{
    [Fact(Timeout = 60_000)]
    public async Task Orders_WritesCloseForAWhile_OutageIsTheGapAndNoneIsMissing()
    {
        var cancel = TestContext.Current.CancellationToken;
        using var address = new TestAddress();
        var open = TestAddress.At(database.Server, database.Server, 1, "app");
        address.Write(open);
        await using var shop = await ShopHost.StartAsync("api", address);
        await using var writer = OrderWriter.Start(new() { Gateway = shop.Http.BaseAddress! });

        await writer.AcknowledgedAsync(20, cancel);
        address.Write(open with { Open = false });
        await Eventually.TrueAsync(() => writer.Records.Count(record => record.Status == 421) > 10, "writes are refused", cancel);
        address.Write(open);
        await writer.AcknowledgedAsync(20, cancel);
        var report = await writer.StopAsync();

        Assert.True(report.Outage > TimeSpan.FromMilliseconds(200), report.ToString());
        Assert.True(report.Failed > 10, report.ToString());
        Assert.Equal(0, report.Unknown);
        Assert.Empty(report.LateAcknowledgements());
        await using var connection = await database.Server.OpenAsync("app");
        Assert.Equivalent(new OrderCheck([], [], []), await report.CheckAsync(connection, cancel));
        Assert.Equivalent(new OrderCheck([], [], []), await report.CheckAsync(shop.Http, cancel));
    }

    [Fact]
    public void Check_LostDoubledAndExecuted_AreNamed()
    {
        var (kept, lost, doubled, failed) = (Guid.NewGuid(), Guid.NewGuid(), Guid.NewGuid(), Guid.NewGuid());
        OrderRecord Ok(Guid id, long invoked, long completed, long epoch) => new(id, invoked, completed, OrderOutcomeKind.Ok, 201, null, epoch, null);
        var report = new OrderReport(
            [Ok(kept, 0, 10, 2), Ok(lost, 20, 30, 1), Ok(doubled, 5, 12, 1), new(failed, 1, 2, OrderOutcomeKind.Fail, 503, null, null, null)], 0);

        var check = report.Check([kept, doubled, doubled, failed]);

        Assert.Equal([lost], check.Missing);
        Assert.Equal([doubled], check.Doubled);
        Assert.Equal([failed], check.Executed);
        Assert.Equal(lost, Assert.Single(report.LateAcknowledgements()).Id);
        Assert.Equal(Stopwatch.GetElapsedTime(12, 30), report.Outage);
    }

    [Fact(Timeout = 20_000)]
    public async Task DnsQuery_TwoAddresses_AreRead()
    {
        var cancel = TestContext.Current.CancellationToken;
        using var server = new UdpClient(new IPEndPoint(IPAddress.Loopback, 0));
        var answering = Task.Run(async () =>
        {
            var asked = await server.ReceiveAsync(cancel);
            byte[] record = [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 127, 0, 1, 1];
            byte[] answer = [.. asked.Buffer, .. record, .. record];
            (answer[2], answer[7], answer[^2]) = (0x85, 2, 2);
            await server.SendAsync(answer, asked.RemoteEndPoint, cancel);
        }, cancel);

        var addresses = await DnsQuery.AddressesAsync((IPEndPoint)server.Client.LocalEndPoint!, "shop.br.test", TimeSpan.FromSeconds(5));

        await answering;
        Assert.Equal(["127.0.1.1", "127.0.2.1"], addresses.Select(a => a.ToString()));
    }
}
