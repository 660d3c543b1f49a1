namespace BuildRunner.Core.Routing;

/// <summary>Users' requests hour by hour, counted from the gateways' own counters; at most 14 days.</summary>
public sealed record TrafficHours
{
    public const int HoursMax = 14 * 24;

    /// <summary>An hour of which less was measured says nothing.</summary>
    public const int MinutesMin = 30;

    public int SchemaVersion { get; init; } = 1;

    /// <summary>Oldest first, one an hour that was measured.</summary>
    public IReadOnlyList<TrafficHour> Hours { get; init; } = [];

    /// <summary>How far each gateway's counter had been counted, by region.</summary>
    public IReadOnlyDictionary<string, TrafficMark> Marks { get; init; } = new Dictionary<string, TrafficMark>();
    public DateTimeOffset? At { get; init; }

    /// <summary>Counts on, about once a minute. A gateway that began anew counts from zero; one that is silent adds nothing. A gap of more than five minutes was not measured.</summary>
    public static TrafficHours Count(TrafficHours before, IReadOnlyDictionary<string, TrafficMark> now, DateTimeOffset at)
    {
        if (before.At is { } last && at <= last)
            return before;
        var measured = before.At is { } since && at - since <= TimeSpan.FromMinutes(5) && now.Count > 0;
        var marks = before.Marks.ToDictionary();
        long more = 0;
        foreach (var (region, mark) in now)
        {
            if (before.Marks.TryGetValue(region, out var known))
                more += known.Incarnation == mark.Incarnation ? Math.Max(0, mark.Requests - known.Requests) : mark.Requests;
            marks[region] = mark;
        }
        if (!measured)
            return before with { Marks = marks, At = at };
        var hour = new DateTimeOffset(at.UtcDateTime.Date.AddHours(at.UtcDateTime.Hour), TimeSpan.Zero);
        var minutes = (at - before.At!.Value).TotalMinutes;
        var hours = before.Hours.ToList();
        if (hours.Count > 0 && hours[^1].Begin == hour)
            hours[^1] = hours[^1] with { Requests = hours[^1].Requests + more, Minutes = Math.Min(60, hours[^1].Minutes + minutes) };
        else
            hours.Add(new(hour, more, Math.Min(60, minutes)));
        return before with { Hours = [.. hours.Skip(Math.Max(0, hours.Count - HoursMax))], Marks = marks, At = at };
    }

    /// <summary>The hour of the day (UTC) with the fewest requests; null while an hour of the day has never been measured.</summary>
    public QuietHour? Quietest(DateTimeOffset now)
    {
        var perHour = Hours.Where(h => h.Minutes >= MinutesMin).GroupBy(h => h.Begin.UtcDateTime.Hour).Select(g => (Hour: g.Key, Rate: g.Sum(h => h.Requests) / (g.Sum(h => h.Minutes) * 60), Days: g.Count())).ToList();
        if (perHour.Count < 24)
            return null;
        var best = perHour.OrderBy(h => h.Rate).ThenBy(h => h.Hour).First();
        var today = new DateTimeOffset(now.UtcDateTime.Date.AddHours(best.Hour), TimeSpan.Zero);
        return new(today > now ? today : today.AddDays(1), best.Rate, perHour.Average(h => h.Rate), best.Days);
    }
}

/// <summary>An hour: requests, and how many of its minutes were measured.</summary>
public sealed record TrafficHour(DateTimeOffset Begin, long Requests, double Minutes);

/// <summary>A gateway's counter as it was last read.</summary>
public sealed record TrafficMark(string Incarnation, long Requests);

/// <summary>The next quietest hour, its requests a second, those of an average hour, and over how many days it was measured.</summary>
public sealed record QuietHour(DateTimeOffset Begin, double Rate, double MeanRate, int Days);
