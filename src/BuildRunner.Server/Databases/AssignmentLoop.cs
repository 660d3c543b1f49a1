using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Core.Alerting;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Server.Events;
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
    private const string OvertakenKey = "server/overtaken";

    /// <summary>How long after a start of this server a primary waits for its permit while a candidate has not been heard.</summary>
    private static readonly TimeSpan StartListenMax = TimeSpan.FromSeconds(10);
    private (PolicyDocument? Document, string Text) _rendered = (null, "");

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
    private readonly Dictionary<string, (EpochRecord? Record, long Version)> _given = [];
    private readonly IDisposable[] _watches;
    private long _token;
    private readonly Standing _standing;
    private readonly IAlerts _alerts;
    private readonly HashSet<string> _heard = new(StringComparer.Ordinal);
    private long _count;
    private (long Epoch, long Token) _told;
    private bool _behind;
    private (long Epoch, long At)? _moved;

    public AssignmentLoop(IStore store, Epochs epochs, IPolicySource policy, INodeLinks links, INodeReports reports, LeaderLease lease, Leases leases, SyncDesk sync, Standing standing, IAlerts alerts, TimeProvider time, ILogger<AssignmentLoop> logger)
        : base(TimeSpan.FromMilliseconds(500), time, logger)
    {
        (_store, _epochs, _policy, _links, _reports, _lease, _leases, _sync, _standing, _alerts, _time, _logger) = (store, epochs, policy, links, reports, lease, leases, sync, standing, alerts, time, logger);
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
        Hear(policy, database.Name);
        var kept = await _epochs.GetAsync(database.Name, cancel);
        var record = kept ?? await BeginAsync(policy, database, fence, cancel);
        var behind = record is not null && (_told.Epoch > record.Epoch || _told.Token > fence.Token);
        if (behind != _behind)
            await TellAsync(behind, database.Name, cancel);
        if (behind && !_behind)
            LogBehind(_logger, _told.Epoch, _told.Token, database.Name, record!.Epoch, fence.Token);
        _standing.Judge(behind ? string.Create(CultureInfo.InvariantCulture, $"Hosts of {database.Name} have obeyed another server (epoch {_told.Epoch}, fencing token {_told.Token}) that this one knows nothing of (epoch {record!.Epoch}, token {fence.Token}): it only reads. After a failover without the server: `br server adopt FOLDER`, with the folder of its journal. If its store is an old copy, give it the newest one back.") : null);
        _behind = behind;
        if (kept is null || HeardAll(kept))
            _standing.Heard();
        if (_standing.Listening)
            return;
        // Whoever may have been made primary without this server is heard before a former one is started again.
        if (kept is not null && _standing.Age < StartListenMax && !HeardAll(kept))
            asks[kept.Primary] = null;
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
        var house = House(policy, record);
        var pause = IsPause(record);
        foreach (var region in policy.Regions)
        {
            if (pause && (record!.State != EpochState.Open || region.Code != record.Primary))
                continue;
            var assignment = AssignmentPlanner.Plan(policy, region.Code, database, record, initialised, asks[region.Code], fence.Token, behind, _peers, record is null ? null : _sync.NamesFor(record)) with { House = house };
            var text = JsonSerializer.Serialize(assignment, WireJson.Default.Assignment);
            if (_published.TryGetValue(region.Code, out var before) && before == text)
                continue;
            var version = (fence.Token * VersionsPerToken) + ++_count;
            _links.Publish(new(NodeKind.Agent, region.Code), version, JsonSerializer.SerializeToElement(assignment with { Version = version }, WireJson.Default.Assignment));
            _published[region.Code] = text;
            lock (_given)
                _given[region.Code] = (record, version);
            if (region.Code == record?.Primary)
                _sync.Published(region.Code, version);
            LogPublished(_logger, region.Code, version, assignment.Database?.Duty, assignment.Database?.Epoch);
        }
    }

    /// <summary>Version of the assignment of a region that was made from this record; null: none is yet.</summary>
    public long? PublishedAfter(EpochRecord record, string region)
    {
        lock (_given)
            return _given.TryGetValue(region, out var given) && given.Record is { } from && from.Epoch == record.Epoch && from.Candidates.SequenceEqual(record.Candidates) ? given.Version : null;
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

    /// <summary>What every host keeps for the day on which this server is gone; the text is made anew only for another policy.</summary>
    private HouseCopy House(PolicyDocument policy, EpochRecord? record)
    {
        if (!ReferenceEquals(policy, _rendered.Document))
            _rendered = (policy, PolicyBinder.Render(policy));
        return new HouseCopy { Policy = _rendered.Text, PolicyHash = _policy.Hash, Record = record, Peers = [.. _peers.Values.OrderBy(p => p.Region, StringComparer.Ordinal)] };
    }

    private Task TellAsync(bool behind, string database, CancellationToken cancel) => behind
        ? _alerts.RaiseAsync(OvertakenKey, AlertSeverity.Critical, "This server only reads: another one acted without it",
            $"Hosts of {database} have obeyed a higher epoch or fencing token than this server knows of, as after `br dr failover --without-server`. It moves nothing, sends no traffic elsewhere and writes no names until it has adopted the journal of that failover; databases and gateways go on as that left them.",
            "br server adopt FOLDER", cancel)
        : _alerts.ClearAsync(OvertakenKey, "The server has adopted what was done without it.", cancel);

    /// <summary>The highest that any host has ever said it obeyed, and who has been heard; an agent that falls silent takes nothing back.</summary>
    private void Hear(PolicyDocument policy, string database)
    {
        foreach (var region in policy.Regions)
        {
            if (_reports.LastAgent(region.Code) is not { Report: var report })
                continue;
            if (report.Database is { } reading && reading.Database == database)
                _told.Epoch = Math.Max(_told.Epoch, Math.Max(reading.SeenEpoch ?? 0, reading.MarkerEpoch ?? 0));
            _told.Token = Math.Max(_told.Token, report.FencingToken);
            _heard.Add(region.Code);
        }
    }

    /// <summary>Whoever is made primary without this server is one of the other candidates.</summary>
    private bool HeardAll(EpochRecord record) => record.Candidates.All(c => c == record.Primary || _heard.Contains(c));

    /// <summary>A new ask is answered at once: a primary waits for it. So is the news that another server has been obeyed.</summary>
    private void Reported(NodeName node)
    {
        if (node.Kind != NodeKind.Agent || _reports.Agent(node.Region) is not { } report)
            return;
        if (report.FencingToken > _token || _standing.Listening)
            Wake();
        var ask = report.StartAsk;
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

    [LoggerMessage(Level = LogLevel.Error, Message = "A host has obeyed epoch {Seen} and fencing token {Obeyed} of {Database}, and this server's store knows only epoch {Epoch} and token {Token}: another server acted without it, or its store is an old copy. It only reads until it has adopted that server's journal (br server adopt) or was given its store back.")]
    private static partial void LogBehind(ILogger logger, long seen, long obeyed, string database, long epoch, long token);

    [LoggerMessage(Level = LogLevel.Information, Message = "Assignment of {Region}, version {Version}: {Duty} of epoch {Epoch}.")]
    private static partial void LogPublished(ILogger logger, string region, long version, DatabaseDuty? duty, long? epoch);
}
