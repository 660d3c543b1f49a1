using System.Diagnostics;
using System.Text.Json;
using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>Nobody is awake: the region that takes writes is lost, and its lease alone says when another may take its place.</summary>
[Collection(EndToEndGroup.Name)]
public sealed class AutoFailoverTests(ITestOutputHelper output)
{
    private const int AcknowledgedFirst = 100;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(90);
    private static readonly TimeSpan Ttl = TimeSpan.FromSeconds(5);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory(Timeout = 400_000)]
    [InlineData("kill")]
    [InlineData("partition", Traits = ["Category", "long"])]
    public async Task PrimaryLost_NoPowerDriver_TheLeaseRunsOutAndEveryAcknowledgedOrderIsThereOrCounted(string how)
    {
        await using var sandbox = await StartAsync();
        await using var writer = OrderWriter.Start(new() { Gateway = new Uri(sandbox.Gateway("us-west-1")), InFlightMax = 800 });
        await writer.AcknowledgedAsync(AcknowledgedFirst, Cancel);
        await using var direct = await DirectWriter.StartAsync(sandbox, "127.0.1.1");

        (await sandbox.BrAsync("dev", how, "us-east-1")).Fine();
        await Eventually.TrueAsync(async () => FailoverTests.Primary((await sandbox.BrAsync("dr", "status", "--output", "json")).Fine().Json) == "us-west-1", "us-west-1 is the primary", Cancel, Limit);
        await writer.AcknowledgedAsync(AcknowledgedFirst, Cancel, Limit);
        var report = await writer.StopAsync();
        var lastDirect = await direct.EndedAsync();
        output.WriteLine($"{how}: {report}");

        JsonElement last = default;
        await Eventually.TrueAsync(async () =>
        {
            last = (await sandbox.BrAsync("dr", "status", "--output", "json")).Fine().Json.GetProperty("databases")[0].GetProperty("last_failover");
            return last.ValueKind == JsonValueKind.Object;
        }, "the run has ended", Cancel, Limit);
        var run = last.GetProperty("run").GetString()!;
        var status = (await sandbox.BrAsync("runbook", "status", run, "--output", "json")).Fine().Json.GetProperty("run");
        Assert.Equal("succeeded", status.GetProperty("state").GetString());
        Assert.Equal("expired", status.GetProperty("report").GetProperty("proof").GetProperty("kind").GetString());
        Assert.Equal("automatic failover", status.GetProperty("actor").GetString());
        if (how == "partition")
        {
            // A client beside the old primary, past every gateway: nothing that it was told is later than the first word of the new one.
            Assert.NotNull(lastDirect);
            Assert.True(lastDirect < report.FirstAtEpoch(2), "the old primary acknowledged after the new one had begun");
        }
        await FailoverTests.HealedAsync(sandbox);
        await FailoverTests.AccountAsync(sandbox, run, report, output);
    }

    /// <summary>The server is gone for longer than a lease: the candidates' promises carry the primary, and nobody is fenced.</summary>
    [Fact(Timeout = 300_000)]
    public async Task ServerLost_WritesGoOnPastTheLease()
    {
        await using var sandbox = await StartAsync();
        await using var writer = OrderWriter.Start(new() { Gateway = new Uri(sandbox.Gateway("us-west-1")), InFlightMax = 800 });
        await writer.AcknowledgedAsync(AcknowledgedFirst, Cancel);
        (await sandbox.BrAsync("dev", "stop", "server")).Fine();
        var gone = Stopwatch.StartNew();
        while (gone.Elapsed < Ttl * 2)
            await writer.AcknowledgedAsync(AcknowledgedFirst / 4, Cancel, Limit);
        (await sandbox.BrAsync("dev", "restart", "server")).Fine();
        await Eventually.TrueAsync(async () => (await sandbox.BrAsync("dr", "status", "--output", "json")).Code == 0, "the server is back", Cancel, Limit);
        await writer.AcknowledgedAsync(AcknowledgedFirst, Cancel, Limit);
        var report = await writer.StopAsync();
        output.WriteLine($"{report}");
        Assert.True(report.Outage < Ttl, $"writes stood still for {report.Outage}");
        var database = (await sandbox.BrAsync("dr", "status", "--output", "json")).Fine().Json.GetProperty("databases")[0];
        Assert.Equal(("us-east-1", 1L), (database.GetProperty("primary").GetString(), database.GetProperty("epoch").GetInt64()));
        Assert.Equal(0, database.GetProperty("regions").EnumerateArray().Single(r => r.GetProperty("code").GetString() == "us-east-1").GetProperty("effects").GetProperty("fences").GetInt32());
    }

    /// <summary>A sandbox whose policy fails over by itself and has no power driver.</summary>
    /// <param name="ttl">Length of the lease; null: <see cref="Ttl"/>.</param>
    /// <param name="prepare">Gets the policy's text and its folder before the start, and answers the text to use.</param>
    /// <param name="program">Instead of the built one.</param>
    internal static async Task<Sandbox> StartAsync(TimeSpan? ttl = null, Func<string, string, string>? prepare = null, string? program = null)
    {
        var policy = Path.Combine(Directory.CreateTempSubdirectory("br-policy-").FullName, "policy.yml");
        var text = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "governance/policy.yml"), Cancel);
        text = prepare?.Invoke(text, Path.GetDirectoryName(policy)!) ?? text;
        await File.WriteAllTextAsync(policy, text.Replace("auto_failover: false", $"auto_failover: true\n  lease_ttl: {(ttl ?? Ttl).TotalSeconds:0}s", StringComparison.Ordinal).Replace("power_driver: supervisor", "power_driver: none", StringComparison.Ordinal), Cancel);
        var sandbox = await Sandbox.StartWithAsync(program, "--no-traffic", "--policy", policy);
        await Eventually.TrueAsync(async () =>
        {
            var lease = (await sandbox.BrAsync("dr", "status", "--output", "json")).Fine().Json.GetProperty("databases")[0].GetProperty("lease");
            return lease.ValueKind == JsonValueKind.Object && lease.GetProperty("enforced").GetBoolean();
        }, "the lease is enforced", Cancel, Limit);
        return sandbox;
    }

    /// <summary>Writes to one PostgreSQL itself, past gateways and applications, for as long as that answers.</summary>
    private sealed class DirectWriter : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly string _connection;
        private Task _loop = Task.CompletedTask;
        private long _last;

        private DirectWriter(string connection) => _connection = connection;

        public static async Task<DirectWriter> StartAsync(Sandbox sandbox, string host)
        {
            var password = (await File.ReadAllTextAsync(Path.Combine(sandbox.Layout.Secrets, "app"), Cancel)).Trim();
            var writer = new DirectWriter($"Host={host};Port={sandbox.Layout.Database};Database=shop;Username=app;Password={password};Pooling=false;Timeout=5;Cancellation Timeout=-1");
            await using (var connection = new NpgsqlConnection(writer._connection))
            {
                await connection.OpenAsync(Cancel);
                await using var make = new NpgsqlCommand("create table direct (id uuid primary key)", connection);
                await make.ExecuteNonQueryAsync(Cancel);
            }
            writer._loop = Task.Run(writer.WriteAsync);
            return writer;
        }

        /// <summary>When the last write was acknowledged, of the clock that <see cref="Stopwatch"/> reads; waits until PostgreSQL answers no more.</summary>
        public async Task<long?> EndedAsync()
        {
            await _loop.WaitAsync(Limit, Cancel);
            return _last == 0 ? null : _last;
        }

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await _loop;
            _stop.Dispose();
        }

        private async Task WriteAsync()
        {
            try
            {
                await using var connection = new NpgsqlConnection(_connection);
                await connection.OpenAsync(_stop.Token);
                while (!_stop.IsCancellationRequested)
                {
                    await using var write = new NpgsqlCommand("insert into direct values (gen_random_uuid())", connection);
                    await write.ExecuteNonQueryAsync(CancellationToken.None);
                    _last = Stopwatch.GetTimestamp();
                    await Task.Delay(10, _stop.Token);
                }
            }
            catch (Exception error) when (error is NpgsqlException or OperationCanceledException or IOException) { } // it answers no more
        }
    }
}
