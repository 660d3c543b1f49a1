using BuildRunner.Core.Policy;

namespace BuildRunner.Core.Recovery;

/// <summary>Whether recovery would work tonight, in one verdict with every reason.</summary>
public sealed record Readiness(ReadinessVerdict Verdict, string Sentence, IReadOnlyList<ReadinessFinding> Findings)
{
    /// <summary>How often everything is evaluated.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromMinutes(5);

    /// <summary>How soon again while something is wrong or not known: a moment's trouble must not stand for long, nor wake anybody.</summary>
    public static readonly TimeSpan Again = TimeSpan.FromSeconds(30);

    /// <summary>An evaluation that is older says nothing about now.</summary>
    public static readonly TimeSpan AgeMax = 3 * Interval;

    public static Readiness Decide(ReadinessReading reading)
    {
        var findings = DatabaseReadiness.Findings(reading)
            .Concat(RunbookFindings(reading))
            .Concat(HouseReadiness.Findings(reading))
            .Concat(reading.Told)
            .DistinctBy(f => (f.Key, f.Reason))
            .OrderByDescending(f => f.Severity).ThenBy(f => f.Code, StringComparer.Ordinal).ThenBy(f => f.Key, StringComparer.Ordinal)
            .ToList();
        var verdict = findings.Select(f => (ReadinessSeverity?)f.Severity).Max() switch
        {
            ReadinessSeverity.Red => ReadinessVerdict.NotReady,
            ReadinessSeverity.Unknown => ReadinessVerdict.Unknown,
            ReadinessSeverity.Warning => ReadinessVerdict.ReadyWithWarnings,
            _ => ReadinessVerdict.Ready,
        };
        return new(verdict, Say(verdict, findings), findings);
    }

    /// <summary>Keeps since when each thing has been found.</summary>
    public static IReadOnlyList<ReadinessFinding> Dated(IReadOnlyList<ReadinessFinding> findings, IReadOnlyList<ReadinessFinding> before, DateTimeOffset now) =>
        [.. findings.Select(f => f with { Since = before.FirstOrDefault(b => b.Key == f.Key && b.Severity == f.Severity)?.Since ?? now })];

    /// <summary>Whether it is time to evaluate again.</summary>
    public static bool IsDue(ReadinessVerdict? last, DateTimeOffset? at, bool changed, DateTimeOffset now) =>
        at is not { } then || changed || now < then || now - then >= (last is ReadinessVerdict.NotReady or ReadinessVerdict.Unknown ? Again : Interval);

    private static string Say(ReadinessVerdict verdict, List<ReadinessFinding> findings)
    {
        var first = findings.FirstOrDefault()?.Reason;
        var count = findings.Count(f => f.Severity == findings[0].Severity);
        var more = count > 1 ? string.Create(CultureInfo.InvariantCulture, $" ({count} reasons)") : "";
        return verdict switch
        {
            ReadinessVerdict.NotReady => $"Not ready{more}: {first}",
            ReadinessVerdict.Unknown => $"Whether recovery would work cannot be told{more}: {first}",
            ReadinessVerdict.ReadyWithWarnings => string.Create(CultureInfo.InvariantCulture, $"Ready, with {findings.Count} warning{(findings.Count == 1 ? "" : "s")}."),
            _ => "Ready: everything that a recovery needs was found well.",
        };
    }

    private static IEnumerable<ReadinessFinding> RunbookFindings(ReadinessReading reading)
    {
        foreach (var runbook in reading.Runbooks)
        {
            if (!runbook.Sound)
            {
                foreach (var problem in runbook.Problems.DefaultIfEmpty($"The runbook '{runbook.Name}' cannot be run."))
                    yield return Of("runbook.bad", ReadinessSeverity.Red, problem, $"Mend its text; `br runbook show {runbook.Name}` says what is wrong.");
                continue;
            }
            // While a run moves the database nothing else can begin over it, and that is as it should be.
            if (reading.Databases.All(d => d.Run is null || d.Facts.Database != runbook.Database))
            {
                // A planned move can wait for a better moment; recovery cannot.
                var severity = FailoverRunbook.Moves(runbook.Name) && runbook.Name != FailoverRunbook.Name ? ReadinessSeverity.Warning : ReadinessSeverity.Red;
                foreach (var problem in runbook.Problems)
                    yield return Of("runbook.refused", severity, $"'{runbook.Name}' would be refused: {problem}", $"See `br runbook evaluate {runbook.Name}`.");
            }
            foreach (var warning in runbook.Warnings)
                yield return Of("runbook.warning", ReadinessSeverity.Warning, warning, $"`br runbook show {runbook.Name}` shows it.");

            ReadinessFinding Of(string code, ReadinessSeverity severity, string reason, string remedy) =>
                new() { Code = code, Severity = severity, Reason = reason, Remedy = remedy, Runbook = runbook.Name, Database = runbook.Database };
        }
        if (reading.Policy.Mode == PolicyMode.Observe)
        {
            yield return new()
            {
                Code = "mode.observe", Severity = ReadinessSeverity.Warning,
                Reason = "The policy says `mode: observe`: every run is refused and nothing is touched.", Remedy = "Set `mode: act` when people should be able to act.",
            };
        }
    }
}
