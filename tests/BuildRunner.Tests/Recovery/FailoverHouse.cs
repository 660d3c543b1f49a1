using System.Collections.Concurrent;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Client.Routing;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Recovery.Dns;
using BuildRunner.Server.Recovery.Failover;
using BuildRunner.Server.Recovery.Switchover;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Routing;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace BuildRunner.Tests.Recovery;

/// <summary>A crash that a test can survive: the journal's line is written, and nothing after it happens.</summary>
internal sealed class ServerGone : Exception;

internal sealed class ThrowingCrash(long? after) : CrashPoint(after)
{
    protected override void Crash() => throw new ServerGone();
}

/// <summary>
/// The server's real store, lines, reports, engine and failover, with regions on the other end of the lines that keep to the wire contract
/// and remember what they did, as hosts do.
/// </summary>
internal sealed class FailoverHouse : IAsyncDisposable
{
    public const string East = "us-east-1";
    public const string West = "us-west-1";
    public const string Europe = "eu-west-1";
    public const string Asia = "ap-south-1";

    private readonly string _folder = Directory.CreateTempSubdirectory("br-failover-").FullName;
    private readonly CancellationTokenSource _end = new();
    private readonly List<Task> _loops = [];
    private readonly ConcurrentDictionary<string, CancellationTokenSource> _lines = new();
    private readonly SkippingTime _time = new();
    private readonly NodeReports _reports;

    public FailoverHouse(RecoveryRules? rules = null, PolicyMode mode = PolicyMode.Act, bool multiRegion = true)
    {
        Store = SqliteStore.Open(Path.Combine(_folder, "state.db"), _time, NullLogger.Instance);
        Events = new EventLog(Store, _time, NullLogger<EventLog>.Instance);
        Epochs = new Epochs(Store, Events);
        Links = new NodeLinks(_time);
        _reports = new NodeReports(_time, NullLogger<NodeReports>.Instance);
        Lags = new LagWatch(_reports, _time);
        Policy = new HousePolicy(new PolicyDocument
        {
            Mode = mode,
            MultiRegion = new MultiRegionRules { Enabled = multiRegion },
            Recovery = rules ?? new RecoveryRules(),
            Regions =
            [
                Region(East, RegionRole.Primary, 1), Region(West, RegionRole.Standby, 2), Region(Europe, RegionRole.Replica, 3),
                Region(Asia, RegionRole.Edge, 4) with { DatabaseHost = null },
            ],
            Databases = [new DatabaseDefinition { Name = "main" }],
            Services = [new ServiceDefinition { Name = "api", Database = "main", VerifyPath = "/br/verify", WarmPath = "/br/warm" }],
        });
        Traffic = new StoreTraffic(Store);
        foreach (var code in new[] { East, West, Europe })
            Agents[code] = new SimulatedAgent(this, code);
        foreach (var code in new[] { East, West, Europe, Asia })
            _loops.Add(Task.Run(() => GatewayAsync(code)));
        foreach (var agent in Agents.Values)
            _loops.Add(Task.Run(() => agent.RunAsync(_end.Token)));
        Fence = new Fence("server", 7);
        Boot(null);
    }

    public SqliteStore Store { get; }
    public EventLog Events { get; }
    public Epochs Epochs { get; }
    public NodeLinks Links { get; }
    public LagWatch Lags { get; }
    public HousePolicy Policy { get; }
    public StoreTraffic Traffic { get; }
    public Fence Fence { get; private set; }
    public RunnerLoop Runner { get; private set; } = null!;
    public RunDesk Desk { get; private set; } = null!;
    public RunRecords Records { get; private set; } = null!;
    public RunReportLoop Reports { get; private set; } = null!;
    public FailoverReader Reader { get; private set; } = null!;
    public DnsLoop Dns { get; private set; } = null!;
    public DnsWatchLoop Resolvers { get; private set; } = null!;
    public Leases Leases { get; private set; } = null!;
    public SimulatedPower Power { get; } = new();
    public ConcurrentDictionary<string, SimulatedAgent> Agents { get; } = new();
    public ConcurrentDictionary<string, bool> Down { get; } = new();

    /// <summary>What a gateway makes of a probe; null: what it does by itself. An answer of null is never given.</summary>
    public Func<string, ProbeOrder, ProbeResult?>? OnProbe { get; set; }

