using BuildRunner.Client.Recovery;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Recovery.Dns;
using BuildRunner.Server.Recovery.Failover;
using BuildRunner.Server.Runbooks;
using Microsoft.AspNetCore.Http;

namespace BuildRunner.Server.Recovery;

/// <summary>`/v1/dr/status`: who is primary, how far the copies are behind, and what the last failover came to.</summary>
internal static class RecoveryEndpoints
{
    public static async Task<IResult> StatusAsync(IPolicySource policy, FailoverReader reader, RunRecords records, DnsLoop dns, DnsWatchLoop resolvers, Standing standing, CancellationToken cancel)
    {
        var rules = policy.Current.Recovery;
        var runs = await records.ListAsync(cancel);
        var databases = new List<DatabaseStatus>();
        foreach (var name in policy.Current.Databases.Select(d => d.Name).DefaultIfEmpty("main"))
            databases.Add(Status(await reader.ReadAsync(name, cancel), runs));
        return TypedResults.Json(new RecoveryStatus
        {
            Enabled = rules.Enabled,
            AutoFailover = rules.AutoFailover,
            Mode = policy.Current.Mode.ToString().ToLowerInvariant(),
            Freeze = policy.Freeze is { } freeze ? $"{freeze.Reason} (until {freeze.Until:u}, by {freeze.By})" : null,
            Overtaken = standing.Overtaken,
            RpoSeconds = rules.Rpo.TotalSeconds,
            RtoSeconds = rules.Rto.TotalSeconds,
            Databases = databases,
            Dns = DnsStatus.Sentence(dns),
            DnsRecords = DnsStatus.Of(dns, resolvers),
        }, RecoveryJson.Default.RecoveryStatus);
    }

    private static DatabaseStatus Status(FailoverFacts facts, IReadOnlyList<Client.Runbooks.RunRecord> runs)
    {
        var best = facts.Regions.Where(r => r.AgentReachable && r.KnownLag is not null && facts.Record?.Candidates.Contains(r.Code) == true && r.Reading?.State == DatabaseState.Standby).MinBy(r => r.KnownLag);
        var last = runs.FirstOrDefault(r => FailoverRunbook.Moves(r.Runbook) && r.Inputs.GetValueOrDefault("database", "main") == facts.Database && r.FinishedAt is not null);
        return new DatabaseStatus
        {
            Name = facts.Database,
            Primary = facts.Record?.Primary,
            Epoch = facts.Record?.Epoch,
            State = facts.Record?.State,
            Run = facts.Record is { State: not EpochState.Open } record ? record.Run : null,
            // Nothing is claimed to be safe but what the record says of copies that can be reached.
            RpoNowSeconds = facts.Record is { } epoch && facts.Regions.Any(r => FailoverPlanner.IsCovered(facts, epoch, r.Code)) ? 0 : best?.KnownLag?.TotalSeconds,
            RpoNowBytes = best?.KnownLagBytes,
            Replication = Replication(facts),
            Regions = [.. facts.Regions.Where(r => r.HasDatabase).Select(Copy)],
            Lease = Lease(facts),
            LastFailover = last is null ? null : new LastFailover
            {
                Run = last.Id,
                State = RunDriver.Word(last.State),
                At = last.StartedAt,
                To = last.Inputs.GetValueOrDefault("target"),
                OutageMs = last.OutageMs,
                Lost = last.Lost,
            },
        };
    }

    private static LeaseStatus? Lease(FailoverFacts facts)
    {
        if (facts.Rules.Lease() is not { } terms)
            return null;
        var primary = facts.Record is { } record ? facts.Region(record.Primary) : null;
        var held = primary is { AgentReachable: true } ? primary.Reading?.Lease : null;
        return new LeaseStatus { Enforced = facts.LeaseEnforced, TtlSeconds = terms.Ttl.TotalSeconds, LeftSeconds = held?.Left.TotalSeconds, ByFailsafe = held?.ByFailsafe ?? false, Detail = held?.Detail };
    }

    private static ReplicationStatus? Replication(FailoverFacts facts) => facts.Record is not { } record ? null : new ReplicationStatus
    {
        Mode = facts.Rules.Replication.ToString().ToLowerInvariant(),
        State = record.Sync?.State,
        Members = record.Sync?.Members ?? [],
        Required = record.Sync?.Required ?? 0,
        Since = record.Sync?.Since,
        Setting = facts.Region(record.Primary) is { AgentReachable: true } primary ? primary.Reading?.SyncNames : null,
    };

    private static CopyStatus Copy(FailoverRegion region) => new()
    {
        Code = region.Code,
        State = region.AgentReachable ? region.Reading?.State ?? DatabaseState.Unknown : DatabaseState.Unknown,
        Detail = region.AgentReachable ? region.Reading?.Detail : "its agent cannot be reached",
        LagSeconds = region.KnownLag?.TotalSeconds,
        LagBytes = region.KnownLagBytes,
        Streaming = region is { AgentReachable: true, Reading.Streaming: true },
        Following = region.Reading?.Following,
        Timeline = region.Reading?.Timeline,
        Epoch = region.Reading?.MarkerEpoch,
        Lsn = (region.Reading?.Written ?? (region.Reading is { } reading ? FailoverPlanner.Held(reading) : null))?.ToString(),
        ReportAgeSeconds = region.ReportAge?.TotalSeconds,
        Effects = region.Reading?.Effects,
    };
}
