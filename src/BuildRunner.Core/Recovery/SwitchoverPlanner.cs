using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Recovery;

/// <summary>What a person asks of a planned move.</summary>
public sealed record SwitchoverWish
{
    /// <summary>Code of the region that is to become the primary; null: the best copy.</summary>
    public string? Target { get; init; }
}

/// <summary>
/// Decides whether a primary that is well may hand its database to another region. Nothing is lost by it and nobody fails, or it is refused:
/// where one of the two is not well, a failover is what is wanted.
/// </summary>
public static class SwitchoverPlanner
{
    /// <summary>A copy further behind would keep writes waiting while it catches up.</summary>
    public const long LagMaxBytes = 16L * 1024 * 1024;

    public static FailoverPlan Plan(FailoverFacts facts, SwitchoverWish wish)
    {
        var (problems, notes) = (new List<string>(), new List<string>());
        if (facts.Record is not { } record)
        {
            problems.Add($"Database {facts.Database} has no epoch yet: it has never been open. Wait until its first primary is up (`br dr status`).");
            return new FailoverPlan { Target = wish.Target, Problems = problems, Notes = notes };
        }
        if (record.State != EpochState.Open)
            problems.Add($"Epoch {record.Epoch} of {facts.Database} is {record.State.ToString().ToLowerInvariant()} by run {record.Run}: finish that first (`br runbook status {record.Run}`, or `br dr failover`).");

        if (facts.Rules.Replication != ReplicationMode.Asynchronous && record.Sync is not { State: SyncState.Sync })
            problems.Add($"Replication of {facts.Database} is {facts.Rules.Replication.ToString().ToLowerInvariant()} by policy, and no copy is waited for now. Wait until one has caught up (`br dr status`).");

        var others = record.Candidates.Where(c => c != record.Primary).ToList();
        var target = wish.Target ?? others
            .Where(code => !TargetProblems(facts, record, code).Any())
            .OrderBy(code => facts.Region(code)!.Role == RegionRole.Replica)
            .ThenBy(code => facts.Region(code)!.KnownLagBytes ?? long.MaxValue)
            .ThenBy(code => code, StringComparer.Ordinal)
            .FirstOrDefault();
        if (target is null)
            problems.Add($"No region can take over {facts.Database} now: {string.Join(" ", others.Select(code => TargetProblems(facts, record, code).First()))}");
        else if (wish.Target is null)
            notes.Add($"{target} is the best of {string.Join(", ", others)}.");

        problems.AddRange(PrimaryProblems(facts, record));
        if (target is not null && wish.Target is not null)
            problems.AddRange(TargetProblems(facts, record, target));
        if (target is not null && facts.Region(target) is { Health: HealthState.Degraded or HealthState.Draining or HealthState.Unknown } doubtful)
            notes.Add($"{target} is {doubtful.Health.ToString().ToLowerInvariant()}{(doubtful.HealthReason.Length > 0 ? $": {doubtful.HealthReason}" : "")}.");
        foreach (var away in facts.Regions.Where(r => !r.GatewayLive))
            notes.Add($"The gateway of {away.Code} does not report: its users' writes are refused by the host until it hears of the move.");
        return new FailoverPlan
        {
            Target = target,
            Primary = record.Primary,
            Epoch = record.Epoch,
            Proof = facts.Region(record.Primary)?.Reading?.Manager is null ? FenceProofKind.Stopped : FenceProofKind.Demoted,
            KnownLoss = TimeSpan.Zero,
            Problems = problems,
            Notes = notes,
        };
    }

    /// <summary>Whether the oldest work on the primary lets it be sealed now; null: it does.</summary>
    public static string? JudgeWork(double? oldestMs, string? whose, TimeSpan max, string primary) => oldestMs is { } age && age > max.TotalMilliseconds
        ? string.Create(CultureInfo.InvariantCulture, $"A transaction in {primary} has been open for {age / 1000:0.0} s ({whose}); a planned move waits for {max.TotalMilliseconds:0} ms at most. Let it end, or end it with --cut-long-transactions.")
        : null;

    private static IEnumerable<string> PrimaryProblems(FailoverFacts facts, EpochRecord record)
    {
        var instead = $"To move away from a primary that is not well, use `br dr failover`.";
        switch (facts.Region(record.Primary))
        {
            case null:
                yield return $"The primary {record.Primary} is no region of the policy. {instead}";
                break;
            case { AgentReachable: false } away:
                yield return $"The agent of the primary {away.Code} cannot be reached{(away.ReportAge is { } age ? string.Create(CultureInfo.InvariantCulture, $" (last report {age.TotalSeconds:0.#} s ago)") : "")}. {instead}";
                break;
            case { Reading: not { State: DatabaseState.Primary, AcceptsConnections: true } } ill:
                yield return $"The primary {ill.Code} is {ill.Reading?.State.ToString().ToLowerInvariant() ?? "unknown"}{(ill.Reading?.Detail is { Length: > 0 } detail ? $" ({detail})" : "")}. {instead}";
                break;
            case { Reading: { Guarded: false, Manager: { } manager } } silent:
                yield return $"{manager} in {silent.Code} does not answer{(silent.Reading.Detail is { Length: > 0 } why ? $" ({why})" : "")}, so nothing would take the right to write from it.";
                break;
            case { Reading.Guarded: false } free:
                yield return $"The PostgreSQL of {free.Code} does not run under its guard, so nothing would prove that it has stopped. Restart it under the guard first.";
                break;
        }
    }

    private static IEnumerable<string> TargetProblems(FailoverFacts facts, EpochRecord record, string target)
    {
        if (facts.Region(target) is not { } region)
            yield return $"There is no region '{target}' in the policy; there are {string.Join(", ", facts.Regions.Select(r => r.Code))}.";
        else if (!region.HasDatabase)
            yield return $"{target} has no database{(region.Role == RegionRole.Edge ? " (it is an edge: a gateway and a cache)" : "")}. Choose one of {string.Join(", ", record.Candidates.Where(c => c != record.Primary))}.";
        else if (target == record.Primary)
            yield return $"{target} is the primary of {facts.Database} already (epoch {record.Epoch}).";
        else if (!record.Candidates.Contains(target))
            yield return $"{target} is not among the copies of {facts.Database} that may be promoted ({string.Join(", ", record.Candidates)}).";
        else if (!region.AgentReachable)
            yield return $"The agent of {target} cannot be reached; it is the one that promotes. Bring it back, or choose another region.";
        else if (region.Health == HealthState.Unhealthy)
            yield return $"{target} is unhealthy: {region.HealthReason}. Choose another region.";
        else if (region.Reading is not { State: DatabaseState.Standby, AcceptsConnections: true, Streaming: true } reading)
            yield return $"The copy in {target} is {region.Reading?.State.ToString().ToLowerInvariant() ?? "unknown"} and does not stream{(region.Reading?.Detail is { Length: > 0 } detail ? $" ({detail})" : "")}. Wait for it, or choose another region.";
        else if (reading.MarkerEpoch != record.Epoch)
            yield return $"The copy in {target} stands on epoch {reading.MarkerEpoch?.ToString(CultureInfo.InvariantCulture) ?? "none"} and not on {record.Epoch}. Wait for it, or choose another region.";
        else if (region.KnownLagBytes is not { } behind)
            yield return $"How far {target} is behind is not known. Wait until it reports.";
        else if (behind > LagMaxBytes)
            yield return $"{target} is {behind / 1024 / 1024} MB behind; a planned move waits for {LagMaxBytes / 1024 / 1024} MB at most. Wait until it has caught up.";
    }
}
