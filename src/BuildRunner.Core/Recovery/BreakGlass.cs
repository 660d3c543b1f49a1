using BuildRunner.Core.Databases;

namespace BuildRunner.Core.Recovery;

/// <summary>What the hosts' saved tables come to when there is no server to ask.</summary>
public sealed record BreakGlassPlan
{
    /// <summary>The record to act on; null: none can be told.</summary>
    public EpochRecord? Record { get; init; }

    /// <summary>Highest fencing token that any host obeyed: whoever acts has a higher one.</summary>
    public long Token { get; init; }

    /// <summary>What stands against it, one sentence each, with what to do.</summary>
    public IReadOnlyList<string> Problems { get; init; } = [];

    /// <summary>Nothing but the server's last word, a moment ago, stands against it: asked again, it may be well.</summary>
    public bool OnlyTooSoon { get; init; }
    public IReadOnlyList<string> Known { get; init; } = [];
    public IReadOnlyList<string> Unknown { get; init; } = [];
}

/// <summary>
/// Decides on what a failover without the server may begin. The saved tables may be old: an epoch is never below one that any host obeyed, nothing is
/// claimed of what copies hold, and whoever does not answer may have been made primary by the server in its last moments.
/// </summary>
public static class BreakGlass
{
    /// <summary>A server that answered a host within this time is not gone.</summary>
    public static readonly TimeSpan ServerAliveMax = TimeSpan.FromSeconds(3);

    /// <summary>Far above what a server reaches by restarts: its orders are the older ones until it has adopted the journal.</summary>
    public const long TokenLead = 1000;

    public static BreakGlassPlan Decide(IReadOnlyList<SavedHost> hosts, BreakGlassWish wish, DateTimeOffset now)
    {
        var (known, unknown, problems) = (new List<string>(), new List<string>(), new List<string>());
        var heard = hosts.Where(h => h.Silent is null).ToList();
        foreach (var silent in hosts.Where(h => h.Silent is not null))
            unknown.Add($"{silent.Region} does not answer ({silent.Silent}): what it holds, and whether it takes writes.");
        if (heard.Count == 0)
            return new BreakGlassPlan { Problems = ["No database host answered, so that nothing is known. Name one that lives with --agent HOST:PORT (the port after PostgreSQL's), and look at the key."], Unknown = unknown };
        if (heard.Select(h => h.Lineage).Where(l => l is not null).Distinct().Count() > 1)
            return new BreakGlassPlan { Problems = [$"The hosts count their epochs in different sequences ({string.Join(", ", heard.Select(h => $"{h.Region}: {h.Lineage?[..Math.Min(8, h.Lineage.Length)] ?? "none"}"))}): they do not belong to one house. Name only those that do."], Unknown = unknown };

        var token = heard.Max(h => h.SeenToken);
        var soon = heard.Where(h => h.ServerSilence < ServerAliveMax).MinBy(h => h.ServerSilence);
        var record = Begin(heard, now, known, problems);
        if (wish.Resumes)
            problems.Clear(); // its journal knows the record; what is found here are its own effects
        else if (record is null)
            return new BreakGlassPlan { Token = token, Problems = problems, Known = known, Unknown = unknown };
        else
            Judge(record, hosts, wish, known, unknown, problems);
        var others = problems.Count;
        var promised = record is null || wish.Resumes ? null : heard.Find(h => h.Region == wish.Target && h.Promised > TimeSpan.Zero && wish.Target != record.Primary)?.Promised;
        if (promised is { } left && heard.Find(h => h.Region == record!.Primary)?.Reading is not ({ Guarded: true } or { State: DatabaseState.Fenced }) && !wish.PowerReady)
            problems.Insert(0, string.Create(CultureInfo.InvariantCulture, $"{wish.Target} promised {record!.Primary} not to be promoted for {left.TotalSeconds:0.0} s more: that one heard no server and asked for it. Wait for so long."));
        else
            promised = null;
        if (soon is not null)
            problems.Insert(0, string.Create(CultureInfo.InvariantCulture, $"The server is not gone: it answered {soon.Region} {soon.ServerSilence?.TotalSeconds:0.0} s ago. Fail over with it (`br dr failover --target {wish.Target}`), or end its process first: two servers must not act at once."));
        return new BreakGlassPlan { Record = record, Token = token, Problems = problems, OnlyTooSoon = (soon is not null || promised is not null) && others == 0, Known = known, Unknown = unknown };
    }

