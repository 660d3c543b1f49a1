using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Recovery;

/// <summary>Decides whether and how a database's right to write may move to another region. The dry run prints it; the run does it.</summary>
public static class FailoverPlanner
{
    public static FailoverPlan Plan(FailoverFacts facts, FailoverWish wish)
    {
        var problems = new List<string>();
        var notes = new List<string>();
        if (facts.Record is not { } record)
        {
            problems.Add($"Database {facts.Database} has no epoch yet: it has never been open. Wait until its first primary is up (`br dr status`).");
            return new FailoverPlan { Target = wish.Target, Problems = problems, Notes = notes };
        }

        var target = wish.Target ?? Best(facts, record, wish.AcceptDataLoss);
        if (target is null)
            problems.Add($"No region can take over {facts.Database} now: {string.Join("; ", record.Candidates.Where(c => c != record.Primary).Select(c => $"{c}: {Unfit(facts, record, c) ?? "fit"}"))}.");
        else if (wish.Target is null)
            notes.Add($"{target} is the best of {string.Join(", ", record.Candidates.Where(c => c != record.Primary))}.");

        var resumes = record.State == EpochState.Moving && record.Primary == target;
        if (record.State == EpochState.Moving)
        {
            notes.Add(resumes
                ? $"Epoch {record.Epoch} was given to {target} by run {record.Run} and is not open yet: its promotion is taken up again."
                : $"Epoch {record.Epoch} was given to {record.Primary} by run {record.Run} and never opened: {record.Primary} must be proven silent first.");
        }

        TimeSpan? loss = null;
        long? lossBytes = null;
        if (target is not null)
        {
            problems.AddRange(TargetProblems(facts, record, target, resumes, wish.AcceptDataLoss, notes));
            (loss, lossBytes) = (facts.Region(target)?.KnownLag, facts.Region(target)?.KnownLagBytes);
            if (!resumes && IsCovered(facts, record, target))
            {
                (loss, lossBytes) = (TimeSpan.Zero, null);
                notes.Add($"Every acknowledged commit is held by {record.Sync!.Required} of {string.Join(", ", record.Sync.Members)}: none is lost.");
            }
            else if (!resumes && facts.Region(target) is { HasDatabase: true } && target != record.Primary)
                problems.AddRange(LossProblems(LossMax(facts.Rules, wish.Automatic), loss, lossBytes, target, record.Primary, wish.AcceptDataLoss, notes));
        }

        var proof = resumes ? record.Former?.Proof?.Kind : Obtainable(facts, record, wish, target);
        if (proof is null && !resumes)
            problems.Add(NoProof(facts, record, target));
        else if (proof is { } kind && !resumes)
            notes.Add(HowProven(kind, record, wish));

        if (!facts.Regions.Any(r => r.GatewayLive))
            notes.Add("No gateway reports now: writes cannot be held, and none is verified.");

        return new FailoverPlan
        {
            Target = target,
            Primary = record.Primary,
            Epoch = record.Epoch,
            Proof = proof,
            KnownLoss = loss,
            KnownLossBytes = lossBytes,
            Problems = problems,
            Notes = notes,
            Resumes = resumes,
        };
    }

    /// <summary>Judges a loss by the policy; null: it may go ahead.</summary>
    public static string? JudgeLoss(TimeSpan? loss, TimeSpan lossMax, bool accepted, string target)
    {
        if (accepted)
            return null;
        if (loss is not { } known)
            return $"How far {target} is behind is not known, so how much would be lost is not either. Wait until it reports, or accept an unknown loss with --accept-data-loss.";
        return known > lossMax
            ? $"{target} is {Seconds(known)} behind, and recovery.loss_max is {Seconds(lossMax)}. Wait until it has caught up, choose another region, or accept the loss with --accept-data-loss."
            : null;
    }