    /// <summary>A server process starts: everything it had in memory is new, the store and the regions are what they were.</summary>
    public void Boot(long? crashAfter, Func<IAction, IAction>? wrap = null)
    {
        Runner?.Dispose();
        Records = new RunRecords(Store);
        var reach = new NodeReach(Links, _reports, Policy, _time);
        var dns = new DnsLoop([], Policy, _reports, new HouseHealth(), Epochs, new DnsBook(Store), new NoAlerts(), Events, () => Fence, _time, NullLogger<DnsLoop>.Instance);
        Resolvers = new DnsWatchLoop(dns, Policy, _time, NullLogger<DnsWatchLoop>.Instance);
        Leases = new Leases(Store, Epochs, Policy, () => Fence, _time);
        IAction[] all =
        [
            new CloseAction(Epochs, Records, _time), new HoldAction(Traffic, reach), new FenceAction(Epochs, Links, _reports, reach, Power, new CutFence(Links, reach), new LeaseFence(Leases, Links, _time), Events, [], _time),
            new SelectAction(Epochs, Links, reach, _reports, Policy), new MoveAction(Epochs, _time), new PromoteAction(Epochs, Links), new OpenAction(Epochs, Traffic, _time),
            new UpdateDnsAction(dns, Resolvers, Policy, _time), new WarmAction(Links, reach, Policy), new VerifyAction(Links, _reports, reach, Policy, _time), new ResumeAction(Traffic),
            new SettleFollowersAction(Epochs, _reports, reach),
            new PrepareAction(Epochs, Links), new HoldWritesAction(Traffic, reach), new SealAction(Epochs, Links), new CatchUpAction(Epochs, Links),
            new SettleMoveAction(Epochs, Links, _reports, reach),
        ];
        var actions = new ActionRegistry(all.Select(wrap ?? (action => action)));
        var reader = new FailoverReader(Policy, Epochs, _reports, new HouseHealth(), Lags, reach, Power, Leases);
        Reports = new RunReportLoop(Records, _reports, Policy, Events, () => Fence, _time, NullLogger<RunReportLoop>.Instance);
        Reader = reader;
        Dns = dns;
        var told = new FailoverReports(_reports, Policy, _time);
        var catalog = new RunbookCatalog(new RunbookLibrary(null, []), [new FailoverSource(reader, Lags, told), new PlannedMove(reader, told), new Failback(reader, told)], actions);
        Runner = new RunnerLoop(Store, catalog, actions, Records, new RunNotes(_time), Events, Policy, () => Fence, new ThrowingCrash(crashAfter), _time, NullLogger<RunnerLoop>.Instance);
        Desk = new RunDesk(catalog, new RunChecks(catalog, actions, Records, Policy, _time), Runner, () => Fence);
    }

    public async Task OpenAsync(CancellationToken cancel)
    {
        await Epochs.CreateAsync(EpochTransitions.First("main", East, [East, West, Europe], _time.GetUtcNow()), null, cancel);
        Assert.True(await _reports.WaitAsync(r => Agents.Keys.All(c => r.Agent(c) is not null) && r.Gateway(Asia) is not null, TimeSpan.FromSeconds(5), cancel));
    }

    /// <summary>The region is gone: nothing of it answers, and its last reports are as old as they would be when a person notices.</summary>
    public async Task KillAsync(string region, CancellationToken cancel)
    {
        Down[region] = true;
        await Task.Delay(120, cancel); // what was on its way has arrived
        _time.Skip(NodeReports.AgeMax);
        await Support.Eventually.TrueAsync(() => _reports.Agent(region) is null && _reports.Gateway(region) is null, $"{region} is away", cancel);
        Assert.True(await _reports.WaitAsync(r => Agents.Keys.All(c => Down.ContainsKey(c) || r.Agent(c) is not null) && r.Gateway(Asia) is not null && r.Gateway(West) is not null && r.Gateway(Europe) is not null, TimeSpan.FromSeconds(5), cancel));
    }

    /// <summary>The primary's region is gone, whoever else is.</summary>
    public async Task KillEastAloneAsync(CancellationToken cancel)
    {
        Down[East] = true;
        await Support.Eventually.TrueAsync(() => Down.Keys.All(code => _reports.LastAgent(code) is { } last && last.Age > TimeSpan.FromMilliseconds(200)), "nothing of them reports any more", cancel);
        _time.Skip(NodeReports.AgeMax);
        await Support.Eventually.TrueAsync(() => _reports.Agent(West) is not null && _reports.Agent(East) is null, $"{East} is away", cancel);
    }

