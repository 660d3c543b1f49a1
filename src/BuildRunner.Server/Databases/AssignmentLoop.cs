using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Databases;

/// <summary>Publishes each region's assignment when it has changed; opens the first epoch of a database.</summary>
internal sealed partial class AssignmentLoop : ReconcileLoop
{
    /// <summary>Versions of one leader: its fencing token in front makes them higher than those of every leader before.</summary>
    private const long VersionsPerToken = 1_000_000;

    /// <summary>
    /// A run orders by itself what its move needs. What follows from the move (whom to follow, who rejoins) is given so much later, at the latest by the
    /// next pass: writes of users wait meanwhile, and the work that begins then would be done in front of theirs.
    /// </summary>
    private static readonly TimeSpan MovedPause = TimeSpan.FromMilliseconds(250);

    private readonly IStore _store;
    private readonly Epochs _epochs;
    private readonly IPolicySource _policy;
    private readonly INodeLinks _links;
    private readonly INodeReports _reports;
    private readonly LeaderLease _lease;
    private readonly Leases _leases;
    private readonly SyncDesk _sync;
    private readonly Dictionary<string, PeerAddress> _peers = new(StringComparer.Ordinal);
    private readonly TimeProvider _time;
    private readonly ILogger<AssignmentLoop> _logger;
    private readonly Dictionary<string, string> _published = [];
    private readonly Dictionary<string, string?> _asks = [];
    private readonly IDisposable[] _watches;
    private long _token;
    private long _count;
    private bool _behind;
    private (long Epoch, long At)? _moved;

    public AssignmentLoop(IStore store, Epochs epochs, IPolicySource policy, INodeLinks links, INodeReports reports, LeaderLease lease, Leases leases, SyncDesk sync, TimeProvider time, ILogger<AssignmentLoop> logger)
        : base(TimeSpan.FromMilliseconds(500), time, logger)
    {
        (_store, _epochs, _policy, _links, _reports, _lease, _leases, _sync, _time, _logger) = (store, epochs, policy, links, reports, lease, leases, sync, time, logger);
        _watches = [store.Watch("databases/", _ => Wake()), policy.OnChange(Wake), reports.OnReport(Reported)];
    }

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        if (_lease.Current is not { } fence)
            return;
        if (fence.Token != _token)
        {
            (_token, _count) = (fence.Token, 0);
            _published.Clear();
            _sync.Begin();
        }
        var policy = _policy.Current;
        var database = policy.Databases is [var named, ..] ? named : new DatabaseDefinition { Name = "main" };

        // The asks are read before the record: what is confirmed was open after it was asked for.
        var asks = policy.Regions.ToDictionary(r => r.Code, r => _reports.Agent(r.Code)?.StartAsk);
        var told = policy.Regions.Select(r => _reports.Agent(r.Code)?.Database).Where(d => d?.Database == database.Name).Select(d => Math.Max(d?.SeenEpoch ?? 0, d?.MarkerEpoch ?? 0)).DefaultIfEmpty().Max();
        var record = await _epochs.GetAsync(database.Name, cancel) ?? await BeginAsync(policy, database, fence, cancel);
        var behind = record is not null && told > record.Epoch;
        if (behind && !_behind)
            LogBehind(_logger, told, database.Name, record!.Epoch);
        _behind = behind;
        // What an agent enforces is taken back here before it is told to lift it.
        if (record is not null && policy.Recovery.Lease() is null)
            await _leases.LiftAsync(database.Name, fence, cancel);
        if (record is not null && !behind)
            record = await _sync.PassAsync(policy, record, fence, cancel);
        foreach (var region in policy.Regions)
        {
            if (_reports.Agent(region.Code) is { PeerPort: > 0 } report)
                _peers[region.Code] = new PeerAddress(region.Code, report.Host, report.PeerPort);
        }
        var initialised = record is not null && await IsInitialisedAsync(policy, database, fence, cancel);
        var pause = IsPause(record);
        foreach (var region in policy.Regions)
        {
            if (pause && (record!.State != EpochState.Open || region.Code != record.Primary))
                continue;
            var assignment = AssignmentPlanner.Plan(policy, region.Code, database, record, initialised, asks[region.Code], fence.Token, behind, _peers, record is null ? null : _sync.NamesFor(record));
            var text = JsonSerializer.Serialize(assignment, WireJson.Default.Assignment);
            if (_published.TryGetValue(region.Code, out var before) && before == text)
                continue;
            var version = (fence.Token * VersionsPerToken) + ++_count;
            _links.Publish(new(NodeKind.Agent, region.Code), version, JsonSerializer.SerializeToElement(assignment with { Version = version }, WireJson.Default.Assignment));
            _published[region.Code] = text;
            if (region.Code == record?.Primary)
                _sync.Published(region.Code, version);
            LogPublished(_logger, region.Code, version, assignment.Database?.Duty, assignment.Database?.Epoch);
        }
    }

    public override void Dispose()
    {
        foreach (var watch in _watches)
            watch.Dispose();
        base.Dispose();
    }

    /// <summary>The epoch has just moved, as seen by this server.</summary>
    private bool IsPause(EpochRecord? record)
    {
        if (record is null)
            return false;
        if (_moved is not { } moved)
            _moved = (record.Epoch, 0);
        else if (moved.Epoch != record.Epoch)
            _moved = (record.Epoch, _time.GetTimestamp());
        return _moved is { At: not 0 } now && _time.GetElapsedTime(now.At) < MovedPause;
    }

    /// <summary>A new ask is answered at once: a primary waits for it.</summary>
    private void Reported(NodeName node)
    {
        if (node.Kind != NodeKind.Agent)
            return;
        var ask = _reports.Agent(node.Region)?.StartAsk;
        lock (_asks)
        {
            if (_asks.GetValueOrDefault(node.Region) == ask)
                return;
            _asks[node.Region] = ask;
        }
        Wake();
    }

    private async Task<EpochRecord?> BeginAsync(PolicyDocument policy, DatabaseDefinition database, Fence fence, CancellationToken cancel) =>
        AssignmentPlanner.First(policy, database, _time.GetUtcNow()) is { } first ? await _epochs.CreateAsync(first with { Lineage = Guid.NewGuid().ToString("N") }, fence, cancel) : null;

    /// <summary>Remembered for good once any agent has seen a marker: from then on nobody runs initdb for this database again.</summary>
    private async Task<bool> IsInitialisedAsync(PolicyDocument policy, DatabaseDefinition database, Fence fence, CancellationToken cancel)
    {
        var key = $"databases/{database.Name}/initialised";
        if (await _store.GetAsync(key, cancel) is not null)
            return true;
        if (!policy.Regions.Any(r => _reports.LastAgent(r.Code)?.Report.Database is { MarkerEpoch: >= 1 } reading && reading.Database == database.Name))
            return false;
        await _store.PutAsync(key, "true"u8.ToArray(), expected: null, fence, cancel);
        return true;
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "An agent has seen epoch {Seen} of {Database}, and this server's store knows only epoch {Epoch}: the store was lost or is an old copy. Nobody is started or made a primary until it is given back.")]
    private static partial void LogBehind(ILogger logger, long seen, string database, long epoch);

    [LoggerMessage(Level = LogLevel.Information, Message = "Assignment of {Region}, version {Version}: {Duty} of epoch {Epoch}.")]
    private static partial void LogPublished(ILogger logger, string region, long version, DatabaseDuty? duty, long? epoch);
}