    private static IEnumerable<string> TargetProblems(FailoverFacts facts, EpochRecord record, string target, bool resumes, bool accepted, List<string> notes)
    {
        if (facts.Region(target) is not { } region)
        {
            yield return $"There is no region '{target}' in the policy; there are {string.Join(", ", facts.Regions.Select(r => r.Code))}.";
            yield break;
        }
        if (!region.HasDatabase)
        {
            yield return $"{target} has no database{(region.Role == RegionRole.Edge ? " (it is an edge: a gateway and a cache)" : "")}. Choose one of {string.Join(", ", record.Candidates.Where(c => c != record.Primary))}.";
            yield break;
        }
        if (target == record.Primary && !resumes)
        {
            yield return $"{target} is the primary of {facts.Database} already (epoch {record.Epoch}). Choose one of {string.Join(", ", record.Candidates.Where(c => c != record.Primary))}.";
            yield break;
        }
        if (!record.Candidates.Contains(target))
            yield return $"{target} is not among the copies of {facts.Database} that may be promoted ({string.Join(", ", record.Candidates)}).";
        if (!resumes && record.Sync is { Claims: true } sync && !sync.Members.Contains(target))
        {
            if (accepted)
                notes.Add($"{target} is none of the copies that commits wait for ({string.Join(", ", sync.Members)}): what it lacks is lost, and accepted.");
            else
                yield return NoMember(target, sync);
        }
        if (!region.AgentReachable)
            yield return $"The agent of {target} cannot be reached ({(region.ReportAge is { } age ? $"last report {Seconds(age)} ago" : "it has never reported")}); it is the one that promotes. Bring it back, or choose another region.";
        else if (!resumes && Unready(record, region) is { } unready)
            yield return unready;
        if (region.Health == HealthState.Unhealthy)
        {
            if (accepted || resumes)
                notes.Add($"{target} is unhealthy ({region.HealthReason}), and goes ahead all the same.");
            else
                yield return $"{target} is unhealthy: {region.HealthReason}. Choose another region, or insist with --accept-data-loss.";
        }
        else if (region.Health is HealthState.Degraded or HealthState.Draining or HealthState.Unknown)
        {
            notes.Add($"{target} is {region.Health.ToString().ToLowerInvariant()}{(region.HealthReason.Length > 0 ? $": {region.HealthReason}" : "")}.");
        }
    }

    private static string? Unready(EpochRecord record, FailoverRegion region) => region.Reading switch
    {
        null => $"The agent of {region.Code} reports no database. Look at `br regions show {region.Code}`.",
        { State: DatabaseState.Standby, AcceptsConnections: true } reading when reading.MarkerEpoch is { } marker && marker > record.Epoch =>
            $"The copy in {region.Code} bears the marker of epoch {marker}, above the record's {record.Epoch}. Do not promote it; look at `br dr status`.",
        { State: DatabaseState.Standby, AcceptsConnections: true } reading when reading.MarkerEpoch is { } marker && marker < record.Epoch && record.State != EpochState.Moving =>
            $"The copy in {region.Code} stands on epoch {marker} and has not joined epoch {record.Epoch} yet. Wait for it, or choose another region.",
        { State: DatabaseState.Standby, AcceptsConnections: true } => null,
        var reading => $"The copy in {region.Code} is {reading.State.ToString().ToLowerInvariant()}{(reading.Detail is { Length: > 0 } detail ? $" ({detail})" : "")} and not a running standby. Wait for it, or choose another region.",
    };

    /// <summary>Known loss up to which a failover goes ahead.</summary>
    public static TimeSpan LossMax(RecoveryRules rules, bool automatic) => automatic ? rules.AutomaticLossMax() : rules.LossMax ?? rules.Rpo;

    private static IEnumerable<string> LossProblems(TimeSpan lossMax, TimeSpan? loss, long? bytes, string target, string primary, bool accepted, List<string> notes)
    {
        if (JudgeLoss(loss, lossMax, accepted, target) is { } problem)
            yield return problem;
        else if (loss is { } known)
            notes.Add($"{target} held everything up to {(known > TimeSpan.Zero ? $"{Seconds(known)} before " : "")}the last report of {primary}{(bytes is > 0 ? $" ({bytes} bytes of WAL behind)" : "")}.");
        else
            notes.Add($"How much is lost is not known, and accepted.");
    }

    /// <summary>Why a copy that no commit waited for is not promoted in the place of one that holds them all.</summary>
    public static string NoMember(string target, SyncRecord sync) =>
        $"{target} is none of the copies that commits wait for; {sync.Required} of {string.Join(", ", sync.Members)} {(sync.Required == 1 ? "holds" : "hold")} every acknowledged commit. Choose {(sync.Members.Count == 1 ? sync.Members[0] : "one of those")}, or accept the loss with --accept-data-loss.";

    /// <summary>Whether what the record claims, and the copies that can be reached, make it certain that no acknowledged commit would be lost.</summary>
    public static bool IsCovered(FailoverFacts facts, EpochRecord record, string target) =>
        record.State != EpochState.Moving && record.Sync is { Claims: true } sync && sync.Members.Contains(target) && facts.Region(target) is { AgentReachable: true }
        && sync.Members.Count(m => facts.Region(m) is { AgentReachable: true }) >= sync.CutsNeeded;

    private static FenceProofKind? Obtainable(FailoverFacts facts, EpochRecord record, FailoverWish wish, string? target)
    {
        if (facts.Region(record.Primary) is { AgentReachable: true, Reading: null or { Guarded: true } or { State: DatabaseState.Fenced } })
            return facts.Region(record.Primary)?.Reading?.Manager is null ? FenceProofKind.Stopped : FenceProofKind.Demoted;
        if (facts.PowerReady)
            return FenceProofKind.PoweredOff;
        if (target is not null && IsCovered(facts, record, target))
            return FenceProofKind.Cut;
        if (facts.LeaseEnforced)
            return FenceProofKind.Expired;
        return wish.AssumeFenced is not null ? FenceProofKind.Stated : null;
    }