    /// <summary>The region's processes die this moment: their connections break, and their last reports are still fresh.</summary>
    public void Break(string region)
    {
        Down[region] = true;
        LineOf(region);
        _lines[region].Cancel();
        // Whatever a node is doing, the next poll waits meanwhile: it is that one's connection that breaks.
        foreach (var (kind, incarnation) in new[] { (NodeKind.Gateway, "g"), (NodeKind.Agent, "a") })
            _ = Links.PollAsync(new NodeName(kind, region), new NodePoll { Incarnation = incarnation, WaitMs = 50 }, LineOf(region));
    }

    /// <summary>The region is back, as a copy that was stopped.</summary>
    public async Task ReturnAsync(string region, CancellationToken cancel)
    {
        _lines[region] = new CancellationTokenSource();
        var from = _time.GetTimestamp();
        Down.TryRemove(region, out _);
        Assert.True(await _reports.WaitAsync(r => r.LastAgent(region) is { } last && last.Age < _time.GetElapsedTime(from), TimeSpan.FromSeconds(5), cancel));
    }

    internal CancellationToken LineOf(string region) => _lines.GetOrAdd(region, _ => new CancellationTokenSource()).Token;

    public async Task<string> DumpAsync(CancellationToken cancel)
    {
        var entries = (await Store.ListAsync("", cancel)).Select(e => $"{e.Key}@{e.Version}={Convert.ToHexString(e.Value.Span)}");
        var events = (await Store.ReadAsync("events", 0, 10_000, cancel)).Select(e => Convert.ToHexString(e.Value.Span));
        return string.Join('\n', entries.Concat(events));
    }

    /// <summary>Asks for a failover and lets it run until it ends or the server crashes.</summary>
    public Task<string?> RunAsync(CancellationToken cancel, params (string Name, string Value)[] inputs) => RunAsync("failover", cancel, inputs);

    public async Task<string?> RunAsync(string runbook, CancellationToken cancel, params (string Name, string Value)[] inputs)
    {
        try
        {
            var decision = await Desk.AskAsync(new RunRequest { Runbook = runbook, Reason = "test", Inputs = inputs.ToDictionary(i => i.Name, i => i.Value) }, "tester", false, cancel);
            if (decision is not RunDecision.Begun begun)
                return decision is RunDecision.Refused refused ? string.Join(" ", refused.Reasons) : decision.ToString();
            await Runner.WhenStoppedAsync(begun.Run.Id).WaitAsync(cancel);
        }
        catch (ServerGone) { }
        return null;
    }

    public async Task<RunRecord> TheRunAsync(CancellationToken cancel) => Assert.Single(await Records.ListAsync(cancel));

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        await Task.WhenAll(_loops).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        Runner.Dispose();
        Lags.Dispose();
        Store.Dispose();
        Directory.Delete(_folder, recursive: true);
        _end.Dispose();
        foreach (var line in _lines.Values)
            line.Dispose();
    }

    private async Task GatewayAsync(string code)
    {
        var node = new NodeName(NodeKind.Gateway, code);
        while (!_end.IsCancellationRequested)
        {
            if (Down.ContainsKey(code))
            {
                await Task.Delay(20);
                continue;
            }
            _reports.Take(code, new GatewayReport { Incarnation = "g", At = _time.GetUtcNow(), TableVersion = Traffic.Version, Endpoint = $"http://{code}", Writes = WritesNow() });
            foreach (var order in await PollAsync(node, "g"))
            {
                var probe = order.Arguments.Deserialize(WireJson.Default.ProbeOrder)!;
                if ((OnProbe ?? Probed)(code, probe) is { } answer)
                    Finish(node, order, answer, WireJson.Default.ProbeResult);
            }
        }
    }

    public ProbeResult Probed(string gateway, ProbeOrder probe) =>
        new(probe.Times, 0, 200, $"{West}/api-1/v1", null, probe.Method == "POST" ? $$"""{"epoch":{{Agents.Values.Max(a => a.PrimaryAt)}},"id":"x"}""" : "{}", 1);

    internal async Task<IReadOnlyList<Order>> PollAsync(NodeName node, string incarnation)
    {
        try { return (await Links.PollAsync(node, new NodePoll { Incarnation = incarnation, WaitMs = 50 }, LineOf(node.Region)))?.Orders ?? []; }
        catch (OperationCanceledException) { return []; } // the line broke
    }

    private List<WriteReading> WritesNow()
    {
        var epoch = Agents.Values.Max(a => a.PrimaryAt);
        return [new WriteReading { Database = "main", Epoch = epoch, First = _time.GetUtcNow(), Last = _time.GetUtcNow(), Count = 1, OutageMs = epoch > 1 ? 250 : null }];
    }

    internal void Finish<T>(NodeName node, Order order, T data, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type) =>
        Links.Finish(node, new OrderResult { Id = order.Id, Done = true, Data = JsonSerializer.SerializeToElement(data, type) });

    internal void Report(string code, AgentReport report) => _reports.Take(code, report);

    private static RegionDefinition Region(string code, RegionRole role, int index) => new()
    {
        Code = code, Name = code, Role = role, Endpoint = $"http://127.0.{index}.1:8080", Location = new GeoPoint(0, 0), DatabaseHost = $"127.0.{index}.1",
    };
}

