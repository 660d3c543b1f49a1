namespace BuildRunner.Core.Databases;

/// <summary>What the policy wants of the copies.</summary>
public enum SyncWish
{
    /// <summary>No commit waits for a copy.</summary>
    None,

    /// <summary>Commits wait for one copy.</summary>
    One,

    /// <summary>Commits wait for half of the copies, rounded up.</summary>
    Quorum,
}

/// <summary>A copy that may be waited for.</summary>
/// <param name="Region">Its code.</param>
/// <param name="Preferred">Its region stands ready to become the primary; it is chosen before others.</param>
/// <param name="Streams">The primary feeds it: it can confirm.</param>
/// <param name="Ready">It holds the epoch's marker and nearly everything: commits would not wait long for it.</param>
/// <param name="Flushed">How far it has flushed, as the primary knows; null: unknown.</param>
public sealed record SyncCandidate(string Region, bool Preferred, bool Streams, bool Ready, Lsn? Flushed);

/// <summary>A setting that the primary's agent has seen in force for every session and sender.</summary>
/// <param name="Names">Value of `synchronous_standby_names`.</param>
/// <param name="Version">Version of the assignment that asked for it.</param>
/// <param name="From">Everything that was acknowledged before it was in force lies before this position.</param>
public sealed record SyncReading(string Names, long Version, Lsn From);

/// <summary>What is known when the next step is decided; the epoch is open and its primary reports.</summary>
public sealed record SyncFacts
{
    public required SyncWish Wish { get; init; }

    /// <summary>The primary acknowledges under a lease: where no copy is waited for, the guard is.</summary>
    public required bool Lease { get; init; }
    public required SyncRecord? Record { get; init; }

    /// <summary>What this server told the primary's agent last; null: nothing yet, and it keeps what it has.</summary>
    public required string? Told { get; init; }

    /// <summary>What PostgreSQL says of itself now, whoever set it; null: unknown.</summary>
    public required string? Shown { get; init; }

    /// <summary>The agent's word that what was told last, and nothing else, is in force; null: not yet.</summary>
    public required SyncReading? InForce { get; init; }
    public required IReadOnlyList<SyncCandidate> Candidates { get; init; }
}

/// <summary>The next step; every one carries its reason.</summary>
public abstract record SyncStep
{
    private SyncStep() { }

    /// <summary>One clause for people.</summary>
    public required string Reason { get; init; }

    /// <summary>The record of the epoch says this from now on.</summary>
    public sealed record WriteRecord(SyncRecord? Record) : SyncStep;

    /// <summary>The primary's agent is told to put this in force.</summary>
    public sealed record WriteSetting(SyncSetting Setting) : SyncStep;

    public sealed record Stand : SyncStep;
}

/// <summary>
/// Moves record and setting towards what the policy wants, one step at a time, so that after each of them, and whichever of the settings told so far
/// is in force, the record is true: it claims no more than setting and copies hold. Whoever puts the setting in force may be late; nothing is claimed
/// before it has said so.
/// </summary>
public static class SyncPlanner
{
    public static SyncStep Decide(SyncFacts facts, DateTimeOffset now)
    {
        if (facts.Told is null && facts.Shown is null)
            return new SyncStep.Stand { Reason = "the primary has not said yet for whom its commits wait" };

        var wanted = Wanted(facts);
        if (!Holds(facts.Record, wanted))
            return new SyncStep.WriteRecord(Weaken(facts.Record, wanted, now)) { Reason = $"before commits wait for {Said(wanted)}" };
        if (facts.Told != wanted.Names)
            return new SyncStep.WriteSetting(wanted) { Reason = $"commits are to wait for {Said(wanted)}" };
        if (facts.InForce is not { } inForce)
        {
            var shown = SyncSetting.Parse(facts.Shown ?? facts.Told);
            return Holds(facts.Record, shown)
                ? new SyncStep.Stand { Reason = $"commits do not wait for {Said(wanted)} yet" }
                : new SyncStep.WriteRecord(Weaken(facts.Record, shown, now)) { Reason = $"commits wait for {Said(shown)}, which nobody here has asked for" };
        }
        if (wanted.Regions.FirstOrDefault(region => !(facts.Candidates.FirstOrDefault(c => c.Region == region)?.Flushed >= inForce.From)) is { } behind)
            return new SyncStep.Stand { Reason = $"{behind} has not flushed {inForce.From} yet" };
        var strongest = wanted.Regions.Count > 0 ? new SyncRecord(wanted.Regions, wanted.Required, SyncState.Sync, now)
            : facts.Wish == SyncWish.None ? null
            : new SyncRecord([], 0, SyncState.Degraded, now);
        return facts.Record == strongest || facts.Record?.Says(strongest) == true
            ? new SyncStep.Stand { Reason = strongest is { Claims: true } ? $"every acknowledged commit is held by {Said(wanted)}" : "no copy can be waited for" }
            : new SyncStep.WriteRecord(strongest) { Reason = strongest is { Claims: true } ? $"commits wait for {Said(wanted)}, and all of them have caught up" : $"commits wait for {Said(wanted)}" };
    }

    /// <summary>Whether a record stays true while a setting is in force: Required ≤ k − |S \ Members|. No record, or a degraded one, says that no copy is waited for.</summary>
    public static bool Holds(SyncRecord? record, SyncSetting setting) => record switch
    {
        null or { State: SyncState.Degraded } => setting.Regions.Count == 0,
        _ => record.Required <= Math.Max(0, setting.Required - setting.Members.Count(m => !record.Members.Contains(m))),
    };

    /// <summary>
    /// The strongest record that follows from a true one and stays true under a setting: what some of the members hold, some of more members hold too.
    /// </summary>
    public static SyncRecord Weaken(SyncRecord? record, SyncSetting setting, DateTimeOffset now)
    {
        var required = setting.IsGate ? 0 : Math.Min(record?.Required ?? 0, setting.Required);
        return required == 0
            ? new SyncRecord([], 0, SyncState.Changing, now)
            : new SyncRecord([.. record!.Members.Union(setting.Members, StringComparer.Ordinal)], required, SyncState.Changing, now);
    }

    /// <summary>For whom commits should wait. A copy that is waited for already stays as long as it streams; another one comes in when it is ready.</summary>
    private static SyncSetting Wanted(SyncFacts facts)
    {
        var now = SyncSetting.Parse(facts.Told ?? facts.Shown ?? "").Regions;
        var fit = facts.Candidates.Where(c => now.Contains(c.Region) ? c.Streams : c.Streams && c.Ready).ToList();
        if (facts.Wish == SyncWish.None || fit.Count == 0)
            return facts.Lease ? SyncSetting.Gate : SyncSetting.None;
        return facts.Wish == SyncWish.One
            ? SyncSetting.First(fit.OrderByDescending(c => c.Preferred).ThenByDescending(c => now.Contains(c.Region)).First().Region)
            : SyncSetting.Quorum([.. fit.Select(c => c.Region).Order(StringComparer.Ordinal)]);
    }

    private static string Said(SyncSetting setting) => setting switch
    {
        { IsGate: true } => "the guard alone",
        { Required: 0 } => "nobody",
        { Members.Count: 1 } => setting.Members[0],
        _ => string.Create(CultureInfo.InvariantCulture, $"{setting.Required} of {string.Join(", ", setting.Members)}"),
    };
}
