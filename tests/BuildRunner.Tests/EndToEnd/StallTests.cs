using BuildRunner.Dev;
using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>What stands still for a moment is not lost: at the default length of the lease nothing moves and nobody is stopped.</summary>
[Collection(EndToEndGroup.Name)]
public sealed class StallTests(ITestOutputHelper output)
{
    private const string SeedVariable = "BR_STALL_SEED";
    private const int Slots = 60;
    private static readonly TimeSpan Slot = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Stall = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private static readonly (string Name, string Break, string Heal)[] Stalls =
    [
        ("server", "/v1/server/freeze", "/v1/server/heal"),
        ("agent", "/v1/regions/us-east-1/freeze?part=Agent", "/v1/regions/us-east-1/heal"),
        ("guard", "/v1/regions/us-east-1/freeze?part=Guard", "/v1/regions/us-east-1/heal"),
        ("network", "/v1/regions/us-east-1/partition?silent=true", "/v1/regions/us-east-1/heal"),
    ];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>Ten minutes of stalls of 2 s every 10 s, in a third of the cases two of them one after the other.</summary>
    [Fact(Timeout = 900_000), Trait("Category", "long")]
    public async Task TenMinutesOfStalls_NothingFailsOverAndNobodyIsFenced()
    {
        var seed = int.TryParse(Environment.GetEnvironmentVariable(SeedVariable), CultureInfo.InvariantCulture, out var given) ? given : Random.Shared.Next();
        output.WriteLine($"{SeedVariable}={seed} runs it again");
        var random = new Random(seed);
        await using var sandbox = await AutoFailoverTests.StartAsync(TimeSpan.FromSeconds(10));
        await using var writer = OrderWriter.Start(new() { Gateway = new Uri(sandbox.Gateway("us-east-1")), Interval = TimeSpan.FromMilliseconds(50), InFlightMax = 800 });
        await writer.AcknowledgedAsync(100, Cancel);

        var counts = Stalls.ToDictionary(s => s.Name, _ => 0);
        using var pace = new PeriodicTimer(Slot);
        for (var slot = 0; slot < Slots; slot++)
        {
            for (var adjoining = random.Next(3) == 0 ? 2 : 1; adjoining > 0; adjoining--)
            {
                var stall = Stalls[random.Next(Stalls.Length)];
                counts[stall.Name]++;
                await SupervisorClient.PostAsync(sandbox.Layout, stall.Break, Cancel);
                await Task.Delay(Stall, Cancel);
                await SupervisorClient.PostAsync(sandbox.Layout, stall.Heal, Cancel);
            }
            await pace.WaitForNextTickAsync(Cancel);
        }
        await writer.AcknowledgedAsync(100, Cancel, Limit);
        var report = await writer.StopAsync();
        output.WriteLine($"{string.Join(", ", counts.Select(c => $"{c.Value} of {c.Key}"))}; {report}");

        var database = (await sandbox.BrAsync("dr", "status", "--output", "json")).Fine().Json.GetProperty("databases")[0];
        Assert.Equal(("us-east-1", 1L), (database.GetProperty("primary").GetString(), database.GetProperty("epoch").GetInt64()));
        foreach (var region in database.GetProperty("regions").EnumerateArray().Where(r => r.TryGetProperty("effects", out var e) && e.ValueKind == System.Text.Json.JsonValueKind.Object))
            Assert.Equal((0, 0), (region.GetProperty("effects").GetProperty("fences").GetInt32(), region.GetProperty("effects").GetProperty("promotions").GetInt32()));
        Assert.Empty((await sandbox.BrAsync("runbook", "status", "--output", "json")).Fine().Json.GetProperty("runs").EnumerateArray().Select(r => $"{r.GetProperty("id")}"));

        var password = (await File.ReadAllTextAsync(Path.Combine(sandbox.Layout.Secrets, "app"), Cancel)).Trim();
        await using var connection = new NpgsqlConnection(DirectClient.Connection(sandbox.Layout, DevRegion.Find("us-east-1"), password));
        await connection.OpenAsync(Cancel);
        var check = await report.CheckAsync(connection, Cancel);
        Assert.Equal((0, 0, 0), (check.Missing.Count, check.Doubled.Count, check.Executed.Count));
    }
}