    private static EpochRecord? Begin(List<SavedHost> heard, DateTimeOffset now, List<string> known, List<string> problems)
    {
        var newest = heard.Where(h => h.Record is not null).OrderByDescending(h => h.Record!.Epoch).ThenByDescending(h => h.Version).FirstOrDefault();
        if (newest is not { Record: { } record })
        {
            problems.Add("No host that answered has saved a table of this database: it has never had an assignment with one (an older version, or a new host). Name another with --agent.");
            return null;
        }
        known.Add($"Epoch {record.Epoch} of {record.Database} was {Word(record.State)}, {record.Primary} its primary, as {newest.Region} saved it ({record.At.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture)} UTC).");
        if (record.Sync is { Claims: true } sync)
            known.Add($"Then {sync.Required} of {string.Join(", ", sync.Members)} held every acknowledged commit; whether that was still so at the end is not known, so nothing is built on it.");
        var seen = heard.Max(Highest);
        if (seen > record.Epoch)
        {
            // A run had begun it: its promote order went out only after a proof about the epoch before had been written down.
            var holders = heard.Where(h => h.Promoting == seen || h.PrimaryEpoch == seen || h.Reading?.MarkerEpoch == seen && h.Reading?.State is DatabaseState.Primary or DatabaseState.Sealed).ToList();
            if (holders is not [var holder])
            {
                problems.Add($"Epoch {seen} was begun, and no saved table says whose it is ({(holders.Count == 0 ? "none of the hosts that answered holds it" : string.Join(" and ", holders.Select(h => h.Region)) + " both say so")}). Reach the other hosts too, with --agent.");
                return null;
            }
            known.Add($"A run had begun to make {holder.Region} the primary of epoch {seen}.");
            return record with
            {
                Epoch = seen, State = EpochState.Moving, Primary = holder.Region, Sync = null, Run = null, At = now,
                Former = new(record.Epoch, record.Primary, new FenceProof
                {
                    Kind = FenceProofKind.Stated, Epoch = seen - 1, Region = record.Primary, At = now,
                    Evidence = $"{holder.Region} was ordered to take epoch {seen}, and that order follows a proof about {record.Primary}; which one is not known here",
                }, null, null),
            };
        }
        // A run that had closed it is gone with its server; nothing moved, so the epoch is its primary's.
        return record with { State = record.State == EpochState.Moving ? EpochState.Moving : EpochState.Open, Sync = null };
    }

    private static void Judge(EpochRecord record, IReadOnlyList<SavedHost> hosts, BreakGlassWish wish, List<string> known, List<string> unknown, List<string> problems)
    {
        SavedHost? Of(string region) => hosts.FirstOrDefault(h => h.Region == region && h.Silent is null);
        foreach (var host in hosts.Where(h => h.Silent is null))
            known.Add($"{host.Region} answers: {Said(host)}.");
        var target = Of(wish.Target);
        if (!record.Candidates.Contains(wish.Target))
            problems.Add($"{wish.Target} holds no copy of {record.Database} that may be promoted. Choose one of {string.Join(", ", record.Candidates.Where(c => c != record.Primary))}.");
        else if (target is null)
            problems.Add($"The agent of {wish.Target} does not answer, and it is the one that promotes. Bring it back, or choose another region.");
        else if (wish.Target == record.Primary && record.State != EpochState.Moving)
            problems.Add($"{wish.Target} is the primary of {record.Database} already (epoch {record.Epoch}). Choose one of {string.Join(", ", record.Candidates.Where(c => c != record.Primary))}.");

        if (wish.Target != record.Primary)
        {
            var primary = Of(record.Primary);
            if (primary?.Reading is { Guarded: true } or { State: DatabaseState.Fenced })
                known.Add($"{record.Primary} will be stopped by its guard (proof: stopped).");
            else if (wish.PowerReady)
                known.Add($"{record.Primary} does not answer; the power driver will turn it off (proof: powered_off).");
            else if (wish.AssumeFenced is { } why)
                known.Add($"{record.Primary} is taken as silent on your word: {why} (proof: stated; it may be wrong).");
            else
                problems.Add($"Nothing can prove that {record.Primary} acknowledges no more writes: {(primary is null ? "its agent cannot be reached" : "its PostgreSQL does not run under its guard")}, and no power driver can be used from here. A lease proves nothing without the server that grants it. If you know that it is off, say so: --assume-fenced \"how you know\".");
            if (primary?.Reading?.Written is null)
            {
                unknown.Add($"How much {wish.Target} lacks of what {record.Primary} acknowledged.");
                if (!wish.AcceptDataLoss)
                    problems.Add("How much would be lost cannot be told without the server and the old primary. If that is acceptable: --accept-data-loss.");
            }
        }
        // Of a host that the server made primary in its last moments nobody else need know.
        var proven = record.State == EpochState.Moving ? record.Former?.Primary : null; // or the epoch would not have been given
        var silent = record.Candidates.Where(c => c != record.Primary && c != wish.Target && c != proven && Of(c) is null).ToList();
        if (silent.Count > 0 && wish.AssumeFenced is null)
            problems.Add($"{string.Join(" and ", silent)} {(silent.Count == 1 ? "does" : "do")} not answer either, and the server may have made {(silent.Count == 1 ? "it" : "one of them")} primary after the newest table that is known here. If you know that {(silent.Count == 1 ? "it takes" : "they take")} no writes, say so: --assume-fenced \"how you know\".");
    }

    private static long Highest(SavedHost host) => Math.Max(Math.Max(host.SeenEpoch, host.Reading?.MarkerEpoch ?? 0), Math.Max(host.PrimaryEpoch ?? 0, host.Promoting ?? 0));

    private static string Said(SavedHost host)
    {
        var reading = host.Reading;
        var what = reading is null ? "it reports no database" : reading.State.ToString().ToLowerInvariant();
        var at = reading?.Written is { } written ? $" at {written}" : reading is null ? "" : $" at {FailoverPlanner.Held(reading)}";
        var server = host.ServerSilence is { } silence ? string.Create(CultureInfo.InvariantCulture, $"the server last answered it {silence.TotalSeconds:0} s ago") : "it has not heard the server since it started";
        return $"{what}{at}, epoch {Highest(host)}; {server}";
    }

    private static string Word(EpochState state) => state switch { EpochState.Open => "open", EpochState.Closing => "closing", _ => "moving" };
}
