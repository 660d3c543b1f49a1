using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Client.Routing;
using BuildRunner.Core.Alerting;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;
using BuildRunner.Server.Alerting;
using BuildRunner.Server.Alerting.Channels;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Recovery;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Routing;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using BuildRunner.Tests.Recovery;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;

namespace BuildRunner.Tests.Runbooks;

/// <summary>
/// What the shipped runbooks act on in the survival kit: the rooms' own actions over drivers that record each outward effect (the regions' controls, what
/// channels are told). The moves of failover and switchover are recorded as such; their own actions pass the same cases over agents in FailoverTests, SurvivalTests and SwitchoverTests.
/// </summary>
internal sealed class ShippedWorld : IRegionHealth
{
    private readonly TempFolder _folder = new();
    private readonly SqliteStore _store;
    private readonly RegionRecords _records;
    private readonly OutboxLoop _outboxLoop;
    private readonly Lock _gate = new();
    private readonly List<string> _effects = [];
    private readonly SortedSet<string> _moves = new(StringComparer.Ordinal);
    private readonly HashSet<string> _told = new(StringComparer.Ordinal);
    private readonly bool _lost;

    public const string Primary = "us-east-1";
    public const string Region = "us-west-1";
    private static readonly string[] Codes = [Primary, Region];

    private ShippedWorld(bool lost)
    {
        _lost = lost;
        _store = SqliteStore.Open(_folder.File("world.db"), TimeProvider.System, NullLogger.Instance);
        _records = new RegionRecords(_store);
        var time = TimeProvider.System;
        var events = new EventLog(_store, time, NullLogger<EventLog>.Instance);
        var policy = new HousePolicy(new PolicyDocument
        {
            Regions = [.. Codes.Select(code => new RegionDefinition { Code = code, Name = code, Role = code == Primary ? RegionRole.Primary : RegionRole.Standby, Endpoint = "http://127.0.0.1:1", Location = default, DatabaseHost = "127.0.0.1" })],
        });
        var epochs = new Epochs(_store, events);
        epochs.CreateAsync(EpochTransitions.First("main", Primary, Codes, DateTimeOffset.UnixEpoch), null, CancellationToken.None).GetAwaiter().GetResult();
        Lead lead = () => new Fence("server", 1);
        var channels = new ChannelSet([new Recorder(this)], policy);
        var outbox = new Outbox(_store, time);
        _outboxLoop = new OutboxLoop(_store, outbox, channels, new IncidentBook(_store, events, time), events, lead, time, NullLogger<OutboxLoop>.Instance);
        var reports = new ZeroReports();
        Actions =
        [
            new Controls(new RegionControlAction(_records), this), new RegionSeenAction(this, time), new HealthVerifyAction(this), new RegionScopeAction(this, epochs, policy),
            new NotifyAction(outbox, _outboxLoop, channels, time), new WaitAction(time), new EtaAction(new RunbookLibrary(null, []), new RunRecords(_store)),
            new QuietestAction(new TrafficHoursLoop(_store, policy, reports, lead, time, NullLogger<TrafficHoursLoop>.Instance), time), new DrainedAction(policy, reports, time),
            .. MoveNames.Value.Select(name => new Move(name, this)),
        ];
    }

    public IReadOnlyList<IAction> Actions { get; }

    private static readonly string[] Moved = ["failover.", "switchover.", "dns.", "drill.", "fault.", "database."];

    /// <summary>What later steps take from a move.</summary>
    private static readonly Dictionary<string, IReadOnlyDictionary<string, string>> Outputs = new()
    {
        ["drill.begin"] = new Dictionary<string, string> { ["primary"] = Primary, ["epoch"] = "1", ["automatic"] = "false", ["state"] = "{}" },
    };

    /// <summary>Names of the actions that the room Recovery registers.</summary>
    private static Lazy<IReadOnlyList<string>> MoveNames { get; } = new(() =>
        [.. RunbookLibrary.ShippedNames.SelectMany(n => RunbookLibrary.Shipped(n).Steps).Select(s => s.Action).Where(a => Moved.Any(m => a.StartsWith(m, StringComparison.Ordinal))).Distinct()]);

    /// <param name="lost">The primary's region is down until a failover has let the traffic go.</param>
    public static SurvivalWorld Make(bool lost)
    {
        var world = new ShippedWorld(lost);
        return new(world.Actions, world.Effects, world.State, world.Close);
    }

    public IReadOnlyList<RegionVerdict> Current
    {
        get
        {
            var controls = Controls_;
            return [.. Codes.Select(code => new RegionVerdict { Code = code, Since = DateTimeOffset.UnixEpoch, Health = code == Primary && IsDown ? HealthState.Unhealthy : controls.GetValueOrDefault(code)?.Draining == true ? HealthState.Draining : HealthState.Healthy })];
        }
    }