    private static string NoProof(FailoverFacts facts, EpochRecord record, string? target)
    {
        var primary = facts.Region(record.Primary);
        var why = primary is { AgentReachable: true }
            ? primary.Reading?.Manager is { } manager ? $"{manager} in {record.Primary} does not answer" : $"the PostgreSQL of {record.Primary} does not run under its guard"
            : $"the agent of {record.Primary} cannot be reached{(primary?.ReportAge is { } age ? $" (last report {Seconds(age)} ago)" : "")}";
        var cut = record.Sync is not { Claims: true } sync ? ""
            : target is null || !sync.Members.Contains(target) ? $", {target ?? "no target"} is none of the copies that its commits wait for ({string.Join(", ", sync.Members)})"
            : $", {sync.CutsNeeded} of the copies that its commits wait for ({string.Join(", ", sync.Members)}) would have to be cut off it and cannot be reached";
        return $"Nothing can prove that {record.Primary} acknowledges no more writes: {why}{cut}, and no power driver is set up (recovery.power_driver). "
            + "Two primaries would lose data silently. If you know that it is off, say so: --assume-fenced \"how you know\". --accept-data-loss does not stand for it.";
    }

    private static string HowProven(FenceProofKind kind, EpochRecord record, FailoverWish wish) => (kind, record.Primary) switch
    {
        (FenceProofKind.Stopped, var primary) => $"{primary} will be stopped by its guard (proof: stopped).",
        (FenceProofKind.Demoted, var primary) => $"{primary} will be demoted by its cluster manager, and every member seen to be a copy (proof: demoted).",
        (FenceProofKind.PoweredOff, var primary) => $"{primary} does not answer; the power driver will turn it off (proof: powered_off).",
        (FenceProofKind.Cut, var primary) => $"{primary} does not answer; {record.Sync!.CutsNeeded} of the copies that its commits wait for ({string.Join(", ", record.Sync.Members)}) are cut off it, and without them it acknowledges nothing (proof: cut).",
        (FenceProofKind.Expired, var primary) => $"{primary} does not answer; its lease runs out by itself and is waited for (proof: expired).",
        (_, var primary) => $"{primary} is taken as silent on your word: {wish.AssumeFenced} (proof: stated; it may be wrong).",
    };

    private static string? Best(FailoverFacts facts, EpochRecord record, bool accepted) =>
        record.State == EpochState.Moving && Unfit(facts, record, record.Primary) is null && !LiesFenced(facts, record)
            ? record.Primary
            : record.Candidates
                .Where(code => code != record.Primary && Unfit(facts, record, code) is null && (accepted || record.Sync is not { Claims: true } || record.Sync.Members.Contains(code)))
                .OrderBy(code => record.Sync is { Claims: true } sync && !sync.Members.Contains(code))
                .ThenBy(code => facts.Region(code)!.Role == RegionRole.Replica)
                .ThenByDescending(code => Held(facts.Region(code)!.Reading).Bytes)
                .ThenBy(code => facts.Region(code)!.KnownLag ?? TimeSpan.MaxValue)
                .ThenBy(code => code, StringComparer.Ordinal)
                .FirstOrDefault();

    /// <summary>A primary that was stopped, given the next epoch itself, and did not start again: promoting cannot help what is no standby.</summary>
    private static bool LiesFenced(FailoverFacts facts, EpochRecord record) =>
        record.Former?.Primary == record.Primary && facts.Region(record.Primary)?.Reading is { State: DatabaseState.Fenced };

    private static string? Unfit(FailoverFacts facts, EpochRecord record, string code) => facts.Region(code) switch
    {
        null => "not in the policy",
        { HasDatabase: false } => "no database",
        { AgentReachable: false } => "its agent cannot be reached",
        { Health: HealthState.Unhealthy } region => $"unhealthy ({region.HealthReason})",
        var region => code == record.Primary ? null : Unready(record, region),
    };

    /// <summary>What a copy holds: the larger of received and replayed, for the first can lag.</summary>
    public static Lsn Held(DatabaseReading? reading) => Lsn.Max(reading?.Received ?? default, reading?.Replayed ?? default);

    private static string Seconds(TimeSpan span) => span.TotalMinutes >= 10
        ? string.Create(CultureInfo.InvariantCulture, $"{span.TotalMinutes:0} min")
        : string.Create(CultureInfo.InvariantCulture, $"{span.TotalSeconds:0.#} s");
}
