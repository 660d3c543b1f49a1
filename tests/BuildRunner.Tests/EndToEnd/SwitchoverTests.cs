using System.Collections.Concurrent;
using System.Text.Json;
using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>A primary that is well hands over while clients write and read through every gateway: nobody fails, and nothing is lost.</summary>
[Collection(EndToEndGroup.Name)]
public sealed class SwitchoverTests(ITestOutputHelper output)
{
    private static readonly string[] Gateways = ["us-east-1", "us-west-1", "eu-west-1", "ap-south-1"];
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 400_000)]
    public async Task Switchover_ThereAndBackWhileClientsWriteAndRead_NoRequestFailsAndNothingIsLost()
    {
        await using var sandbox = await Sandbox.StartAsync("--no-traffic");
        await using var near = OrderWriter.Start(new() { Gateway = new Uri(sandbox.Gateway("us-east-1")), InFlightMax = 800 });
        await using var far = OrderWriter.Start(new() { Gateway = new Uri(sandbox.Gateway("eu-west-1")), InFlightMax = 800 });
        await using var readers = new Readers(Gateways.Select(g => new Uri(new Uri(sandbox.Gateway(g)), "/api/products?page=1")));
        await near.AcknowledgedAsync(100, Cancel);
        await far.AcknowledgedAsync(100, Cancel);

        foreach (var (command, to, from) in new[] { ("switchover", "us-west-1", "us-east-1"), ("failback", "us-east-1", "us-west-1") })
        {
            var said = await sandbox.BrAsync("dr", command, "--target", to, "--reason", "test", "--output", "json");
            var result = said.Fine().Json;
            await near.AcknowledgedAsync(100, Cancel, Limit);
            await far.AcknowledgedAsync(100, Cancel, Limit);
            var run = result.GetProperty("run");
            output.WriteLine($"{command}: outage {run.GetProperty("outage_ms")} ms; {string.Join(", ", run.GetProperty("steps").EnumerateArray().Select(s => $"{s.GetProperty("id")} {s.GetProperty("duration_ms").GetDouble():0}"))}");
            Assert.True(result.GetProperty("success").GetBoolean());
            Assert.All(run.GetProperty("steps").EnumerateArray(), step => Assert.Equal("done", step.GetProperty("status").GetString()));
            Assert.Equal("stopped", run.GetProperty("report").GetProperty("proof").GetProperty("kind").GetString());
            var status = (await sandbox.BrAsync("dr", "status", "--output", "json")).Fine().Json;
            Assert.Equal(to, FailoverTests.Primary(status));
            var old = status.GetProperty("databases")[0].GetProperty("regions").EnumerateArray().Single(r => r.GetProperty("code").GetString() == from);
            Assert.Equal("standby", old.GetProperty("state").GetString());
            Assert.Equal(JsonValueKind.Number, run.GetProperty("outage_ms").ValueKind);
        }

        OrderReport[] reports = [await near.StopAsync(), await far.StopAsync()];
        var reads = await readers.StopAsync();
        output.WriteLine($"{string.Join("; ", reports.Select(r => r.ToString()))}; {reads.Sum(r => r.Value)} reads: {string.Join(", ", reads.OrderBy(r => r.Key).Select(r => $"{r.Value} x {r.Key}"))}");
        Assert.All(reports.SelectMany(r => r.Records), record => Assert.True(record.Outcome == OrderOutcomeKind.Ok, record.ToString()));
        Assert.Equal(["200"], reads.Keys);

        var password = (await File.ReadAllTextAsync(Path.Combine(sandbox.Layout.Secrets, "app"), Cancel)).Trim();
        await using var connection = new NpgsqlConnection($"Host=127.0.1.1;Port={sandbox.Layout.Database};Database=shop;Username=app;Password={password}");
        await connection.OpenAsync(Cancel);
        foreach (var report in reports)
        {
            var check = await report.CheckAsync(connection, Cancel);
            Assert.Empty(check.Missing);
            Assert.Empty(check.Doubled);
            Assert.Empty(report.LateAcknowledgements());
        }
    }

    [Fact(Timeout = 300_000)]
    public async Task Switchover_ALongTransactionIsOpen_IsRefusedByDryRunAndRunUnlessItIsCut()
    {
        await using var sandbox = await Sandbox.StartAsync("--no-traffic", "--wan", "off");
        var password = (await File.ReadAllTextAsync(Path.Combine(sandbox.Layout.Secrets, "app"), Cancel)).Trim();
        await using var connection = new NpgsqlConnection($"Host=127.0.1.1;Port={sandbox.Layout.Database};Database=shop;Username=app;Password={password};Application Name=nightly-report;Pooling=false");
        await connection.OpenAsync(Cancel);
        await using (var begin = new NpgsqlCommand("begin; select count(*) from orders", connection))
            await begin.ExecuteNonQueryAsync(Cancel);
        await Eventually.TrueAsync(async () => (await sandbox.BrAsync("dr", "switchover", "--dry-run", "--target", "us-west-1")).Code == 4, "the transaction is older than 300 ms", Cancel);

        var refused = await sandbox.BrAsync("dr", "switchover", "--target", "us-west-1", "--reason", "test");
        Assert.Equal(4, refused.Code);
        Assert.Contains("nightly-report", refused.Error + refused.Out, StringComparison.Ordinal);
        Assert.Equal("us-east-1", FailoverTests.Primary((await sandbox.BrAsync("dr", "status", "--output", "json")).Fine().Json));

        (await sandbox.BrAsync("dr", "switchover", "--target", "us-west-1", "--reason", "test", "--cut-long-transactions")).Fine();
        Assert.Equal("us-west-1", FailoverTests.Primary((await sandbox.BrAsync("dr", "status", "--output", "json")).Fine().Json));
    }

    /// <summary>A visitor at each gateway who reads without pause; counts what was answered.</summary>
    private sealed class Readers : IAsyncDisposable
    {
        private readonly HttpClient _http = new(new SocketsHttpHandler { UseProxy = false, UseCookies = false }) { Timeout = TimeSpan.FromSeconds(15) };
        private readonly CancellationTokenSource _stop = new();
        private readonly ConcurrentDictionary<string, int> _answers = new();
        private readonly Task _all;

        public Readers(IEnumerable<Uri> pages) => _all = Task.WhenAll(pages.Select(ReadAsync));

        public async Task<IReadOnlyDictionary<string, int>> StopAsync()
        {
            await _stop.CancelAsync();
            await _all;
            return _answers;
        }

        public async ValueTask DisposeAsync()
        {
            await StopAsync();
            _http.Dispose();
            _stop.Dispose();
        }

        private async Task ReadAsync(Uri page)
        {
            using var pace = new PeriodicTimer(TimeSpan.FromMilliseconds(15));
            while (!_stop.IsCancellationRequested)
            {
                string answer;
                try
                {
                    using var got = await _http.GetAsync(page);
                    answer = got.IsSuccessStatusCode ? $"{(int)got.StatusCode}" : $"{(int)got.StatusCode} {page.Host} {await got.Content.ReadAsStringAsync()}";
                }
                catch (HttpRequestException error) { answer = error.Message; }
                _answers.AddOrUpdate(answer, 1, (_, count) => count + 1);
                await pace.WaitForNextTickAsync(CancellationToken.None);
            }
        }
    }
}
