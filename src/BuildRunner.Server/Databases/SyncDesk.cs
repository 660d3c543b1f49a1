using BuildRunner.Client.Hosting;
using BuildRunner.Core.Alerting;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Databases;

/// <summary>
/// For whom a primary's commits wait, and what the epoch record claims of it, one step of <see cref="SyncPlanner"/> a pass. What was told is kept in
/// memory only: a new leader tells it anew under a higher version, and claims more only when the agent quotes that one.
/// </summary>
internal sealed partial class SyncDesk(Epochs epochs, INodeReports reports, IAlerts alerts, TimeProvider time, ILogger<SyncDesk> logger)
{
    /// <summary>A receiver that is started again is back sooner; writes wait for it meanwhile.</summary>
    private static readonly TimeSpan AwayMax = TimeSpan.FromSeconds(2);

    /// <summary>After a start and after a move the copies join one by one: that is no news.</summary>
    private static readonly TimeSpan DegradedMax = TimeSpan.FromSeconds(15);

    /// <summary>A copy further behind would keep commits waiting while it catches up.</summary>
    private const long BehindMaxBytes = 16L * 1024 * 1024;
    private readonly Dictionary<string, long> _awaySince = new(StringComparer.Ordinal);
    private (long Epoch, string Primary, string Names, long? Version)? _told;
    private string? _said;
    private long? _degradedSince;
    private bool _alerted;

    /// <summary>Another leadership: nothing was told by it.</summary>
    public void Begin() => _told = null;

    /// <summary>What the primary's agent is to put in force; null: what it has.</summary>
    public string? NamesFor(EpochRecord record) => _told is { } told && told.Epoch == record.Epoch && told.Primary == record.Primary ? told.Names : null;

    /// <summary>An assignment that carries what is told now went out.</summary>
    public void Published(string region, long version)
    {
        if (_told is { Version: null } told && told.Primary == region)
            _told = told with { Version = version };
    }

    /// <summary>One step; the record as it stands afterwards.</summary>
    public async Task<EpochRecord> PassAsync(PolicyDocument policy, EpochRecord record, Fence fence, CancellationToken cancel)
    {
        if (_told is { } before && (before.Epoch != record.Epoch || before.Primary != record.Primary))
            _told = null;
        if (record.State == EpochState.Open && reports.Agent(record.Primary)?.Database is { State: DatabaseState.Primary } primary && primary.Database == record.Database && primary.MarkerEpoch == record.Epoch)
            record = await StepAsync(policy, record, primary, fence, cancel);
        await TellAsync(policy, record, cancel);
        return record;
    }

    private async Task<EpochRecord> StepAsync(PolicyDocument policy, EpochRecord record, DatabaseReading primary, Fence fence, CancellationToken cancel)
    {
        var step = SyncPlanner.Decide(new SyncFacts
        {
            Wish = WishOf(policy),
            Lease = policy.Recovery.Lease() is not null,
            Record = record.Sync,
            Told = _told?.Names,
            Shown = primary.SyncNames,
            InForce = _told is { Version: { } version } told && primary.Sync is { } seen && seen.Names == told.Names && seen.Version >= version ? seen : null,
            Candidates = [.. policy.Regions.Where(r => r.Code != record.Primary && record.Candidates.Contains(r.Code)).Select(r => Candidate(r, record, primary))],
        }, time.GetUtcNow());
        if (_said != step.Reason)
            LogStep(logger, record.Database, step.GetType().Name, step.Reason);
        _said = step.Reason;
        switch (step)
        {
            case SyncStep.WriteSetting setting:
                _told = (record.Epoch, record.Primary, setting.Setting.Names, null);
                return record;
            case SyncStep.WriteRecord write:
                // Without the store nothing is written, and so nothing is told either: commits go on waiting.
                return await epochs.MoveAsync(record.Database, r => EpochTransitions.Claim(r, record, write.Record), fence, cancel) is EpochWrite.Done done ? done.Record : record;
            default:
                return record;
        }
    }

    private SyncCandidate Candidate(RegionDefinition region, EpochRecord record, DatabaseReading primary)
    {
        var fed = primary.Replicas.FirstOrDefault(r => r.Region == region.Code && r.State == "streaming");
        if (fed is not null)
            _awaySince.Remove(region.Code);
        else
            _awaySince.TryAdd(region.Code, time.GetTimestamp());
        var own = reports.Agent(region.Code)?.Database;
        return new SyncCandidate(
            region.Code, region.Role != RegionRole.Replica,
            Streams: fed is not null || time.GetElapsedTime(_awaySince[region.Code]) < AwayMax,
            Ready: fed is { Flushed: { } flushed } && primary.Flushed is { } written && written - flushed <= BehindMaxBytes
                && own is { State: DatabaseState.Standby, Streaming: true } && own.MarkerEpoch == record.Epoch,
            fed?.Flushed);
    }

    private static SyncWish WishOf(PolicyDocument policy) => policy.Recovery.Replication switch
    {
        ReplicationMode.Synchronous => SyncWish.One,
        ReplicationMode.Quorum => SyncWish.Quorum,
        _ => SyncWish.None,
    };

    /// <summary>Somebody is told when no copy holds every acknowledged commit though the policy wants it.</summary>
    private async Task TellAsync(PolicyDocument policy, EpochRecord record, CancellationToken cancel)
    {
        var key = $"replication/{record.Database}";
        if (WishOf(policy) == SyncWish.None || record.Sync is { Claims: true })
        {
            _degradedSince = null;
            if (_alerted)
                await alerts.ClearAsync(key, record.Sync is { } sync ? $"Every acknowledged commit of {record.Database} is held by {sync.Required} of {string.Join(", ", sync.Members)}." : "Replication is asynchronous by policy.", cancel);
            _alerted = false;
            return;
        }
        _degradedSince ??= time.GetTimestamp();
        if (_alerted || record.State != EpochState.Open || time.GetElapsedTime(_degradedSince.Value) < DegradedMax)
            return;
        _alerted = true;
        await alerts.RaiseAsync(key, AlertSeverity.Warning, $"Replication of {record.Database} is degraded",
            $"recovery.replication is {policy.Recovery.Replication.ToString().ToLowerInvariant()}, and no copy follows {record.Primary} closely enough to be waited for: writes are acknowledged by {record.Primary} alone, and its loss would lose the last of them. "
            + "Look at why no copy streams; as soon as one has caught up, writes wait for it again.",
            "br dr status", cancel);
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Replication of {Database}: {Step}: {Reason}.")]
    private static partial void LogStep(ILogger logger, string database, string step, string reason);
}