/// <summary>A region's agent and PostgreSQL, as far as orders and reports go; refuses lower epochs and counts what took effect.</summary>
internal sealed class SimulatedAgent(FailoverHouse house, string code)
{
    private readonly Dictionary<string, OrderResult> _remembered = [];
    private DatabaseState _state = code == FailoverHouse.East ? DatabaseState.Primary : DatabaseState.Standby;
    private long _fenced;

    public DatabaseState State => _state;
    public long PrimaryAt { get; private set; } = code == FailoverHouse.East ? 1 : 0;
    public int Promotions { get; private set; }
    public int Fences { get; private set; }
    public int Restarts { get; private set; }
    public int Cuts { get; private set; }
    public bool RefusesToPromote { get; set; }
    /// <summary>Kinds of orders that fail here.</summary>
    public HashSet<string> Fails { get; } = [];
    public SalvageReading? Salvage { get; set; }

    /// <summary>It runs under another manager, which demotes it at this position instead of stopping it.</summary>
    public Lsn? DemotedAt { get; set; }

    /// <summary>What a copy comes to hold, and no more.</summary>
    public Lsn Reaches { get; set; } = new(1000);

    public async Task RunAsync(CancellationToken end)
    {
        var node = new NodeName(NodeKind.Agent, code);
        while (!end.IsCancellationRequested)
        {
            if (house.Down.ContainsKey(code))
            {
                await Task.Delay(20, CancellationToken.None);
                continue;
            }
            house.Report(code, new AgentReport { Incarnation = "a", At = DateTimeOffset.UtcNow, Host = "h", DatabasePort = 5433, Database = Reading() });
            foreach (var order in await house.PollAsync(node, "a"))
            {
                if (!_remembered.TryGetValue(order.Id, out var result))
                {
                    result = Carry(order);
                    if (result.Done)
                        _remembered[order.Id] = result;
                }
                house.Links.Finish(node, result);
            }
        }
    }

    private DatabaseReading Reading()
    {
        var primary = house.Agents.FirstOrDefault(a => a.Value._state == DatabaseState.Primary && !house.Down.ContainsKey(a.Key));
        if (Rejoins && _state == DatabaseState.Fenced && primary.Value?.PrimaryAt > _fenced)
            _state = DatabaseState.Standby;
        return new DatabaseReading
        {
            Database = "main", State = _state, AcceptsConnections = _state is DatabaseState.Primary or DatabaseState.Standby, Guarded = true, FencedEpoch = _fenced,
            MarkerEpoch = _state == DatabaseState.Primary ? PrimaryAt : Math.Max(1, primary.Value?.PrimaryAt ?? 1), Written = new Lsn(1000), Received = new Lsn(1000), Replayed = new Lsn(1000),
            Following = _state == DatabaseState.Standby ? primary.Key : null, Streaming = _state == DatabaseState.Standby && primary.Key is not null,
            Effects = new EffectCounts(Promotions, Fences), Salvage = Salvage,
        };
    }

    /// <summary>What this copy holds when it is cut.</summary>
    public Lsn Held { get; set; } = new(1000);
    public bool CatchUpFails { get; set; }
    public int CatchUps { get; private set; }

