using System.Net;
using BuildRunner.Tests.Support;
using Shop;

namespace BuildRunner.Tests.Shop;

/// <summary>One primary with Shop's tables; what each service answers.</summary>
public sealed class ShopTests(ShopDatabase database) : IClassFixture<ShopDatabase>
{
    [Fact(Timeout = 60_000)]
    public async Task Products_SearchAndPages_AreFoundByIndex()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var shop = await ShopHost.StartAsync("api", database.Address);

        using var answer = await shop.Http.GetAsync("/api/products?q=oak%20lamp&page=2", cancel);
        var page = await ShopHost.JsonAsync(answer);

        Assert.Equal("us-east-1/api-1/v1", answer.Headers.GetValues("X-Served-By").Single());
        Assert.Equal((true, TimeSpan.FromHours(1)), (answer.Headers.CacheControl!.Public, answer.Headers.CacheControl.SharedMaxAge));
        Assert.Equal(20, page["products"]!.AsArray().Count);
        Assert.True(page["more"]!.GetValue<bool>());
        Assert.All(page["products"]!.AsArray(), p => Assert.StartsWith("Oak lamp", p!["name"]!.GetValue<string>(), StringComparison.Ordinal));
        Assert.NotEmpty((await shop.GetAsync("/api/products?q=oa"))["products"]!.AsArray());
        Assert.Empty((await shop.GetAsync("/api/products?q=100%25"))["products"]!.AsArray());
        Assert.Equal("Amber", (await shop.GetAsync("/api/products/2"))["name"]!.GetValue<string>().Split(' ')[0]);
        Assert.Equal(HttpStatusCode.NotFound, (await shop.Http.GetAsync("/api/products/100001", cancel)).StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, (await shop.Http.GetAsync("/api/products?page=0", cancel)).StatusCode);
        Assert.Equal(100_000, await database.Server.ScalarAsync<long>("SELECT count(DISTINCT name) FROM products", "app"));
        // Rare words: for common ones the planner may rightly read the first page by the key, depending on its statistics.
        Assert.Contains("products_words", string.Join('\n', await database.ExplainAsync("SELECT id FROM products WHERE name ILIKE '%walrus ivory%'")), StringComparison.Ordinal);
    }

    [Fact(Timeout = 60_000)]
    public async Task Orders_SameIdAgain_IsOneOrder()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var shop = await ShopHost.StartAsync("api", database.Address);
        var id = Guid.NewGuid();

        var answers = await Task.WhenAll(Enumerable.Range(0, 6).Select(_ => shop.OrderAsync(id)));
        using var later = await shop.OrderAsync(id);
        using var other = await shop.OrderAsync(id, quantity: 3);
        using var unknownProduct = await shop.OrderAsync(Guid.NewGuid(), product: 100_001);
        using var malformed = await shop.OrderAsync(Guid.NewGuid(), quantity: 0);

        Assert.Single(answers, answer => answer.StatusCode == HttpStatusCode.Created);
        Assert.Equal(5, answers.Count(answer => answer.StatusCode == HttpStatusCode.OK));
        Assert.Equal(HttpStatusCode.OK, later.StatusCode);
        Assert.Equal(HttpStatusCode.Conflict, other.StatusCode);
        Assert.Equal("application/problem+json", other.Content.Headers.ContentType?.MediaType);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, unknownProduct.StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, malformed.StatusCode);
        Assert.Equal(1, await database.Server.ScalarAsync<long>($"SELECT count(*) FROM orders WHERE id = '{id}'", "app"));
        Assert.Equal("1", later.Headers.GetValues("BuildRunner-Epoch").Single());
        Assert.Equal(2, (await shop.GetAsync($"/api/orders/{id}"))["quantity"]!.GetValue<int>());
        Assert.Equal(HttpStatusCode.NotFound, (await shop.Http.GetAsync($"/api/orders/{Guid.NewGuid()}", cancel)).StatusCode);
        Assert.Contains((await shop.GetAsync("/api/orders?since=0"))["orders"]!.AsArray(), line => line!["id"]!.GetValue<Guid>() == id);
    }

    [Fact(Timeout = 60_000)]
    public async Task Orders_OfAnotherEpoch_AreRefusedBeforeData()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var shop = await ShopHost.StartAsync("api", database.Address);
        var before = await database.Server.ScalarAsync<long>("SELECT count(*) FROM orders", "app");

        using var older = await shop.OrderAsync(Guid.NewGuid(), epoch: 0);
        using var newer = await shop.OrderAsync(Guid.NewGuid(), epoch: 2).WaitAsync(cancel);

        Assert.Equal(HttpStatusCode.MisdirectedRequest, older.StatusCode);
        Assert.Equal(HttpStatusCode.MisdirectedRequest, newer.StatusCode);
        Assert.Equal("1", older.Headers.GetValues("BuildRunner-Epoch").Single());
        Assert.Equal(before, await database.Server.ScalarAsync<long>("SELECT count(*) FROM orders", "app"));
    }

    [Fact(Timeout = 60_000)]
    public async Task Verify_WrittenAndRead_AndBounded()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var shop = await ShopHost.StartAsync("api", database.Address);

        using var first = await shop.Http.PostAsync("/br/verify", null, cancel);
        await database.Server.ExecuteAsync("INSERT INTO buildrunner_verify (id, epoch, at) SELECT gen_random_uuid(), 1, now() - n * interval '1 s' FROM generate_series(1, 3000) n", "app");
        using var written = await shop.Http.PostAsync("/br/verify", null, cancel);
        var id = (await ShopHost.JsonAsync(written))["id"]!.GetValue<string>();

        Assert.Equal(HttpStatusCode.Created, written.StatusCode);
        Assert.Equal(1, (await ShopHost.JsonAsync(first))["epoch"]!.GetValue<long>());
        Assert.Equal(1, (await shop.GetAsync($"/br/verify?id={id}"))["epoch"]!.GetValue<long>());
        Assert.Equal(HttpStatusCode.NotFound, (await shop.Http.GetAsync($"/br/verify?id={Guid.NewGuid()}", cancel)).StatusCode);
        Assert.Equal(1000, await database.Server.ScalarAsync<long>("SELECT count(*) FROM buildrunner_verify", "app"));
        Assert.Equal(HttpStatusCode.OK, (await shop.Http.GetAsync("/br/warm", cancel)).StatusCode);
    }

    [Fact(Timeout = 60_000)]
    public async Task Worker_OrdersPlaced_ArePacked()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var api = await ShopHost.StartAsync("api", database.Address);
        await using var elsewhere = await ShopHost.StartAsync("worker", database.Address, region: "us-west-1");
        await using var worker = await ShopHost.StartAsync("worker", database.Address);
        var ids = Enumerable.Range(0, 50).Select(_ => Guid.NewGuid()).ToArray();
        foreach (var id in ids)
            using (await api.OrderAsync(id)) { }

        await Eventually.TrueAsync(async () => (await worker.GetAsync("/metrics/queue"))["queue_depth"]!.GetValue<long>() == 0, "the queue is empty", cancel);

        Assert.Equal("packed", (await api.GetAsync($"/api/orders/{ids[0]}"))["status"]!.GetValue<string>());
        Assert.Equal(0L, await database.Server.ScalarAsync<long>("SELECT count(*) FROM orders WHERE status <> 'packed'", "app"));
    }

    [Fact(Timeout = 60_000)]
    public async Task Reports_Account_Web_AnswerWithTheirCachePolicy()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var reports = await ShopHost.StartAsync("reports", database.Address);
        await using var api = await ShopHost.StartAsync("api", database.Address);
        await using var web = await ShopHost.StartAsync("web", database.Address, version: "v2");

        using var sales = await reports.Http.GetAsync("/reports/sales", cancel);
        using var account = await api.Http.GetAsync("/account", cancel);
        using var page = await web.Http.GetAsync("/?q=<script>", cancel);
        var html = await page.Content.ReadAsStringAsync(cancel);
        var css = html.Split('"').First(part => part.StartsWith("/assets/shop.", StringComparison.Ordinal) && part.EndsWith(".css", StringComparison.Ordinal));
        using var asset = await web.Http.GetAsync(css, cancel);

        Assert.Equal(6, (await ShopHost.JsonAsync(sales))["categories"]!.AsArray().Count);
        Assert.True(account.Headers.CacheControl!.Private);
        Assert.DoesNotContain("<script>", html.Replace("<script src", "", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.Equal("us-east-1/web-1/v2", page.Headers.GetValues("X-Served-By").Single());
        Assert.Equal(TimeSpan.FromDays(365), asset.Headers.CacheControl!.MaxAge);
        Assert.Equal("text/css", asset.Content.Headers.ContentType!.MediaType);
        using var nothing = await web.Http.GetAsync("/nothing", cancel);
        Assert.Equal((HttpStatusCode.NotFound, "application/problem+json"), (nothing.StatusCode, nothing.Content.Headers.ContentType!.MediaType));
    }

    [Fact(Timeout = 60_000)]
    public async Task Version_Bad_FailsTwoPercent()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var shop = await ShopHost.StartAsync("api", database.Address, version: "bad");

        var failed = 0;
        for (var i = 0; i < 100; i++)
            using (var answer = await shop.Http.GetAsync("/api/products/1", cancel))
                failed += answer.IsSuccessStatusCode ? 0 : 1;

        Assert.Equal(2, failed);
    }

    [Fact(Timeout = 60_000)]
    public async Task Admission_MoreThanItHolds_IsToldToComeAgain()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var shop = await ShopHost.StartAsync("api", database.Address, workMs: "300");

        var answers = await Task.WhenAll(Enumerable.Range(0, 120).Select(_ => shop.Http.GetAsync("/api/products/1", cancel)));
        using var health = await shop.Http.GetAsync("/healthz", cancel);

        Assert.Equal(HttpStatusCode.OK, health.StatusCode);
        Assert.Contains(answers, answer => answer.IsSuccessStatusCode);
        var refused = answers.Where(answer => answer.StatusCode == HttpStatusCode.ServiceUnavailable).ToArray();
        Assert.True(refused.Length >= 120 - Admission.RunningMax - Admission.WaitingMax);
        Assert.All(refused, answer => Assert.NotNull(answer.Headers.RetryAfter));
    }

    [Fact(Timeout = 60_000)]
    public async Task Health_NoAddressFile_SaysWhy()
    {
        var cancel = TestContext.Current.CancellationToken;
        using var nowhere = new TestAddress();
        await using var shop = await ShopHost.StartAsync("api", nowhere, ready: false);

        using var health = await shop.Http.GetAsync("/healthz", cancel);
        using var read = await shop.Http.GetAsync("/api/products", cancel);
        using var write = await shop.OrderAsync(Guid.NewGuid());

        Assert.Equal(HttpStatusCode.ServiceUnavailable, health.StatusCode);
        Assert.Contains("address file", await health.Content.ReadAsStringAsync(cancel), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, read.StatusCode);
        Assert.Equal(HttpStatusCode.MisdirectedRequest, write.StatusCode);
    }
}

/// <summary>A primary whose database `app` has Shop's tables, and its address file at epoch 1.</summary>
public sealed class ShopDatabase : IAsyncLifetime
{
    public PostgresServer Server { get; private set; } = null!;
    public TestAddress Address { get; } = new();

    public async ValueTask InitializeAsync()
    {
        Server = await PostgresServer.StartAsync();
        await Server.ExecuteAsync("CREATE DATABASE app");
        await TestAddress.MarkAsync(Server, "app", 1);
        Address.Write(TestAddress.At(Server, Server, 1, "app"));
        await using var first = await ShopHost.StartAsync("api", Address);
    }

    public async Task<List<string>> ExplainAsync(string sql)
    {
        await using var connection = await Server.OpenAsync("app");
        await using var command = new Npgsql.NpgsqlCommand("EXPLAIN " + sql, connection);
        await using var reader = await command.ExecuteReaderAsync();
        var lines = new List<string>();
        while (await reader.ReadAsync())
            lines.Add(reader.GetString(0));
        return lines;
    }

    public async ValueTask DisposeAsync()
    {
        await Server.DisposeAsync();
        Address.Dispose();
    }
}
