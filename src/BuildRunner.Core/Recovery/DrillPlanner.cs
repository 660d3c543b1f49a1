using BuildRunner.Core.Databases;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Recovery;

/// <summary>Whether all is well enough to break it, and whether what is to be broken can be mended again.</summary>
public static class DrillPlanner
{
    public const string Failover = "drill-failover";
    public const string Scenario = "drill-scenario";
    public const string Practice = "drill-practice";

    /// <summary>Whether a runbook of this name breaks things on purpose.</summary>
    public static bool IsDrill(string runbook) => runbook is Failover or Scenario or Practice;

    /// <summary>Puts the regions' codes in place of `primary` and `standby`.</summary>
    /// <param name="faults">As they are written.</param>
    /// <param name="facts">The house as it stands.</param>
    /// <param name="target">Region that would take over; null: there is none.</param>
    public static IReadOnlyList<DrillFault> Resolve(IReadOnlyList<DrillFault> faults, FailoverFacts facts, string? target) => [.. faults.Select(f => f with
    {
        Region = f.Region switch
        {
            DrillFault.Primary => facts.Record?.Primary ?? f.Region,
            DrillFault.Standby => target ?? facts.Record?.Candidates.FirstOrDefault(c => c != facts.Record.Primary) ?? f.Region,
            _ => f.Region,
        },
    })];

    /// <summary>What stands against a drill, one sentence each with what to do; empty: it may begin.</summary>
    public static IEnumerable<string> Problems(FailoverFacts facts, DrillState? state)
    {
        if (facts.Record is not { State: EpochState.Open } record)
        {
            yield return $"{facts.Database} is being moved, or has never been open: a drill begins when all is well. Look at `br dr status`.";
            yield break;
        }
        foreach (var region in facts.Regions.Where(r => r.Health is not HealthState.Healthy))
            yield return $"{region.Code} is {Words.Of(region.Health)}{(region.HealthReason.Length > 0 ? $" ({region.HealthReason})" : "")}: a drill begins when all is well. Mend it first.";
        foreach (var code in record.Candidates.Where(c => c != record.Primary))
        {
            if (facts.Region(code) is not { Reading: { State: DatabaseState.Standby, Streaming: true } })
                yield return $"The copy in {code} does not stream from {record.Primary}: a drill begins when all is well.";
        }
        foreach (var region in state?.Regions.Where(r => r.Fault is not null) ?? [])
            yield return $"{region.Code} is kept broken ({region.Fault}): one drill at a time. It is mended by itself within 15 min.";
        if (state?.Holds.Count > 0)
            yield return $"Writes are held ({string.Join(", ", state.Holds)}): a drill begins when nothing is under way.";
    }

    /// <summary>What stands against these faults, resolved, in this house.</summary>
    public static IEnumerable<string> Problems(FailoverFacts facts, IReadOnlyList<DrillFault> faults, DrillExpectation expect)
    {
        foreach (var fault in faults)
        {
            if (facts.Region(fault.Region) is not { } region)
                yield return $"There is no region '{fault.Region}' to break: {string.Join(", ", facts.Regions.Select(r => r.Code))}, `primary` or `standby`.";
            else if (!region.HasDatabase && fault.Kind != FaultKind.Partition && !(fault.Part is FaultPart.Agent))
                yield return $"{fault.Region} has no database, and {FaultKinds.Say(fault.Kind, fault.Part)} is about one.";
            if (fault.Duration < DrillFault.DurationMin || fault.Duration > FaultKinds.DurationMax || fault.After < TimeSpan.Zero || fault.After > DrillFault.AfterMax)
                yield return $"'{fault}': a fault begins within {DrillFault.AfterMax.TotalMinutes:0} min and lasts from 1 s to {FaultKinds.DurationMax.TotalMinutes:0} min.";
        }
        foreach (var twice in faults.GroupBy(f => f.Region).Where(g => g.Count() > 1))
            yield return $"{twice.Key} would be broken {twice.Count()} times: one fault at a time in a region.";
        if (facts.Record is not { } record)
            yield break;
        var down = faults.Where(f => f.TakesDown).Select(f => f.Region).ToHashSet();
        if (expect == DrillExpectation.Failover && record.Candidates.Where(c => c != record.Primary).All(down.Contains))
            yield return "No copy would be left to take over: leave one region unbroken, or write `expect: endure`.";
        if (faults.FirstOrDefault(f => f.Region == record.Primary) is not { } lost)
        {
            if (expect == DrillExpectation.Failover)
                yield return $"Nothing would break {record.Primary}, which takes writes, and so nothing would fail over: break `primary`, or write `expect: endure`.";
            yield break;
        }
        if (expect == DrillExpectation.Endure && lost.Kind == FaultKind.FillDisk)
            yield return $"{record.Primary} takes writes, and PostgreSQL whose disk is full ends itself and does not start until there is room: that is not sat out. Write `expect: failover`, or fill the disk of `standby`.";
        else if (expect == DrillExpectation.Endure && lost.TakesDown && lost.Duration > EndureMax)
            yield return $"{record.Primary} takes writes: at most {EndureMax.TotalSeconds:0} s of '{FaultKinds.Say(lost.Kind, lost.Part)}' can be endured, or write `expect: failover`.";
        if (expect == DrillExpectation.Endure || FaultKinds.CanBeStopped(lost.Kind, lost.Part))
            yield break;
        if (facts.PowerReady)
            yield return $"Its agent could not prove {record.Primary} silent, and the power driver would turn it off; a drill cannot turn it on again. Use a fault that leaves the agent its hands (kill, stop, freeze postgres), or set `recovery.power_driver: none` under automatic failover.";
        else if (!facts.LeaseEnforced)
            yield return $"Nothing would prove {record.Primary} silent: its agent could not, and no lease is enforced. Use a fault that leaves the agent its hands (kill, stop, freeze postgres), or switch automatic failover on.";
    }

    /// <summary>A primary that is down for longer is no fault to sit out.</summary>
    private static readonly TimeSpan EndureMax = TimeSpan.FromSeconds(30);
}
