using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Recovery;

/// <summary>What stands against a database's failover, switchover or rejoin, by what its agents report.</summary>
internal static class DatabaseReadiness
{
    public static IEnumerable<ReadinessFinding> Findings(ReadinessReading reading) => reading.Databases.SelectMany(d => Of(d, reading));

    private static IEnumerable<ReadinessFinding> Of(ReadinessDatabase database, ReadinessReading reading)
    {
        var facts = database.Facts;
        if (database.Run is { } run)
        {
            yield return Make(facts, "database.moving", ReadinessSeverity.Unknown, null, $"Run {run} is moving {facts.Database} now.", $"Wait for it: `br runbook status {run}`.");
            yield break;
        }
        if (facts.Record is not { } record)
        {
            yield return Make(facts, "database.no_epoch", ReadinessSeverity.Unknown, null, $"{facts.Database} has never been open: there is no epoch yet.", "Wait until its first primary is up; `br dr status` shows it.");
            yield break;
        }
        foreach (var region in facts.Regions.Where(r => r.HasDatabase && (r.Code == record.Primary || record.Candidates.Contains(r.Code))))
        {
            var weight = Weight(facts, record, region);
            foreach (var finding in OfRegion(facts, record, region, weight))
                yield return finding;
        }
        if (!facts.Regions.Any(r => r.Code != record.Primary && record.Candidates.Contains(r.Code)))
            yield return Make(facts, "copy.none", ReadinessSeverity.Red, null, $"{facts.Database} has no copy outside {record.Primary}: there is nowhere to fail over to.", "Give another region of the policy a `database_host`.");
        if (!facts.PowerReady && !(reading.Policy.Recovery is { AutoFailover: true, Fencing: FencingMode.Lease }))
        {
            yield return Make(facts, "proof.person", ReadinessSeverity.Warning, record.Primary, $"When {record.Primary} is lost with its agent, nothing can prove that it acknowledges no more writes: a person has to vouch for it.",
                "Set up recovery.power_driver, or automatic failover with its lease; until then know how to turn the region off and use --assume-fenced.");
        }
    }

