using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Hosting;
using BuildRunner.Client.Routing;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Runbooks;
using BuildRunner.Client.Regions;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Routing;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using BuildRunner.Tests.Recovery;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace BuildRunner.Tests.Routing;

/// <summary>The desk and the traffic control of one server process over a real store; a second process can start on the same file.</summary>
internal sealed class RoutingHouse : IAsyncDisposable
{
    public const string East = "us-east-1";
    public const string West = "us-west-1";

    private readonly TempFolder _folder = new();
    private LeaderLease _lead = null!;
    private RoutingDesk _desk = null!;

    private RoutingHouse() { }

    public HousePolicy Policy { get; } = new(new PolicyDocument
    {
        Databases = [new DatabaseDefinition { Name = "main" }],
        Regions = [Region(East, RegionRole.Primary, 1), Region(West, RegionRole.Standby, 2)],
        MultiRegion = new MultiRegionRules { DefaultRegion = East },
    });

    public SqliteStore Store { get; private set; } = null!;
    public NodeLinks Links { get; private set; } = null!;
    public NodeReports Reports { get; private set; } = null!;
    public TrafficControl Traffic { get; private set; } = null!;
    public RoutingLoop Loop { get; private set; } = null!;
    public RunRecords Runs { get; private set; } = null!;
    public RoutingDesk Desk => _desk;
    public Fence Fence => _lead.Current!.Value;

    public static async Task<RoutingHouse> StartAsync(CancellationToken cancel)
    {
        var house = new RoutingHouse();
        await house.BootAsync(cancel);
        var record = EpochTransitions.First("main", East, [East, West], DateTimeOffset.UnixEpoch);
        await house.Store.PutAsync("databases/main/epoch", JsonSerializer.SerializeToUtf8Bytes(record, WireJson.Default.EpochRecord), null, null, cancel);
        return house;
    }

    /// <summary>The process ends as a crash ends it (its lease stays), and another starts on the same file.</summary>
    public async Task RestartAsync(CancellationToken cancel)
    {
        Stop();
        await BootAsync(cancel);
    }

    public async Task RunAsync(string id, RunPhase state, CancellationToken cancel) => await Runs.PutAsync(new RunRecord
    {
        Id = id, Runbook = "failover", State = state, Actor = "tester", Reason = "test", Inputs = new Dictionary<string, string>(),
        StartedAt = DateTimeOffset.UnixEpoch, FinishedAt = state == RunPhase.Running ? null : DateTimeOffset.UnixEpoch, Over = "database/main",
    }, null, cancel);

    public void Report(string region, long table, params HoldReading[] holds) =>
        Reports.Take(region, new GatewayReport { Incarnation = "g", At = DateTimeOffset.UnixEpoch, TableVersion = table, Endpoint = $"http://{region}", Holds = holds });

    public ValueTask DisposeAsync()
    {
        Stop();
        _folder.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task BootAsync(CancellationToken cancel)
    {
        Store = SqliteStore.Open(_folder.File("state.db"), TimeProvider.System, NullLogger.Instance);
        Links = new NodeLinks(TimeProvider.System);
        Reports = new NodeReports(TimeProvider.System, NullLogger<NodeReports>.Instance);
        _lead = new LeaderLease(Store, ServerIdentity.Load(_folder.Path), TimeProvider.System, NullLogger<LeaderLease>.Instance);
        await _lead.RunOnceAsync(cancel);
        var records = new RoutingRecords(Store);
        Runs = new RunRecords(Store);
        _desk = new RoutingDesk(records, Policy, new HouseHealth(), new NoProbes(), Reports, Links, _lead, TimeProvider.System, NullLogger<RoutingDesk>.Instance);
        Traffic = new TrafficControl(_desk, records, Runs, Policy, Reports, Links, TimeProvider.System, NullLogger<TrafficControl>.Instance);
        Loop = new RoutingLoop(_desk, Traffic, _lead, Policy, new HouseHealth(), new NoProbes(), Reports, Store, TimeProvider.System, NullLogger<RoutingLoop>.Instance);
    }

    private void Stop()
    {
        Loop.Dispose();
        _desk.Dispose();
        _lead.Dispose();
        Store.Dispose();
    }

    private static RegionDefinition Region(string code, RegionRole role, int index) => new()
    {
        Code = code, Name = code, Role = role, Endpoint = $"http://127.0.{index}.1:8080", Location = new GeoPoint(0, 0), DatabaseHost = $"127.0.{index}.1",
    };

    private sealed class NoProbes : IProbePlan
    {
        public IReadOnlyList<ProbeTarget> Current => [];

        public IDisposable OnChange(Action changed) => new Nothing();
    }
}
