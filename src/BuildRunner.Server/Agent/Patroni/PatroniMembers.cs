namespace BuildRunner.Server.Agent.Patroni;

/// <summary>
/// Who belongs to a cluster, remembered beyond its list: a member whose Patroni dies falls out of the list within a lock's length, and its PostgreSQL may go on
/// taking writes.
/// </summary>
internal static class PatroniMembers
{
    /// <summary>One that was not listed for so long was taken out on purpose.</summary>
    public static readonly TimeSpan Kept = TimeSpan.FromDays(1);

    /// <summary>Times are kept to the hour, so that what has not changed is not written again.</summary>
    private static readonly TimeSpan Grain = TimeSpan.FromHours(1);
    private const int Most = 64;

    /// <summary>What is remembered after a look: the same list when there is nothing new.</summary>
    public static IReadOnlyList<MemberNote> Remember(IReadOnlyList<MemberNote> known, PatroniCluster cluster, DateTimeOffset now)
    {
        var listed = cluster.Members.Where(m => m.Postgres is not null).ToDictionary(m => m.Name, m => m.Postgres!.Value);
        var next = known.Where(k => now - k.Listed < Kept && !listed.ContainsKey(k.Name)).ToList();
        foreach (var (name, (host, port)) in listed)
        {
            var before = known.FirstOrDefault(k => k.Name == name && k.Host == host && k.Port == port);
            next.Add(before is not null && now - before.Listed < Grain ? before : new MemberNote(name, host, port, now));
        }
        next = [.. next.OrderBy(k => k.Name, StringComparer.Ordinal).TakeLast(Most)];
        return next.SequenceEqual(known) ? known : next;
    }

    /// <summary>Those that the cluster does not list now: what they do has to be asked of them.</summary>
    public static IEnumerable<MemberNote> Unlisted(IReadOnlyList<MemberNote> known, PatroniCluster cluster, DateTimeOffset now) =>
        known.Where(k => now - k.Listed < Kept && cluster.Members.All(m => m.Name != k.Name));
}
