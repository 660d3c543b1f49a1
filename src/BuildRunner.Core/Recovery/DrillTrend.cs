using System.Text.Json.Serialization;

namespace BuildRunner.Core.Recovery;

/// <summary>How recovery got on from drill to drill, against the objectives of each day. Null is unknown.</summary>
public sealed record DrillTrend
{
    public required string Kind { get; init; }

    /// <summary>Drills done for real; how many succeeded; how many of all met both objectives.</summary>
    public required int Drills { get; init; }
    public required int Succeeded { get; init; }
    public required int Met { get; init; }

    public double? RtoMedianMinutes { get; init; }
    public double? RtoWorstMinutes { get; init; }
    public double? RpoWorstMinutes { get; init; }
    public required TrendDirection Direction { get; init; }

    /// <summary>The oldest first; at most <see cref="PointsMax"/>.</summary>
    public required IReadOnlyList<DrillPoint> Points { get; init; }

    public const int PointsMax = 52;

    /// <summary>So many drills stand on each side of a comparison, at most.</summary>
    private const int Side = 3;

    /// <summary>Less than this is no change.</summary>
    private const double Change = 0.1;

    /// <param name="drills">In any order; evaluations and drills that a person aborted prove nothing and are left out.</param>
    public static IReadOnlyList<DrillTrend> Of(IEnumerable<DrillRecord> drills) =>
    [
        .. drills.Where(d => !d.DryRun && (d.Outcome != "aborted" || d.AbortedBy == DrillRecord.OutageMax)).GroupBy(d => d.Kind).OrderBy(g => g.Key, StringComparer.Ordinal)
            .Select(g => Of(g.Key, [.. g.OrderBy(d => d.StartedAt)])),
    ];

    private static DrillTrend Of(string kind, IReadOnlyList<DrillRecord> drills)
    {
        var rto = drills.Select(d => d.RtoAchievedMinutes).OfType<double>().ToList();
        return new()
        {
            Kind = kind,
            Drills = drills.Count,
            Succeeded = drills.Count(d => d.Outcome == "success"),
            Met = drills.Count(d => Meets(d) == true),
            RtoMedianMinutes = Median(rto),
            RtoWorstMinutes = rto.Count > 0 ? rto.Max() : null,
            RpoWorstMinutes = drills.Select(d => d.RpoAchievedMinutes).OfType<double>().Cast<double?>().DefaultIfEmpty().Max(),
            Direction = Turn(rto),
            Points = [.. drills.TakeLast(PointsMax).Select(d => new DrillPoint(d.Id, d.StartedAt, d.RtoAchievedMinutes, d.RtoObjectiveMinutes, d.RpoAchievedMinutes, d.RpoObjectiveMinutes, Meets(d)))],
        };
    }

    /// <summary>Whether it succeeded within both objectives; null: a figure is unknown.</summary>
    public static bool? Meets(DrillRecord drill) =>
        drill.Outcome != "success" || drill.RtoAchievedMinutes > drill.RtoObjectiveMinutes || drill.RpoAchievedMinutes > drill.RpoObjectiveMinutes ? false
        : drill.RtoAchievedMinutes is null || drill.RpoAchievedMinutes is null ? null
        : true;

    private static TrendDirection Turn(List<double> rto)
    {
        if (rto.Count < 2)
            return TrendDirection.Unknown;
        var side = Math.Min(Side, rto.Count / 2);
        var (before, now) = (Median([.. rto.Take(rto.Count - side).TakeLast(side)])!.Value, Median([.. rto.TakeLast(side)])!.Value);
        return now < before * (1 - Change) ? TrendDirection.Faster : now > before * (1 + Change) ? TrendDirection.Slower : TrendDirection.Steady;
    }

    private static double? Median(List<double> values)
    {
        if (values.Count == 0)
            return null;
        var sorted = values.Order().ToList();
        return sorted.Count % 2 == 1 ? sorted[sorted.Count / 2] : (sorted[(sorted.Count / 2) - 1] + sorted[sorted.Count / 2]) / 2;
    }
}

/// <summary>A drill's figures. <paramref name="Met"/>: within both objectives; null: a figure is unknown.</summary>
public sealed record DrillPoint(string Id, DateTimeOffset At, double? RtoMinutes, double RtoObjectiveMinutes, double? RpoMinutes, double RpoObjectiveMinutes, bool? Met);

/// <summary>How long users waited in the last drills, against those before.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<TrendDirection>))]
public enum TrendDirection
{
    /// <summary>Fewer than two drills were measured.</summary>
    Unknown,
    Faster,
    Steady,
    Slower,
}
