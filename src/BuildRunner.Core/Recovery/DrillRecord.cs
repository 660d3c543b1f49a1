namespace BuildRunner.Core.Recovery;

/// <summary>What a drill came to. Null is unknown.</summary>
public sealed record DrillRecord
{
    /// <summary>What <see cref="AbortedBy"/> says when the drill's own bound ended it.</summary>
    public const string OutageMax = "outage_max";

    public int SchemaVersion { get; init; } = 1;
    public required string Id { get; init; }

    /// <summary>`scheduled` or `manual`.</summary>
    public required string Type { get; init; }

    /// <summary>`failover` or `scenario`.</summary>
    public required string Kind { get; init; }

    /// <summary>What was broken: `primary_region_failure` and how.</summary>
    public required string Scenario { get; init; }
    public required DateTimeOffset StartedAt { get; init; }
    public DateTimeOffset? EndedAt { get; init; }

    /// <summary>`success`, `failed` or `aborted`; of an evaluation alone `ready` or `refused`.</summary>
    public required string Outcome { get; init; }

    /// <summary>Who aborted it: a person, or <see cref="OutageMax"/>: the drill itself, because users would have waited too long. Null: nobody.</summary>
    public string? AbortedBy { get; init; }

    /// <summary>True: nothing was broken; it was only asked whether a drill could begin, and what it would do.</summary>
    public bool DryRun { get; init; }

    /// <summary>What was broken, where, when and for how long at most.</summary>
    public string? Faults { get; init; }

    /// <summary>Practice: the people who recovered by hand; null: the house did.</summary>
    public IReadOnlyList<string>? Participants { get; init; }

    /// <summary>Practice: from the fault until somebody said that they know of it, until the recovery was ordered, and until it was done.</summary>
    public double? DetectionMinutes { get; init; }
    public double? DecisionMinutes { get; init; }
    public double? RecoveryMinutes { get; init; }

    /// <summary>How long users could not write, as the gateways measured it; without traffic, from the fault until another region took writes.</summary>
    public double? RtoAchievedMinutes { get; init; }

    /// <summary>From the last kept to the last lost commit, once the old primary's WAL was read; 0 when nothing was lost.</summary>
    public double? RpoAchievedMinutes { get; init; }
    public required double RtoObjectiveMinutes { get; init; }
    public required double RpoObjectiveMinutes { get; init; }
    public required string Notes { get; init; }
    public string? From { get; init; }
    public string? To { get; init; }
    public double? OutageMs { get; init; }
    public long? LostCommits { get; init; }

    /// <summary>Run of the failover that recovered.</summary>
    public string? Failover { get; init; }
    public string? Proof { get; init; }
    public string? Actor { get; init; }
    public string? Reason { get; init; }
}

/// <summary>How the house stood before a drill, field by field; after it everything must be the same.</summary>
public sealed record DrillState
{
    public required string Primary { get; init; }
    public required IReadOnlyList<DrillRegion> Regions { get; init; }

    /// <summary>What each name answers: `name type value, value`.</summary>
    public required IReadOnlyList<string> Names { get; init; }

    /// <summary>Runs that hold writes.</summary>
    public required IReadOnlyList<string> Holds { get; init; }

    /// <summary>Each field that is not as it was, one clause; empty: all is.</summary>
    public static IReadOnlyList<string> Differences(DrillState before, DrillState after)
    {
        var differences = new List<string>();
        Compare("primary", before.Primary, after.Primary);
        Compare("names", string.Join("; ", before.Names), string.Join("; ", after.Names));
        Compare("holds", string.Join(", ", before.Holds), string.Join(", ", after.Holds));
        foreach (var region in before.Regions)
        {
            if (after.Regions.FirstOrDefault(r => r.Code == region.Code) is not { } now)
            {
                differences.Add($"{region.Code} is gone");
                continue;
            }
            Compare($"{region.Code}: role", region.State, now.State);
            Compare($"{region.Code}: follows", region.Following ?? "nobody", now.Following ?? "nobody");
            Compare($"{region.Code}: copies that stream from it", string.Join(", ", region.Copies), string.Join(", ", now.Copies));
            Compare($"{region.Code}: slots", string.Join(", ", region.Slots), string.Join(", ", now.Slots));
            Compare($"{region.Code}: health", region.Health, now.Health);
            Compare($"{region.Code}: traffic", region.Share, now.Share);
            Compare($"{region.Code}: fault", region.Fault ?? "none", now.Fault ?? "none");
            Compare($"{region.Code}: commits wait for", region.SyncNames, now.SyncNames);
        }
        return differences;

        void Compare(string what, string was, string now)
        {
            if (was != now)
                differences.Add($"{what} was {was}, and is {now}");
        }
    }
}

/// <param name="Code">Region.</param>
/// <param name="State">What its copy of the database is; `none`: it has no copy.</param>
/// <param name="Following">Region that it follows.</param>
/// <param name="Copies">Regions that stream from it.</param>
/// <param name="Slots">Replication slots that it keeps.</param>
/// <param name="Health">Verdict in force.</param>
/// <param name="Share">What it takes of its traffic.</param>
/// <param name="Fault">What a drill keeps broken there.</param>
/// <param name="SyncNames">Whose confirmation commits wait for.</param>
public sealed record DrillRegion(string Code, string State, string? Following, IReadOnlyList<string> Copies, IReadOnlyList<string> Slots, string Health, string Share, string? Fault, string SyncNames);
