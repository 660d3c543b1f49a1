namespace BuildRunner.Core.Runbooks;

/// <summary>How long runs of a runbook have taken, from the measured steps of those that ended well.</summary>
public static class RunTimes
{
    /// <summary>The newest runs that count.</summary>
    public const int RunsMax = 10;

    /// <summary>The middle one; null: there is none.</summary>
    public static double? Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToList();
        return sorted.Count > 0 ? sorted[sorted.Count / 2] : null;
    }

    /// <summary>Sum of the steps' medians until traffic resumes, in milliseconds; null: no run has been measured.</summary>
    public static double? Expected(Runbook runbook, IReadOnlyList<IReadOnlyDictionary<string, double>> runs) =>
        runs.Count == 0 ? null : runbook.Steps.Where(s => !s.AfterResume).Sum(s => Median(runs.Where(r => r.ContainsKey(s.Id)).Select(r => r[s.Id])) ?? 0);

    /// <summary>`about 3 s`, `about 12 min`: no more exact than it is.</summary>
    public static string About(double milliseconds) => milliseconds switch
    {
        < 1000 => "less than a second",
        < 90_000 => string.Create(CultureInfo.InvariantCulture, $"about {milliseconds / 1000:0} s"),
        _ => string.Create(CultureInfo.InvariantCulture, $"about {milliseconds / 60_000:0} min"),
    };
}