    /// <summary>Age of the oldest transaction here.</summary>
    public double? OldestMs { get; set; }
    public bool Sealed { get; private set; }

    /// <summary>A fenced primary becomes a standby of the next one by itself, as agents do.</summary>
    public bool Rejoins { get; set; }

    /// <summary>Promises the old primary nothing more, and how long its last promise runs.</summary>
    public bool Refused { get; private set; }
    public TimeSpan PromiseLeft { get; set; }

    /// <summary>Settings of a move are in force.</summary>
    public bool Prepared { get; private set; }
    public int Seals { get; private set; }

    private InspectResult Inspect() => new()
    {
        InRecovery = _state == DatabaseState.Standby,
        Transactions = OldestMs is { } age ? [new OpenTransaction(1, age, "app", "report", false, "select 1")] : [],
    };

    private OrderResult Carry(Order order)
    {
        if (order.Epoch < _fenced && order.Kind != DatabaseOrders.Fence)
            return new OrderResult { Id = order.Id, Done = false, Refused = true, Error = "older epoch" };
        switch (order.Kind)
        {
            case DatabaseOrders.Fence:
                var effect = _state != DatabaseState.Fenced;
                Fences += effect ? 1 : 0;
                Sealed = false;
                (_state, _fenced) = (DatabaseState.Fenced, Math.Max(_fenced, order.Epoch));
                return Done(order, new FenceResult(new FenceProof { Kind = DemotedAt is null ? FenceProofKind.Stopped : FenceProofKind.Demoted, Epoch = order.Epoch, Region = code, Evidence = "stopped", At = DateTimeOffset.UtcNow }, effect, DemotedAt ?? new Lsn(1000)), WireJson.Default.FenceResult);
            case DatabaseOrders.Inspect:
                return Done(order, Inspect(), WireJson.Default.InspectResult);
            case DatabaseOrders.Prepare:
                var found = Inspect();
                if (order.Arguments.Deserialize(WireJson.Default.SwitchOrder)!.CutOlderMs is not null)
                    OldestMs = null;
                Prepared = found.InRecovery;
                return Done(order, new PrepareResult(5, 0, Inspect()), WireJson.Default.PrepareResult);
            case DatabaseOrders.Seal:
                if (Fails.Contains(order.Kind))
                    return new OrderResult { Id = order.Id, Done = false, Error = "the disk is full" };
                Seals += Sealed ? 0 : 1;
                Sealed = true;
                return Done(order, new SealResult(new Lsn(1000), 1, true, 1), WireJson.Default.SealResult);
            case DatabaseOrders.Unseal:
                (Sealed, Prepared) = (false, false);
                return Done(order, new SealResult(default, 0, true, 1), WireJson.Default.SealResult);
            case DatabaseOrders.Reach:
                return Fails.Contains(order.Kind) || order.Arguments.Deserialize(WireJson.Default.ReachOrder)!.Until > Reaches
                    ? new OrderResult { Id = order.Id, Done = false, Error = "it has replayed only a part" }
                    : Done(order, new ReachResult(Reaches, 1), WireJson.Default.ReachResult);
            case DatabaseOrders.Refuse:
                if (Fails.Contains(order.Kind))
                    return new OrderResult { Id = order.Id, Done = false, Error = "the disk is full" };
                Refused = true;
                return Done(order, new RefuseResult(PromiseLeft, true), WireJson.Default.RefuseResult);
            case DatabaseOrders.Cut or DatabaseOrders.Uncut:
                if (Fails.Contains(order.Kind))
                    return new OrderResult { Id = order.Id, Done = false, Error = "the disk is full" };
                Cuts += order.Kind == DatabaseOrders.Cut ? 1 : -1;
                Refused &= order.Kind == DatabaseOrders.Cut;
                return Done(order, new CutResult(1, Held, Held, 1, true), WireJson.Default.CutResult);
            case DatabaseOrders.CatchUp:
                if (CatchUpFails)
                    return new OrderResult { Id = order.Id, Done = false, Error = "it cannot be reached" };
                Held = order.Arguments.Deserialize(WireJson.Default.CatchUpOrder)!.Until;
                CatchUps++;
                return Done(order, new CutResult(1, Held, Held, 1, true), WireJson.Default.CutResult);
            case DatabaseOrders.Promote:
                if (RefusesToPromote || (_state == DatabaseState.Fenced && PrimaryAt != order.Epoch))
                    return new OrderResult { Id = order.Id, Done = false, Error = RefusesToPromote ? "cannot" : $"{code} has no standby to promote." };
                var promoted = PrimaryAt != order.Epoch;
                Promotions += promoted ? 1 : 0;
                (_state, PrimaryAt) = (DatabaseState.Primary, order.Epoch);
                return Done(order, new PromoteResult(2, new Lsn(1000), promoted, 5), WireJson.Default.PromoteResult);
            case DatabaseOrders.Restart:
                Restarts++;
                (Sealed, Prepared) = (false, false);
                (_state, PrimaryAt) = (DatabaseState.Primary, order.Epoch);
                return Done(order, new PromoteResult(1, new Lsn(1000), true, 5), WireJson.Default.PromoteResult);
            default:
                return new OrderResult { Id = order.Id, Done = false, Error = $"unknown order {order.Kind}" };
        }
    }

