using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;

namespace BuildRunner.Server.Databases;

/// <summary>What a region's agent is to do, from the policy, the epoch record and what the agent asks.</summary>
internal static class AssignmentPlanner
{
    /// <summary>The assignment without its version. A server that is behind (an agent has seen a higher epoch than its store) lets everybody keep what they have.</summary>
    public static Assignment Plan(PolicyDocument policy, string region, DatabaseDefinition database, EpochRecord? record, bool initialised, string? startAsk, long fencingToken, bool behind = false, IReadOnlyDictionary<string, PeerAddress>? peers = null, string? sync = null)
    {
        var definition = policy.Regions.First(r => r.Code == region);
        return new Assignment
        {
            Version = 0,
            Region = region,
            FencingToken = fencingToken,
            Database = definition.DatabaseHost is null || record is null ? null : Database(policy, region, database, record, initialised, startAsk, behind, peers, sync),
            Services = [.. policy.Services.Where(s => s.Command.Count > 0 && RunsIn(s, definition)).Select(Service)],
        };
    }

    /// <summary>The first epoch: the policy's primary region holds it, every region with a database may be promoted.</summary>
    public static EpochRecord? First(PolicyDocument policy, DatabaseDefinition database, DateTimeOffset now)
    {
        var holders = policy.Regions.Where(r => r.DatabaseHost is not null).ToList();
        return holders.FirstOrDefault(r => r.Role == Core.Regions.RegionRole.Primary) is { } primary
            ? EpochTransitions.First(database.Name, primary.Code, [.. holders.Select(r => r.Code)], now)
            : null;
    }

    private static DatabaseAssignment Database(PolicyDocument policy, string region, DatabaseDefinition database, EpochRecord record, bool initialised, string? startAsk, bool behind, IReadOnlyDictionary<string, PeerAddress>? peers, string? sync)
    {
        var isPrimary = record.Primary == region;
        var open = record.State == EpochState.Open && !behind;
        // While the epoch moves there is no primary that anyone may follow or write to.
        var primary = record.State == EpochState.Moving ? null : policy.Regions.FirstOrDefault(r => r.Code == record.Primary);
        return new DatabaseAssignment
        {
            Name = record.Database,
            DatabaseName = database.DatabaseName,
            User = database.User,
            Epoch = record.Epoch,
            Lineage = record.Lineage,
            State = record.State,
            // There is nothing to copy before the first marker: a database that is to be adopted would only note who was refused.
            Duty = !open ? DatabaseDuty.Keep : isPrimary ? DatabaseDuty.Primary : initialised ? DatabaseDuty.Standby : DatabaseDuty.Keep,
            Primary = primary?.Code,
            PrimaryHost = primary?.DatabaseHost,
            PrimaryPort = primary?.DatabasePort ?? 0,
            Patroni = database.Driver == DatabaseDriver.Patroni ? database.Patroni.GetValueOrDefault(region) ?? [] : null,
            Lease = Lease(policy, region, record, peers),
            Sync = isPrimary && record.State != EpochState.Moving ? sync : Begins(policy).Names,
            ConfirmedAsk = open && isPrimary ? startAsk : null,
            Initialise = open && isPrimary && record.Epoch == 1 && !initialised,
            Fork = record.Former?.Fork,
            FormerEpoch = record.Former?.Epoch,
            FormerPrimary = record.Former?.Primary,
        };
    }

    /// <summary>What a copy has in its files, so that it is in force from the first moment of an epoch that begins there: it knows of no copy yet.</summary>
    private static SyncSetting Begins(PolicyDocument policy) => policy.Recovery.Lease() is null ? SyncSetting.None : SyncSetting.Gate;

    private static LeaseAssignment? Lease(PolicyDocument policy, string region, EpochRecord record, IReadOnlyDictionary<string, PeerAddress>? peers) =>
        policy.Recovery.Lease() is { } terms
            ? new LeaseAssignment(terms.Ttl, terms.Hold, [.. record.Candidates.Where(c => c != region).Select(c => peers?.GetValueOrDefault(c) ?? Usual(policy, c))])
            : null;

    /// <summary>Where an agent listens unless it was told otherwise; one that has not reported to this server yet is asked there.</summary>
    private static PeerAddress Usual(PolicyDocument policy, string code) =>
        policy.Regions.FirstOrDefault(r => r.Code == code) is { DatabaseHost: { } host } region ? new PeerAddress(code, host, region.DatabasePort + 1) : new PeerAddress(code, "", 0);

    private static bool RunsIn(ServiceDefinition service, RegionDefinition region) =>
        service.Regions.Count > 0 ? service.Regions.Contains(region.Code) : region.DatabaseHost is not null;

    private static ServiceAssignment Service(ServiceDefinition service) => new()
    {
        Service = service.Name,
        Track = "stable",
        Version = service.Version,
        Count = service.Instances,
        Command = service.Command,
        Environment = service.Environment,
        PortFrom = service.PortFrom,
        ReadyPath = service.ReadyPath,
    };
}