    private static IEnumerable<ReadinessFinding> OfRegion(FailoverFacts facts, EpochRecord record, FailoverRegion region, ReadinessSeverity weight)
    {
        var primary = region.Code == record.Primary;
        if (!region.AgentReachable)
        {
            yield return Make(facts, "agent.unreachable", weight, region.Code, $"The agent of {region.Code} cannot be reached ({(region.ReportAge is { } age ? $"last report {Words.Of(age)} ago" : "it has not reported since this server started")}).",
                $"Start it again on its host (`br agent --region {region.Code} …`) and look at its log; without it nobody {(primary ? "stops" : "promotes")} the database there.");
            yield break;
        }
        if (region.Reading is not { } reading)
        {
            yield return Make(facts, "database.unread", ReadinessSeverity.Unknown, region.Code, $"The agent of {region.Code} reports no database yet.", $"Look at `br regions show {region.Code}`.");
            yield break;
        }
        if (reading.State == DatabaseState.Unfenced)
        {
            yield return Make(facts, "database.unfenced", weight, region.Code, $"PostgreSQL in {region.Code} runs without a guard: the region is unfenced, can neither prove that it has stopped nor be promoted, and its data may be lost with it.{With(reading)}",
                $"Adopt it: `br dr adopt {region.Code} --dry-run` shows what that does; it restarts PostgreSQL once.");
            yield break;
        }
        var running = reading.State is DatabaseState.Primary or DatabaseState.Standby or DatabaseState.Sealed;
        if (reading is { Guarded: false, Manager: { } manager })
        {
            yield return Make(facts, "manager.silent", weight, region.Code, $"{manager} in {region.Code} does not answer: it can neither demote nor promote.{With(reading)}",
                $"See whether {manager} runs there and its addresses in the policy (`databases.{facts.Database}.patroni`) are right.");
        }
        else if (!reading.Guarded && (running || reading.State == DatabaseState.Unknown))
        {
            yield return Make(facts, "guard.silent", weight, region.Code, $"The guard of {region.Code} does not answer, or PostgreSQL does not run under one: the region is unfenced and cannot prove that it has stopped.{With(reading)}",
                "See whether `br guard` runs there and is not frozen; restarting PostgreSQL through its agent puts it under a guard again.");
        }
        else if (primary ? reading.State != DatabaseState.Primary : reading.State != DatabaseState.Standby)
        {
            yield return Make(facts, "copy.not_well", weight, region.Code, $"The database in {region.Code} is {Words.Of(reading.State)}, and should be {(primary ? "the primary" : "a standby")}.{With(reading)}", $"Look at `br dr status` and at the agent's log of {region.Code}.");
        }
        else if (!primary && !reading.Streaming)
        {
            yield return Make(facts, "copy.not_streaming", weight, region.Code, $"The copy in {region.Code} receives nothing from {record.Primary}.{With(reading)}", "See whether it reaches the primary (network, slot, password); what is written meanwhile would be lost.");
        }
        if (!primary && running && Lag(facts, region) is { } lag)
            yield return Make(facts, lag.Code, weight, region.Code, lag.Reason, lag.Remedy);
        if (!running || reading.Manager is not null)
            yield break; // settings and rewinds are the manager's
        if (reading.Settings is not { } settings)
        {
            yield return Make(facts, "settings.unread", ReadinessSeverity.Unknown, region.Code, $"The settings and rights of PostgreSQL in {region.Code} have not been read yet.", "They are read every 15 s; look at the agent's log when this stays.");
            yield break;
        }
        foreach (var right in settings.MissingRights)
            yield return Make(facts, "rights.missing", weight, region.Code, $"In {region.Code} {right}.", "Give the right back; orders of a failover need it.");
        foreach (var finding in Rewind(facts, record, region, settings))
            yield return finding;
        if (!primary)
            yield break;
        foreach (var finding in Loose(facts, region, settings).Concat(Lease(facts, region, reading)))
            yield return finding;
    }

    /// <summary>An automatic failover of a region that is lost with its agent rests on the lease: the primary's right must end by itself.</summary>
    private static IEnumerable<ReadinessFinding> Lease(FailoverFacts facts, FailoverRegion region, DatabaseReading reading)
    {
        if (facts.Rules is not { AutoFailover: true, Fencing: FencingMode.Lease })
            yield break;
        if (reading.Lease is not { Enforced: true } lease)
            yield return Make(facts, "lease.not_enforced", ReadinessSeverity.Red, region.Code, $"No lease is enforced on the primary in {region.Code}{(reading.Lease is { } held ? $" ({held.Detail})" : "")}: when the region is lost, nothing ends its right to acknowledge, and there is no automatic failover.", $"Look at the agent's log of {region.Code}; guard and gate enforce the lease there.");
        else if (lease.ByFailsafe)
            yield return Make(facts, "lease.failsafe", ReadinessSeverity.Warning, region.Code, $"The primary in {region.Code} is carried by the candidates' promises, for the server's word does not reach it ({lease.Detail}).", "See whether the server can write its store, and whether the agent reaches it.");
    }

    private static (string Code, string Reason, string Remedy)? Lag(FailoverFacts facts, FailoverRegion region)
    {
        var max = LossMax(facts.Rules);
        return region.KnownLag switch
        {
            null => ("lag.unknown", $"How far the copy in {region.Code} is behind is not known: a failover to it would be refused, for nobody could say what is lost.", "See whether it streams (`br dr status`); a lag is known as soon as it once held everything."),
            { } lag when lag > max => ("lag.high", $"The copy in {region.Code} is {Words.Of(lag)} behind, and {Words.Of(max)} may be lost at most (recovery.loss_max).", "Find what holds it up (network, disk, a long query on the copy), or raise recovery.loss_max."),
            _ => null,
        };
    }

