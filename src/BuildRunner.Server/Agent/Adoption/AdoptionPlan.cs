using BuildRunner.Client.Databases;

namespace BuildRunner.Server.Agent.Adoption;

/// <summary>What the server and the agent's start say that the PostgreSQL is to become.</summary>
internal sealed record AdoptionWish
{
    public required string Region { get; init; }
    public required string Host { get; init; }
    public required int Port { get; init; }
    public required DatabaseAssignment Assignment { get; init; }

    /// <summary>A copy: the number of the primary's cluster; null: the primary did not say.</summary>
    public string? PrimarySystem { get; init; }

    /// <summary>Secrets that are needed and not there.</summary>
    public IReadOnlyList<string> MissingSecrets { get; init; } = [];
}

/// <summary>What stands against taking a PostgreSQL over, what is done to it, and what a person should know.</summary>
internal sealed record AdoptionPlan(IReadOnlyList<string> Problems, IReadOnlyList<string> Changes, IReadOnlyList<string> Notes)
{
    private const int MajorMin = 15;
    private const int MajorMax = 18;

    /// <summary>A copy, its base backup, a rejoin, the gate, and one to spare.</summary>
    private const int PlacesMin = 5;

    /// <summary>Decides from what was found; every problem is said at once.</summary>
    public static AdoptionPlan Of(FoundServer found, AdoptionWish wish)
    {
        var plan = new AdoptionPlan([.. Against(found, wish)], [.. Acts(found, wish)], [.. Remarks(found, wish)]);
        return plan.Problems.Count == 0 ? plan : plan with { Changes = [] };
    }

    private static IEnumerable<string> Against(FoundServer found, AdoptionWish wish)
    {
        var (said, assignment, region) = (found.Said, wish.Assignment, wish.Region);
        if (assignment.Duty == DatabaseDuty.Keep)
            yield return $"The server has not said yet what the database of {region} is to do: its first primary is adopted or made first, and no run may be moving it.";
        else if (assignment.Duty == DatabaseDuty.Primary && said.InRecovery)
            yield return $"The PostgreSQL in {found.Folder} is a standby, and {region} is to be the primary of {assignment.Name}. Promote it first, or make the region in which its primary runs the policy's primary.";
        else if (assignment.Duty == DatabaseDuty.Standby && !said.InRecovery)
            yield return $"The PostgreSQL in {found.Folder} takes writes, and {region} is to be a copy of {assignment.Primary}. What it holds would be lost: start the agent without --adopt to have a copy made elsewhere, or change the policy's primary.";
        if (assignment.Duty == DatabaseDuty.Standby && said.InRecovery && wish.PrimarySystem != said.System)
        {
            yield return wish.PrimarySystem is { } system
                ? $"The PostgreSQL in {found.Folder} is a copy of another database (system {said.System}) than the one in {assignment.Primary} (system {system})."
                : $"The primary in {assignment.Primary} did not say which database it holds; a copy is adopted only when it is known to be one of that.";
        }
        if (!said.Superuser)
            yield return "The role postgres is no superuser there; promotion, sealing and fencing need one.";
        if (said.Major is < MajorMin or > MajorMax)
            yield return $"It is PostgreSQL {said.Version}; versions {MajorMin} to {MajorMax} are adopted.";
        else if (found.ProgramsMajor != said.Major)
            yield return $"It is PostgreSQL {said.Version}, and the agent's programs are {(found.ProgramsMajor is { } major ? $"of version {major}" : "of an unknown version")}: start the agent with --postgres-bin and the folder of version {said.Major}'s.";
        if (found.Port != wish.Port)
            yield return $"It listens on port {found.Port}, and the agent was started with --database-port {wish.Port}: applications, copies and the policy have to agree on one.";
        if (!said.Databases.Contains(assignment.DatabaseName))
            yield return $"It has no database {assignment.DatabaseName} (it has {List(said.Databases)}): say in the policy which one it is (databases: {assignment.Name}: database_name).";
        if (!said.Roles.Contains(assignment.User))
            yield return $"It has no role {assignment.User} that may log in (it has {List(said.Roles)}): say in the policy as whom applications come (databases: {assignment.Name}: user).";
        if (found.Marker is { } marker && assignment.Duty == DatabaseDuty.Primary)
            yield return $"It bears the marker of epoch {marker} already: it has been under a BuildRunner before. Where that one's store is lost, drop the schema buildrunner in {assignment.DatabaseName} once you know that no other copy takes writes.";
        if (!said.Statements)
            yield return "The extension pg_stat_statements is not installed on the host (Debian: it comes with postgresql-15 itself; elsewhere with postgresql-contrib).";
        if (said.Tablespaces.Count > 0)
            yield return $"It has tablespaces ({List(said.Tablespaces)}), which copies and rejoins do not handle.";
        foreach (var secret in wish.MissingSecrets)
            yield return $"The agent's secret `{secret}` is missing (--secrets).";
        foreach (var problem in found.DiskProblems)
            yield return problem;
        if (found.Broken)
            yield return $"Its configuration ({said.ConfigFile}) was written or closed by BuildRunner: an adoption was broken off there. Put its own back first (the agent's folder keeps it under postgres/before-adoption) and start it by that.";
        // What its next start would meet, that start shows: it is its owner's, and is not had here.
        var waiting = said.Pending.Concat(said.Files.Where(f => f.Error is not null && IsLater(f)).Select(f => f.Name ?? "a line"))
            .Except(said.Arguments.Select(a => a.Name!), StringComparer.OrdinalIgnoreCase).Distinct().Order(StringComparer.Ordinal).ToList();
        if (waiting.Count > 0)
            yield return $"Settings in its files are not in force: {List(waiting)}. They are wrong, or wait for a restart, which might fail by them: restart it yourself once, and adopt it then.";
        foreach (var broken in said.Files.Where(f => f.Error is not null && !IsLater(f)))
            yield return $"Its configuration has an error, and its next start would fail: {broken.Name ?? "a line"}: {broken.Error}.";
        foreach (var rule in said.Rules)
            yield return $"Its access rules have an error, and its next start would fail: {rule}.";
        if (Places(said, "max_wal_senders") is { } senders && senders < PlacesMin)
            yield return $"max_wal_senders is {senders}, and copies need {PlacesMin}: raise it, and restart it yourself once.";
        if (Places(said, "max_replication_slots") is { } slots && slots < PlacesMin)
            yield return $"max_replication_slots is {slots}, and copies need {PlacesMin}: raise it, and restart it yourself once.";
    }