    IReadOnlyDictionary<string, RegionControl> IRegionHealth.Controls => Controls_;

    public bool Settled => true;

    public IDisposable OnChange(Action changed) => new Nothing();

    private IReadOnlyDictionary<string, RegionControl> Controls_ => _records.ReadAsync(CancellationToken.None).GetAwaiter().GetResult().Controls;

    private bool IsDown
    {
        get
        {
            lock (_gate)
                return _lost && !_moves.Contains("failover.resume");
        }
    }

    private IReadOnlyList<string> Effects()
    {
        lock (_gate)
            return [.. _effects];
    }

    /// <summary>What was told cannot be taken back, and is an effect only.</summary>
    private string State()
    {
        var controls = string.Join(' ', Controls_.OrderBy(c => c.Key, StringComparer.Ordinal).Where(c => c.Value.Draining || c.Value.Weight != 100).Select(c => $"{c.Key}={(c.Value.Draining ? "drained" : $"{c.Value.Weight}%")}"));
        lock (_gate)
            return $"[{controls}] {string.Join(' ', _moves)}";
    }

    private void Note(string effect)
    {
        lock (_gate)
            _effects.Add(effect);
    }

    private void Close()
    {
        _outboxLoop.Dispose();
        _store.Dispose();
        _folder.Dispose();
    }

    /// <summary>The room's own action; a change of what is asked of a region is an effect.</summary>
    private sealed class Controls(RegionControlAction inner, ShippedWorld world) : IAction
    {
        public string Name => inner.Name;

        public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) => inner.CheckAsync(context, cancel);

        public Task<ActionVerdict> VerifyAsync(ActionContext context, CancellationToken cancel) => ((IAction)inner).VerifyAsync(context, cancel);

        public Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel) => WatchAsync(() => inner.ActAsync(context, cancel));

        public Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel) => WatchAsync(() => inner.UndoAsync(context, cancel));

        private async Task<ActionOutcome> WatchAsync(Func<Task<ActionOutcome>> act)
        {
            var before = world.State();
            var outcome = await act();
            if (world.State() is var after && after != before)
                world.Note($"{before} → {after}");
            return outcome;
        }
    }

    /// <summary>A move of the epoch, the traffic or a database: done once, looked at, taken back.</summary>
    private sealed class Move(string name, ShippedWorld world) : IAction
    {
        public string Name => name;

        public Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel) => Set(true);

        public Task<ActionVerdict> VerifyAsync(ActionContext context, CancellationToken cancel)
        {
            lock (world._gate)
                return Task.FromResult<ActionVerdict>(world._moves.Contains(name) ? new ActionVerdict.So(Found) : new ActionVerdict.NotSo($"{name} was not done"));
        }

        public Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel) => Set(false);

        private Task<ActionOutcome> Set(bool to)
        {
            lock (world._gate)
            {
                if (to ? world._moves.Add(name) : world._moves.Remove(name))
                    world._effects.Add($"{(to ? "+" : "-")}{name}");
            }
            return Task.FromResult<ActionOutcome>(new ActionOutcome.Done(Found));
        }

        private IReadOnlyDictionary<string, string> Found => Outputs.GetValueOrDefault(name) ?? new Dictionary<string, string>();
    }

    /// <summary>The channel `log`: a receiver that heeds the key, as they all do.</summary>
    private sealed class Recorder(ShippedWorld world) : INotificationDriver, INotificationChannel
    {
        public string Type => "log";

        public string Name => "log";

        public INotificationChannel Open(ChannelDefinition definition) => this;

        public Task<ChannelOutcome> SendAsync(Notification notification, CancellationToken cancel)
        {
            bool first;
            lock (world._gate)
                first = world._told.Add(notification.Key);
            if (first)
                world.Note($"told: {notification.Title}");
            return Task.FromResult<ChannelOutcome>(new ChannelOutcome.Sent());
        }
    }

    /// <summary>Gateways that report, and count nothing.</summary>
    private sealed class ZeroReports : INodeReports
    {
        public AgentReport? Agent(string region, TimeSpan? maxAge = null) => null;
        public GatewayReport? Gateway(string region, TimeSpan? maxAge = null) => new() { Incarnation = "test", At = DateTimeOffset.UnixEpoch, TableVersion = 1, Endpoint = "http://127.0.0.1:1" };
        public (AgentReport Report, TimeSpan Age)? LastAgent(string region) => null;
        public (GatewayReport Report, TimeSpan Age)? LastGateway(string region) => null;
        public IDisposable OnReport(Action<NodeName> reported) => new Nothing();
        public Task<bool> WaitAsync(Func<INodeReports, bool> condition, TimeSpan timeout, CancellationToken cancel) => Task.FromResult(true);
    }
}
