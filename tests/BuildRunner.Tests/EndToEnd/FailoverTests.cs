using System.Diagnostics;
using System.Text.Json;
using BuildRunner.Dev;
using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>A primary region is lost while a client writes: traffic comes back, and every acknowledged order is there or counted as lost.</summary>
[Collection(EndToEndGroup.Name)]
public sealed class FailoverTests(ITestOutputHelper output)
{
    private const int AcknowledgedFirst = 100;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory(Timeout = 400_000)]
    [InlineData("us-west-1")]
    [InlineData("eu-west-1")]
    [InlineData("ap-south-1")]
    public async Task Failover_PrimaryKilledWhileAClientWrites_EveryAcknowledgedOrderIsThereOrCounted(string through)
    {
        await using var sandbox = await Sandbox.StartAsync("--no-traffic");
        await using var writer = new OrderWriter(() => new Uri(sandbox.Gateway(through)));
        await Eventually.TrueAsync(() => writer.Acknowledged.Count() >= AcknowledgedFirst, "orders are acknowledged", Cancel, TimeSpan.FromSeconds(30));

        (await sandbox.BrAsync("dev", "kill", "us-east-1")).Fine();
        var commanded = Stopwatch.GetTimestamp();
        var result = (await sandbox.BrAsync("dr", "failover", "--target", "us-west-1", "--reason", "test", "--output", "json")).Fine().Json;
        var back = await FirstAcknowledgedAfterAsync(writer, commanded);
        await Eventually.TrueAsync(() => writer.Acknowledged.Count(o => o.Sent > commanded) >= AcknowledgedFirst, "orders flow again", Cancel, TimeSpan.FromSeconds(30));
        await writer.StopAsync();
        output.WriteLine($"{through}: command to first acknowledged order {back.TotalSeconds:0.00} s, outage {writer.Outage.TotalMilliseconds:0} ms; {writer.Summary}");

        Assert.True(result.GetProperty("success").GetBoolean());
        Assert.True(result.GetProperty("rto_achieved").GetBoolean());
        Assert.True(back < TimeSpan.FromSeconds(10), $"{back.TotalSeconds:0.0} s from the command to the first acknowledged order");
        Close(writer.Outage, result.GetProperty("run").GetProperty("outage_ms").GetDouble());

        var run = result.GetProperty("run").GetProperty("id").GetString()!;
        await HealedAsync(sandbox);
        await AccountAsync(sandbox, run, writer);
    }

    [Fact(Timeout = 400_000)]
    public async Task Failover_PrimaryAlive_IsProvenStoppedAndLosesNothingUnnoticed()
    {
        await using var sandbox = await Sandbox.StartAsync("--no-traffic");
        await using var writer = new OrderWriter(() => new Uri(sandbox.Gateway("eu-west-1")));
        await Eventually.TrueAsync(() => writer.Acknowledged.Count() >= AcknowledgedFirst, "orders are acknowledged", Cancel, TimeSpan.FromSeconds(30));

        var commanded = Stopwatch.GetTimestamp();
        var result = (await sandbox.BrAsync("dr", "failover", "--target", "us-west-1", "--reason", "test", "--output", "json")).Fine().Json;
        await FirstAcknowledgedAfterAsync(writer, commanded);
        await Eventually.TrueAsync(() => writer.Acknowledged.Count(o => o.Sent > commanded) >= AcknowledgedFirst, "orders flow again", Cancel, TimeSpan.FromSeconds(30));
        await writer.StopAsync();
        output.WriteLine($"outage {writer.Outage.TotalMilliseconds:0} ms; {writer.Summary}");

        Assert.Equal("stopped", result.GetProperty("run").GetProperty("report").GetProperty("proof").GetProperty("kind").GetString());
        await HealedAsync(sandbox);
        await AccountAsync(sandbox, result.GetProperty("run").GetProperty("id").GetString()!, writer);
    }

    [Fact(Timeout = 300_000)]
    public async Task Failover_DryRun_ChangesNothingAndUnsafeTargetsAreRefused()
    {
        await using var sandbox = await Sandbox.StartAsync("--no-traffic");

        var plan = (await sandbox.BrAsync("dr", "failover", "--dry-run", "--target", "us-west-1", "--output", "json")).Fine().Json;
        Assert.True(plan.GetProperty("plan").GetProperty("ready").GetBoolean());
        Assert.True(plan.GetProperty("plan").GetProperty("steps").GetArrayLength() >= 6);

        var edge = await sandbox.BrAsync("dr", "failover", "--target", "ap-south-1", "--reason", "test");
        Assert.Equal(4, edge.Code);
        var unknown = await sandbox.BrAsync("dr", "failover", "--target", "us-weast-1", "--reason", "test");
        Assert.NotEqual(0, unknown.Code);
        var silent = await sandbox.BrAsync("dr", "failover", "--target", "us-west-1");
        Assert.Equal(2, silent.Code);
        Assert.Equal("us-east-1", Primary((await sandbox.BrAsync("dr", "status", "--output", "json")).Fine().Json));
    }

    internal static async Task<TimeSpan> FirstAcknowledgedAfterAsync(OrderWriter writer, long commanded)
    {
        await Eventually.TrueAsync(() => writer.Acknowledged.Any(o => o.Sent > commanded), "an order is acknowledged after the failover", Cancel, TimeSpan.FromSeconds(60));
        return Stopwatch.GetElapsedTime(commanded, writer.Acknowledged.Where(o => o.Answered > commanded).Min(o => o.Answered));
    }

    /// <summary>The old primary's region comes back as a standby that follows.</summary>
    internal static async Task HealedAsync(Sandbox sandbox)
    {
        (await sandbox.BrAsync("dev", "heal", "us-east-1")).Fine();
        await Eventually.TrueAsync(async () =>
        {
            var said = await sandbox.BrAsync("dr", "status", "--output", "json");
            if (said.Code != 0)
                return false;
            var database = said.Json.GetProperty("databases")[0];
            var old = database.GetProperty("regions").EnumerateArray().Single(r => r.GetProperty("code").GetString() == "us-east-1");
            return Primary(said.Json) == "us-west-1" && old.GetProperty("state").GetString() == "standby" && old.GetProperty("streaming").GetBoolean();
        }, "us-east-1 follows us-west-1", Cancel, TimeSpan.FromSeconds(60));
    }

    /// <summary>Every acknowledged order is in the new primary, but for at most the run's lost commits; every refused one is not.</summary>
    private async Task AccountAsync(Sandbox sandbox, string run, OrderWriter writer)
    {
        JsonElement lost = default;
        await Eventually.TrueAsync(async () =>
        {
            var said = await sandbox.BrAsync("runbook", "status", run, "--output", "json");
            return said.Code == 0 && said.Json.GetProperty("run").TryGetProperty("lost", out lost)
                && lost.ValueKind == JsonValueKind.Object && lost.GetProperty("commits").ValueKind == JsonValueKind.Number;
        }, "the loss is counted from the salvaged WAL", Cancel, TimeSpan.FromSeconds(60));

        var present = await OrdersAsync(sandbox);
        var missing = writer.Acknowledged.Count(o => !present.Contains(o.Id));
        var commits = lost.GetProperty("commits").GetInt64();
        output.WriteLine($"{present.Count} orders there, {missing} acknowledged ones missing, {commits} commits lost ({lost})");
        Assert.True(missing <= commits, $"{missing} acknowledged orders are missing, {commits} commits are reported lost");
        Assert.DoesNotContain(writer.Done, o => o.Outcome == OrderOutcome.Refused && present.Contains(o.Id));
    }

    internal static async Task<HashSet<Guid>> OrdersAsync(Sandbox sandbox)
    {
        var password = (await File.ReadAllTextAsync(Path.Combine(sandbox.Layout.Secrets, "app"), Cancel)).Trim();
        await using var connection = new NpgsqlConnection($"Host=127.0.2.1;Port={sandbox.Layout.Database};Database=shop;Username=app;Password={password}");
        await connection.OpenAsync(Cancel);
        await using var command = new NpgsqlCommand("SELECT id FROM orders", connection);
        await using var reader = await command.ExecuteReaderAsync(Cancel);
        var found = new HashSet<Guid>();
        while (await reader.ReadAsync(Cancel))
            Assert.True(found.Add(reader.GetGuid(0)), "an order is there once");
        return found;
    }

    internal static string? Primary(JsonElement status) => status.GetProperty("databases")[0].GetProperty("primary").GetString();

    /// <summary>Within 10 % or 200 ms.</summary>
    private static void Close(TimeSpan client, double reportedMs)
    {
        var off = Math.Abs(client.TotalMilliseconds - reportedMs);
        Assert.True(off <= Math.Max(200, client.TotalMilliseconds * 0.1), $"the client saw {client.TotalMilliseconds:0} ms without an acknowledgement, the report says {reportedMs:0} ms");
    }
}