    private static OrderResult Done<T>(Order order, T data, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type) =>
        new() { Id = order.Id, Done = true, Data = JsonSerializer.SerializeToElement(data, type) };
}

internal sealed class SimulatedPower : IPowerDriver
{
    public bool Ready { get; set; }
    public int Effects { get; private set; }

    /// <summary>How many processes were alive until the power went.</summary>
    public int? Killed { get; set; } = 0;

    public Task<PowerOff> OffAsync(string region, CancellationToken cancel)
    {
        var effect = Effects == 0;
        Effects = 1;
        return Task.FromResult(new PowerOff { Region = region, Off = true, Effect = effect, Killed = Killed, Evidence = "no process is left" });
    }
}

/// <summary>Holds as records in the store, and gateways that have every table at once.</summary>
internal sealed class StoreTraffic(IStore store) : ITrafficControl
{
    private long _version = 1;

    public long Version => Volatile.Read(ref _version);

    public async Task<TrafficOutcome> HoldAsync(string database, string holdId, Fence? fence, CancellationToken cancel)
    {
        await store.PutAsync($"holds/{database}", System.Text.Encoding.UTF8.GetBytes(holdId), null, null, cancel);
        return new TrafficOutcome.Done(Interlocked.Increment(ref _version), true);
    }

    public async Task<TrafficOutcome> ReleaseAsync(string database, string holdId, Fence? fence, CancellationToken cancel)
    {
        await store.DeleteAsync($"holds/{database}", null, null, cancel);
        return new TrafficOutcome.Done(Interlocked.Increment(ref _version), true);
    }

    public Task ReleaseEndedAsync(Fence fence, CancellationToken cancel) => Task.CompletedTask;

    public Task<long> PublishAsync(CancellationToken cancel) => Task.FromResult(Interlocked.Increment(ref _version));

    public Task<GatewayConfirmation> WaitHeldAsync(string database, string holdId, long version, InFlight waitFor, TimeSpan limit, CancellationToken cancel) =>
        Task.FromResult(new GatewayConfirmation(true, []));

    public Task<GatewayConfirmation> WaitTableAsync(long version, TimeSpan limit, CancellationToken cancel) => Task.FromResult(new GatewayConfirmation(true, []));
}

internal sealed class HousePolicy(PolicyDocument document) : IPolicySource
{
    public PolicyDocument Current { get; set; } = document;
    public string Hash => "test";
    public Freeze? Freeze => null;

    public IDisposable OnChange(Action changed) => new Nothing();
}

internal sealed class HouseHealth : IRegionHealth
{
    public IReadOnlyList<RegionVerdict> Current => [];
    public bool Settled => true;
    public IReadOnlyDictionary<string, RegionControl> Controls { get; } = new Dictionary<string, RegionControl>();

    public IDisposable OnChange(Action changed) => new Nothing();
}

/// <summary>The system's clock, that can jump ahead: reports grow old without waiting for it.</summary>
internal sealed class SkippingTime : TimeProvider
{
    private long _ahead;

    public void Skip(TimeSpan span) => Interlocked.Add(ref _ahead, (long)(span.TotalSeconds * TimestampFrequency));

    public override long GetTimestamp() => base.GetTimestamp() + Interlocked.Read(ref _ahead);
}

internal sealed class Nothing : IDisposable
{
    public void Dispose() { }
}
