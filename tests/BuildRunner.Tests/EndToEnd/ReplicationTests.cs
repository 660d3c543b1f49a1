using System.Diagnostics;
using System.Text.Json;
using BuildRunner.Dev;
using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>What the loss of a primary costs: nothing that was acknowledged where writes wait for a copy, and never more than is said where they do not.</summary>
[Collection(EndToEndGroup.Name)]
public sealed class ReplicationTests(ITestOutputHelper output)
{
    private const int AcknowledgedFirst = 100;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(90);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 400_000)]
    public async Task Synchronous_PrimarySilentlyPartitioned_TheCopyIsCutOffAndNoAcknowledgedOrderIsLost()
    {
        await using var sandbox = await StartAsync("auto_failover: true\n  lease_ttl: 5s", null, "--sync");
        await HeldAsync(sandbox, "us-west-1");
        Assert.Equal(0, Database(await StatusAsync(sandbox)).GetProperty("rpo_now_seconds").GetDouble());
        await using var writer = OrderWriter.Start(new() { Gateway = new Uri(sandbox.Gateway("us-west-1")), InFlightMax = 800 });
        await writer.AcknowledgedAsync(AcknowledgedFirst, Cancel, Limit);

        (await sandbox.BrAsync("dev", "partition", "us-east-1")).Fine();
        await Eventually.TrueAsync(async () => FailoverTests.Primary(await StatusAsync(sandbox)) == "us-west-1", "us-west-1 is the primary", Cancel, Limit);
        await writer.AcknowledgedAsync(AcknowledgedFirst, Cancel, Limit);
        var report = await writer.StopAsync();
        output.WriteLine($"{report}");

        JsonElement last = default;
        await Eventually.TrueAsync(async () => (last = Database(await StatusAsync(sandbox)).GetProperty("last_failover")).ValueKind == JsonValueKind.Object, "the failover has ended", Cancel, Limit);
        var run = last.GetProperty("run").GetString()!;
        JsonElement status = default;
        await Eventually.TrueAsync(async () =>
        {
            status = (await sandbox.BrAsync("runbook", "status", run, "--output", "json")).Json.GetProperty("run");
            return status.GetProperty("state").GetString() == "succeeded";
        }, "the run ends well", Cancel, Limit);
        var said = status.GetProperty("report");
        output.WriteLine($"{said.GetProperty("proof")} {said.GetProperty("held_by")}");
        Assert.Equal(("automatic failover", "cut", "1 of us-west-1"), (status.GetProperty("actor").GetString(), said.GetProperty("proof").GetProperty("kind").GetString(), said.GetProperty("held_by").GetString()));

        await FailoverTests.HealedAsync(sandbox);
        await FailoverTests.AccountAsync(sandbox, run, report, output);
        Assert.Empty((await CheckAsync(sandbox, report)).Missing);
        await HeldAsync(sandbox); // writes wait for a copy again
    }

    [Fact(Timeout = 400_000)]
    public async Task Asynchronous_CopiesFrozenBefore_IsRefusedUntilTheLossIsAccepted_AndThenCounted()
    {
        await using var sandbox = await StartAsync("auto_failover: false\n  loss_max: 1s");
        await using var writer = OrderWriter.Start(new() { Gateway = new Uri(sandbox.Gateway("us-west-1")), InFlightMax = 800 });
        await writer.AcknowledgedAsync(AcknowledgedFirst, Cancel, Limit);
        var (east, password) = (DevRegion.Find("us-east-1"), (await File.ReadAllTextAsync(Path.Combine(sandbox.Layout.Secrets, "app"), Cancel)).Trim());
        await DirectClient.MakeTablesAsync(sandbox.Layout, east, password, Cancel);
        await using var direct = new DirectClient(sandbox.Layout, east, password);

        int[] receivers = [await ReceiverAsync(sandbox, "127.0.2.1"), await ReceiverAsync(sandbox, "127.0.3.1")];
        foreach (var receiver in receivers)
            Signal(receiver, "STOP");
        var frozen = Stopwatch.StartNew();
        while (frozen.Elapsed < TimeSpan.FromSeconds(2))
            await writer.AcknowledgedAsync(AcknowledgedFirst / 10, Cancel, Limit);
        (await sandbox.BrAsync("dev", "kill", "us-east-1")).Fine();
        foreach (var receiver in receivers)
            Signal(receiver, "KILL"); // what lay in its socket is gone, as with the host in between

        // PostgreSQL starts its sessions anew when one of its processes is killed: until its agent has read it again, a failover is refused for that.
        Said refused = null!;
        await Eventually.TrueAsync(async () =>
        {
            refused = await sandbox.BrAsync("dr", "failover", "--target", "us-west-1", "--reason", "test");
            Assert.True(refused.Code == 4, $"{refused.Code}\n{refused.Out}\n{refused.Error}");
            return (refused.Out + refused.Error).Contains("loss_max", StringComparison.Ordinal);
        }, "the failover is refused for what it would lose", Cancel, Limit);
        JsonElement result = default;
        await Eventually.TrueAsync(async () =>
        {
            var said = await sandbox.BrAsync("dr", "failover", "--target", "us-west-1", "--reason", "test", "--accept-data-loss", "--output", "json");
            if (said.Code == 4)
                return false; // nothing was changed
            result = said.Fine().Json;
            return true;
        }, "the loss is accepted", Cancel, Limit);
        await writer.AcknowledgedAsync(AcknowledgedFirst, Cancel, Limit);
        var report = await writer.StopAsync();
        var told = (await direct.StopAsync()).Where(o => o.Outcome == OrderOutcomeKind.Ok).ToList();
        output.WriteLine($"{report}");

        await FailoverTests.HealedAsync(sandbox);
        var lost = await FailoverTests.AccountAsync(sandbox, result.GetProperty("run").GetProperty("id").GetString()!, report, output);
        Assert.NotEmpty((await CheckAsync(sandbox, report)).Missing);

        // Row by row: of what PostgreSQL itself acknowledged, the report names each transaction that is not there, and none that is.
        var held = await DirectAsync(sandbox);
        output.WriteLine($"written straight to PostgreSQL: {told.Count} acknowledged, {told.Count(o => !held.Contains(o.Id))} of them not there");
        Assert.Contains(told, o => !held.Contains(o.Id));
        Assert.All(told, o => Assert.Equal(held.Contains(o.Id), !lost.Contains(o.Transaction!.Value)));
    }

    /// <summary>A sandbox without a power driver where nobody is asked, with one where somebody is.</summary>
    /// <param name="recovery">Instead of `auto_failover: false` in the policy.</param>
    /// <param name="power">Instead of `power_driver: supervisor`; null: as it fits.</param>
    /// <param name="more">Options of `br dev`.</param>
    internal static async Task<Sandbox> StartAsync(string recovery, string? power = null, params string[] more)
    {
        var policy = Path.Combine(Directory.CreateTempSubdirectory("br-policy-").FullName, "policy.yml");
        var text = (await File.ReadAllTextAsync(Path.Combine(Repository.Root, "governance/policy.yml"), Cancel)).Replace("auto_failover: false", recovery, StringComparison.Ordinal);
        power ??= recovery.Contains("true", StringComparison.Ordinal) ? "power_driver: none" : null;
        if (power is not null)
            text = text.Replace("power_driver: supervisor", power, StringComparison.Ordinal);
        await File.WriteAllTextAsync(policy, text, Cancel);
        return await Sandbox.StartAsync(["--no-traffic", "--policy", policy, .. more]);
    }

    private static async Task<JsonElement> StatusAsync(Sandbox sandbox) => (await sandbox.BrAsync("dr", "status", "--output", "json")).Fine().Json;

    private static JsonElement Database(JsonElement status) => status.GetProperty("databases")[0];

    internal static Task HeldAsync(Sandbox sandbox, string? member = null) => Eventually.TrueAsync(
        async () => Database(await StatusAsync(sandbox)).GetProperty("replication") is var replication && replication.GetProperty("state").GetString() == "sync" && replication.GetProperty("required").GetInt32() == 1
            && (member is null || replication.GetProperty("members").EnumerateArray().Single().GetString() == member),
        "every acknowledged write is held by a copy", Cancel, Limit);

    private static async Task<OrderCheck> CheckAsync(Sandbox sandbox, OrderReport report)
    {
        await using var connection = await OpenAsync(sandbox, "127.0.2.1");
        return await report.CheckAsync(connection, Cancel);
    }

    private static async Task<HashSet<Guid>> DirectAsync(Sandbox sandbox)
    {
        await using var connection = await OpenAsync(sandbox, "127.0.2.1");
        await using var command = new NpgsqlCommand("select id from direct", connection);
        await using var rows = await command.ExecuteReaderAsync(Cancel);
        HashSet<Guid> held = [];
        while (await rows.ReadAsync(Cancel))
            held.Add(rows.GetGuid(0));
        return held;
    }

    internal static async Task<int> ReceiverAsync(Sandbox sandbox, string host)
    {
        await using var connection = await OpenAsync(sandbox, host);
        await using var command = new NpgsqlCommand("select pid from pg_stat_wal_receiver", connection);
        return Assert.IsType<int>(await command.ExecuteScalarAsync(Cancel));
    }

    private static async Task<NpgsqlConnection> OpenAsync(Sandbox sandbox, string host)
    {
        var password = (await File.ReadAllTextAsync(Path.Combine(sandbox.Layout.Secrets, "app"), Cancel)).Trim();
        var connection = new NpgsqlConnection($"Host={host};Port={sandbox.Layout.Database};Database=shop;Username=app;Password={password};Pooling=false");
        await connection.OpenAsync(Cancel);
        return connection;
    }

    private static void Signal(int pid, string signal) => Process.Start("kill", [$"-{signal}", $"{pid}"]).WaitForExit();
}
