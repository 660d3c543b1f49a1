using System.Net;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Shop;

/// <summary>Shop on a primary and its standby, which is promoted under it.</summary>
public sealed class ShopFailoverTests
{
    [Fact(Timeout = 90_000)]
    public async Task Promotion_PrimaryKilled_ReadsGoOnAndWritesFollowTheFile()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var east = await PostgresServer.StartAsync();
        await east.ExecuteAsync("CREATE DATABASE app");
        await TestAddress.MarkAsync(east, "app", 1);
        await using var west = await east.StartStandbyAsync();
        using var address = new TestAddress();
        address.Write(TestAddress.At(east, west, 1, "app", region: "us-west-1", writeRegion: "us-east-1"));
        using var addressEast = new TestAddress();
        addressEast.Write(TestAddress.At(east, east, 1, "app"));
        await using var maker = await ShopHost.StartAsync("worker", addressEast);
        await using var shop = await ShopHost.StartAsync("api", address, region: "us-west-1"); // ready once the tables have come over
        var before = Guid.NewGuid();
        using var acknowledged = await shop.OrderAsync(before, epoch: 1);
        Assert.Equal(HttpStatusCode.Created, acknowledged.StatusCode);
        using (var fresh = await shop.Http.GetAsync($"/api/orders/{before}", cancel)) // on the copy or not, it is found
            Assert.Equal(HttpStatusCode.OK, fresh.StatusCode);
        await Eventually.TrueAsync(async () => await west.ScalarAsync<long>("SELECT count(*) FROM orders", "app") == 1, "the order is replicated", cancel);

        await east.KillAsync();
        address.Write(TestAddress.At(null, west, 1, "app", region: "us-west-1"));
        await Eventually.TrueAsync(async () => (await shop.OrderAsync(Guid.NewGuid(), epoch: 1)).StatusCode == HttpStatusCode.MisdirectedRequest, "writes are closed", cancel);
        using (var read = await shop.Http.GetAsync("/api/products?q=oak", cancel))
            Assert.Equal(HttpStatusCode.OK, read.StatusCode);

        await west.PromoteAsync();
        await TestAddress.MarkAsync(west, "app", 2);
        address.Write(TestAddress.At(west, west, 2, "app", region: "us-west-1"));
        var after = Guid.NewGuid();
        await Eventually.TrueAsync(async () => (await shop.OrderAsync(after, epoch: 2)).IsSuccessStatusCode, "writes go to the promoted standby", cancel);
        using var late = await shop.OrderAsync(Guid.NewGuid(), epoch: 1);

        Assert.Equal(HttpStatusCode.MisdirectedRequest, late.StatusCode);
        Assert.Equal("2", late.Headers.GetValues("BuildRunner-Epoch").Single());
        Assert.Equal(2L, await west.ScalarAsync<long>($"SELECT count(*) FROM orders WHERE id IN ('{before}', '{after}')", "app"));
    }

    [Fact(Timeout = 90_000)]
    public async Task Order_WaitForTheStandbyIsCancelled_Is504AndUnknown()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var server = await PostgresServer.StartAsync();
        await server.ExecuteAsync("CREATE DATABASE app");
        await TestAddress.MarkAsync(server, "app", 1);
        using var address = new TestAddress();
        address.Write(TestAddress.At(server, server, 1, "app"));
        await using var shop = await ShopHost.StartAsync("api", address);
        await server.ExecuteAsync("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
        await server.ExecuteAsync("SELECT pg_reload_conf()");
        await Eventually.TrueAsync(async () => await server.ScalarAsync<string>("SHOW synchronous_standby_names") == "nobody", "commits wait", cancel);
        var id = Guid.NewGuid();

        // The same id again must wait just the same: its row is there, and no standby holds it.
        for (var time = 0; time < 2; time++)
        {
            var ordering = shop.OrderAsync(id, epoch: 1);
            await Eventually.TrueAsync(async () => await server.ScalarAsync<long>("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == 1, "the commit waits", cancel);
            Assert.False(ordering.IsCompleted);
            await server.ExecuteAsync("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
            using var answer = await ordering;

            Assert.Equal(HttpStatusCode.GatewayTimeout, answer.StatusCode);
            Assert.Equal("unknown", answer.Headers.GetValues("BuildRunner-Outcome").Single());
        }
    }
}