    private static IEnumerable<string> Acts(FoundServer found, AdoptionWish wish)
    {
        var (said, assignment) = (found.Said, wish.Assignment);
        yield return $"PostgreSQL {said.Version} in {found.Folder} (process {found.Process}) is restarted once, under a guard: its {said.Sessions} session{(said.Sessions == 1 ? " is" : "s are")} cut";
        yield return $"its settings and access rules go on, in postgresql.user.conf and pg_hba.user.conf in {found.Folder}, and the former files are kept in the agent's folder";
        if (IsElsewhere(found))
            yield return $"{said.ConfigFile} gets a first line by which nobody starts it from there any more";
        if (assignment.Duty == DatabaseDuty.Standby)
            yield return $"it follows {assignment.Primary} as br_replication; from then on its data may be replaced by a copy of the primary's";
        else
            yield return $"the role br_replication is made, and in {assignment.DatabaseName} the schema buildrunner and the extension pg_stat_statements";
    }

    private static IEnumerable<string> Remarks(FoundServer found, AdoptionWish wish)
    {
        var said = found.Said;
        if (found.Starter is { } starter)
            yield return $"it was started by {starter}, which is not to start it any more: switch it off there afterwards; if it starts it again after every clean stop, before";
        if (!IsElsewhere(found))
            yield return "its configuration lies in the data directory, where the guard's permit keeps it from being started otherwise; a guard that is killed leaves that until the agent looks: whatever started it must be switched off for good";
        if (found.Variables.Count > 0)
            yield return $"variables that it was started with and that the agent does not have are gone, which an archive command may need: {List(found.Variables)}; give them to the agent's service";
        if (AdoptionFiles.Dropped(said) is { Count: > 0 } dropped)
            yield return $"settings that are BuildRunner's from then on: {List(dropped)}";
        if (AdoptionFiles.LacksStatements(said))
            yield return "shared_preload_libraries in postgresql.auto.conf lacks pg_stat_statements: statements are not measured until it is added there";
        if (AdoptionFiles.OfTheHost(said) is { Count: > 0 } host)
            yield return $"every host with a copy needs what these settings name: {List(host)}";
        if (said.SyncNames.Length > 0)
            yield return $"commits wait no more for '{said.SyncNames}' but for whom the policy says (recovery.replication)";
        if (said.LocalMethods.Any(m => m != "peer"))
            yield return "over its sockets the superuser postgres comes as the system's users postgres and the agent's only: no more by password, trust or a map";
        if (said.InForce.GetValueOrDefault("max_slot_wal_keep_size") == "-1")
            yield return "max_slot_wal_keep_size is -1: a copy that stays away has WAL kept for it until the disk is full; set it in postgresql.user.conf";
        if (said.Receivers > 0 && wish.Assignment.Duty == DatabaseDuty.Primary)
            yield return $"{said.Receivers} that stream from it go on; those that are regions of the policy are adopted next";
        if (!said.Checksums)
            yield return "it has no data checksums: wal_log_hints is switched on, so that it can be rewound";
    }

    /// <summary>So it says both of a value that is wrong and of one that takes effect at the next start.</summary>
    private static bool IsLater(FoundSetting setting) => setting.Error?.Contains("could not be applied", StringComparison.Ordinal) == true;

    private static int? Places(FoundAnswers said, string name) =>
        said.InForce.TryGetValue(name, out var value) && int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var places) ? places : null;

    /// <summary>It is started by another file than the one that the agent writes.</summary>
    public static bool IsElsewhere(FoundServer found) => found.Said.ConfigFile != $"{found.Folder}/postgresql.conf";

    private static string List(IReadOnlyList<string> names) => names.Count switch
    {
        0 => "none",
        <= 8 => string.Join(", ", names),
        _ => $"{string.Join(", ", names.Take(8))} and {names.Count - 8} more",
    };
}
