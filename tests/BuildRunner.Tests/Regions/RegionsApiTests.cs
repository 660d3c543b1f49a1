using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Regions;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Runbooks;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Regions;

public class RegionsApiTests
{
    private const int Limit = 60_000;
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = Limit)]
    public async Task Health_All_HasTheRecordedShape()
    {
        await using var house = await RegionsHouse.StartAsync(databases: true);
        house.Report("us-east-1", DatabaseState.Primary);
        house.Report("us-west-1", DatabaseState.Standby);
        house.Report("eu-west-1", DatabaseState.Standby);
        await house.SettleAsync(Cancel);

        var answer = await house.Regions.HealthAsync(all: true, null, Cancel);

        Assert.True(answer.AllHealthy);
        Assert.All(answer.Regions, r => Assert.True(r.Active && r.LatencyMs >= 0));
        using var json = JsonDocument.Parse(JsonSerializer.Serialize(answer, RegionsJson.Default.RegionsAnswer));
        Assert.Equal(Recordings.Read("regions-health.v1.txt"), string.Join('\n', Shape.Of(json.RootElement)));
    }

    [Fact(Timeout = Limit)]
    public async Task Health_RegionGoesDown_IsUnhealthyWithEvidenceAndAnEvent()
    {
        await using var house = await RegionsHouse.StartAsync();
        await house.SettleAsync(Cancel);
        var before = (await house.Regions.ShowAsync("eu-west-1", null, Cancel)).Region.Since;

        house.Gateways["eu-west-1"].Status = 500;
        await Eventually.TrueAsync(async () => (await house.Regions.HealthAsync(all: false, null, Cancel)).Regions is [{ Code: "eu-west-1", Health: HealthState.Unhealthy, Active: false }], "eu-west-1 unhealthy", Cancel);

        var region = (await house.Regions.ShowAsync("eu-west-1", null, Cancel)).Region;
        Assert.True(region.Since > before);
        Assert.Contains("server: gateway: down, answered 500, 200 expected", region.Evidence);
        await Eventually.TrueAsync(async () => (await house.Get<IEventLog>().ListAsync(10, Cancel)).Any(e => e.Kind == "region.health" && e.Summary.StartsWith("eu-west-1 is unhealthy (was healthy): gateway", StringComparison.Ordinal)), "an event", Cancel);
        var status = await house.Regions.StatusAsync(Cancel);
        Assert.Equal((HealthState.Degraded, "br regions show eu-west-1"), (status.Health, status.Next));
    }

    [Fact(Timeout = Limit)]
    public async Task Show_AgentFallsSilent_DatabaseUnknownAndNeverGreen()
    {
        await using var house = await RegionsHouse.StartAsync(databases: true);
        house.Report("us-east-1", DatabaseState.Primary);
        house.Report("eu-west-1", DatabaseState.Standby);

        await Eventually.TrueAsync(async () => (await house.Regions.ShowAsync("us-west-1", null, Cancel)).Region is { Health: HealthState.Degraded, Active: false, Replication: { State: "unknown", LagSeconds: null } }, "us-west-1 not green", Cancel);
    }

    [Fact(Timeout = Limit)]
    public async Task Show_AfterAFailover_RoleIsTheEpochs()
    {
        await using var house = await RegionsHouse.StartAsync();
        await house.Get<Server.Databases.Epochs>().CreateAsync(RegionsHouse.Epoch("us-west-1", 2), null, Cancel);

        var regions = (await house.Regions.ListAsync(null, Cancel)).Regions.ToDictionary(r => r.Code);

        Assert.Equal((RegionRole.Primary, RegionRole.Standby), (regions["us-west-1"].Role, regions["us-west-1"].PolicyRole));
        Assert.Equal((RegionRole.Standby, RegionRole.Primary), (regions["us-east-1"].Role, regions["us-east-1"].PolicyRole));
    }

    [Fact(Timeout = Limit)]
    public async Task Show_MisspeltRegion_SaysWhatWasMeant()
    {
        await using var house = await RegionsHouse.StartAsync();

        var error = await Assert.ThrowsAsync<ApiException>(() => house.Regions.ShowAsync("us-esat-1", null, Cancel));

        Assert.Equal(2, error.Problem.ExitCode);
        Assert.Contains("Did you mean us-east-1?", error.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<ApiException>(() => house.Regions.ListAsync("nowhere", Cancel));
    }

    [Fact(Timeout = Limit)]
    public async Task Latency_FromAGatewayThatIsAway_IsUnknown()
    {
        await using var house = await RegionsHouse.StartAsync();

        Assert.All((await house.Regions.ListAsync("us-east-1", Cancel)).Regions, r => Assert.Null(r.LatencyMs));
    }

    [Fact(Timeout = Limit)]
    public async Task Watch_RegionGoesDown_SaysSoWithinASecondOfTheVerdict()
    {
        await using var house = await RegionsHouse.StartAsync();
        await house.SettleAsync(Cancel);
        var broken = false;

        await foreach (var status in house.Regions.WatchAsync(Cancel))
        {
            if (!broken)
            {
                broken = true;
                house.Gateways["us-west-1"].Status = 503;
                continue;
            }
            if (status.Problems is [{ Region: "us-west-1", Health: HealthState.Unhealthy }])
                return;
        }
        Assert.Fail("The stream ended.");
    }

    [Fact(Timeout = Limit)]
    public async Task Drain_ThenUndrain_RunsAndIsSeen()
    {
        await using var house = await RegionsHouse.StartAsync();
        await house.SettleAsync(Cancel);
        var runs = new RunbooksClient(house.Api);

        var plan = (await runs.StartAsync(new RunRequest { Runbook = "drain-region", Inputs = Inputs("eu-west-1"), DryRun = true }, Cancel)).Plan!;
        Assert.True(plan.Ready);
        Assert.False((await house.Regions.ShowAsync("eu-west-1", null, Cancel)).Region.Draining);

        await RunAsync(runs, "drain-region", Inputs("eu-west-1"));
        Assert.Equal((true, HealthState.Draining), Of((await house.Regions.ShowAsync("eu-west-1", null, Cancel)).Region));
        await RunAsync(runs, "undrain-region", Inputs("eu-west-1"));
        Assert.Equal((false, HealthState.Healthy), Of((await house.Regions.ShowAsync("eu-west-1", null, Cancel)).Region));
        await RunAsync(runs, "weight-region", new() { ["region"] = "eu-west-1", ["weight"] = "20" });
        Assert.Equal(20, (await house.Regions.ShowAsync("eu-west-1", null, Cancel)).Region.Weight);

        static (bool, HealthState) Of(RegionItem region) => (region.Draining, region.Health);
    }

    /// <summary>As a runbook of the user's calls them.</summary>
    [Fact(Timeout = Limit)]
    public async Task TrafficActions_DrainAndShift_WithWhatStandsAgainstThem()
    {
        await using var house = await RegionsHouse.StartAsync();
        await house.SettleAsync(Cancel);
        var registry = house.Get<ActionRegistry>();
        var (drain, shift) = (registry.Find("traffic.drain")!, registry.Find("traffic.shift")!);

        Assert.Contains("no weight", Assert.Single((await shift.CheckAsync(With("eu-west-1"), Cancel)).Problems), StringComparison.Ordinal);
        Assert.Contains("'lots' is not a weight", Assert.Single((await shift.CheckAsync(With("eu-west-1", "lots"), Cancel)).Problems), StringComparison.Ordinal);
        Assert.Empty((await shift.CheckAsync(With("eu-west-1", "30"), Cancel)).Problems);
        Assert.IsType<ActionOutcome.Done>(await shift.ActAsync(With("eu-west-1", "30"), Cancel));
        await SeenAsync(r => r.Weight == 30);
        var done = Assert.IsType<ActionOutcome.Done>(await drain.ActAsync(With("eu-west-1"), Cancel));
        await SeenAsync(r => r.Draining);
        await drain.UndoAsync(With("eu-west-1") with { Outputs = done.Outputs.ToDictionary(o => $"control.{o.Key}", o => o.Value) }, Cancel);
        await SeenAsync(r => !r.Draining);

        house.Gateways["us-west-1"].Status = house.Gateways["eu-west-1"].Status = 500;
        await Eventually.TrueAsync(() => house.Get<IRegionHealth>().Current.Count(v => v.Health == HealthState.Unhealthy) >= 2, "two are unhealthy", Cancel);
        Assert.Contains("last region", Assert.IsType<ActionOutcome.Refused>(await drain.ActAsync(With("us-east-1"), Cancel)).Error, StringComparison.Ordinal);

        Task SeenAsync(Func<RegionItem, bool> seen) => Eventually.TrueAsync(async () => seen((await house.Regions.ShowAsync("eu-west-1", null, Cancel)).Region), "it is seen", Cancel);

        ActionContext With(string region, string? weight = null)
        {
            var arguments = new Dictionary<string, string> { ["region"] = region };
            if (weight is not null)
                arguments["weight"] = weight;
            return new ActionContext
            {
                Run = "run-1",
                Step = RunbookLibrary.Shipped("drain-region").Steps[0],
                Arguments = arguments,
                Inputs = arguments,
                Outputs = new Dictionary<string, string>(),
                Key = Guid.NewGuid().ToString(),
                Attempt = 1,
                Fence = house.Get<LeaderLease>().Current!.Value,
                Actor = "test",
                Reason = "test",
                RunStartedAt = DateTimeOffset.UtcNow,
            };
        }
    }

    [Fact(Timeout = Limit)]
    public async Task Drain_LastRegionThatCanServe_Refused()
    {
        await using var house = await RegionsHouse.StartAsync();
        await house.SettleAsync(Cancel);
        var runs = new RunbooksClient(house.Api);
        house.Gateways["us-west-1"].Status = 500;
        await Eventually.TrueAsync(() => house.Get<IRegionHealth>().Current[1].Health == HealthState.Unhealthy, "us-west-1 unhealthy", Cancel);
        await RunAsync(runs, "drain-region", Inputs("eu-west-1"));

        var error = await Assert.ThrowsAsync<ApiException>(() => runs.StartAsync(new RunRequest { Runbook = "drain-region", Inputs = Inputs("us-east-1"), Reason = "test" }, Cancel));

        Assert.Equal(4, error.Problem.ExitCode);
        Assert.Contains(error.Problem.Errors!, e => e.Contains("us-east-1 is the last region that can serve", StringComparison.Ordinal));
    }

    private static Dictionary<string, string> Inputs(string region) => new() { ["region"] = region };

    private static async Task RunAsync(RunbooksClient runs, string runbook, Dictionary<string, string> inputs)
    {
        var run = (await runs.StartAsync(new RunRequest { Runbook = runbook, Inputs = inputs, Reason = "test" }, Cancel)).Run!;
        await Eventually.TrueAsync(async () => (await runs.RunAsync(run.Id, Cancel)).Run.FinishedAt is not null, $"{runbook} to end", Cancel);
        Assert.Equal(RunPhase.Succeeded, (await runs.RunAsync(run.Id, Cancel)).Run.State);
    }
}

/// <summary>The shape of a JSON document: every path with the kinds of value seen there.</summary>
internal static class Shape
{
    public static IEnumerable<string> Of(JsonElement root)
    {
        var kinds = new SortedDictionary<string, SortedSet<string>>(StringComparer.Ordinal);
        Walk(root, "");
        return kinds.Select(k => $"{k.Key}: {string.Join('|', k.Value)}");

        void Walk(JsonElement element, string path)
        {
            if (path.Length > 0)
            {
                if (!kinds.TryGetValue(path, out var set))
                    kinds[path] = set = new SortedSet<string>(StringComparer.Ordinal);
                set.Add(element.ValueKind switch { JsonValueKind.True or JsonValueKind.False => "boolean", var kind => kind.ToString().ToLowerInvariant() });
            }
            if (element.ValueKind == JsonValueKind.Object)
            {
                foreach (var property in element.EnumerateObject())
                    Walk(property.Value, path.Length == 0 ? property.Name : $"{path}.{property.Name}");
            }
            else if (element.ValueKind == JsonValueKind.Array)
            {
                foreach (var item in element.EnumerateArray())
                    Walk(item, $"{path}[]");
            }
        }
    }
}