    /// <summary>What a failover tonight may lose: the policy's limit, else the RPO for a person's and 10 s for an automatic one (0 with synchronous replication).</summary>
    internal static TimeSpan LossMax(RecoveryRules rules) =>
        rules.LossMax ?? (!rules.AutoFailover ? rules.Rpo : rules.Replication == ReplicationMode.Asynchronous ? TimeSpan.FromSeconds(10) : TimeSpan.Zero);

    private static IEnumerable<ReadinessFinding> Rewind(FailoverFacts facts, EpochRecord record, FailoverRegion region, DatabaseSettings settings)
    {
        // Only a region that may be the old primary has to rewind: tonight's, and after a failover the next one.
        var weight = region.Code == record.Primary ? ReadinessSeverity.Red : ReadinessSeverity.Warning;
        if (!settings.DataChecksums && !settings.WalLogHints)
        {
            yield return Make(facts, "rewind.impossible", weight, region.Code, $"{region.Code} could not be rewound after a failover: it has neither data checksums nor wal_log_hints, so that its whole database would have to be copied anew.",
                "Set `wal_log_hints = on` and restart it through its agent, or make it anew with data checksums.");
        }
        if (!settings.FullPageWrites)
            yield return Make(facts, "rewind.impossible", weight, region.Code, $"{region.Code} could not be rewound after a failover: full_page_writes is off.", "Set `full_page_writes = on` and reload.");
        if (region.Code == record.Primary && settings.OldestWal is { } oldest)
        {
            foreach (var copy in facts.Regions.Where(r => r.Code != record.Primary && r.HasDatabase && r.Reading is { State: DatabaseState.Standby }))
            {
                var held = FailoverPlanner.Held(copy.Reading);
                if (held.Bytes > 0 && held < oldest)
                    yield return Make(facts, "wal.gone", Weight(facts, record, copy), copy.Code, $"{record.Primary} has WAL from {oldest} on, and the copy in {copy.Code} stands at {held}: it can neither catch up nor be rewound to.", "Let its agent copy the database anew (stop the copy and empty its data folder), and keep more WAL (max_slot_wal_keep_size).");
            }
        }
    }

    private static IEnumerable<ReadinessFinding> Loose(FailoverFacts facts, FailoverRegion region, DatabaseSettings settings)
    {
        // A gate or a standby that is waited for is what promises that nothing acknowledged is lost: these sessions do not wait.
        var promised = facts.Rules.Replication != ReplicationMode.Asynchronous || facts.Rules is { AutoFailover: true, Fencing: FencingMode.Lease };
        foreach (var loose in settings.LooseCommits)
        {
            yield return Make(facts, "commit.loose", promised ? ReadinessSeverity.Red : ReadinessSeverity.Warning, region.Code,
                $"{loose.Whose} commits with synchronous_commit = {loose.Setting}: its writes are acknowledged past the gate and the standbys, and can be lost or come after the epoch's end.", $"Set it back: `{loose.Remedy}`.");
        }
    }

    /// <summary>How much the region weighs: what tonight's failover needs is red, another replica a warning.</summary>
    private static ReadinessSeverity Weight(FailoverFacts facts, EpochRecord record, FailoverRegion region) =>
        region.Code == record.Primary || region.Role is RegionRole.Standby or RegionRole.Primary || !facts.Regions.Any(r => r.Code != region.Code && r.Code != record.Primary && Fit(facts, record, r))
            ? ReadinessSeverity.Red
            : ReadinessSeverity.Warning;

    private static bool Fit(FailoverFacts facts, EpochRecord record, FailoverRegion region) =>
        region is { HasDatabase: true, AgentReachable: true, Reading: { State: DatabaseState.Standby, Guarded: true } } && record.Candidates.Contains(region.Code) && Lag(facts, region) is null;

    private static string With(DatabaseReading reading) => reading.Detail is { Length: > 0 } detail ? $" ({detail})" : "";

    private static ReadinessFinding Make(FailoverFacts facts, string code, ReadinessSeverity severity, string? region, string reason, string remedy) =>
        new() { Code = code, Severity = severity, Reason = reason, Remedy = remedy, Database = facts.Database, Region = region };
}
