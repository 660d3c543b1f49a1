using BuildRunner.Core.Policy;

namespace BuildRunner.Core.Runbooks;

/// <summary>The regions and databases that a runbook names by itself: each must be one of the policy's.</summary>
public static class RunbookTargets
{
    private static readonly string[] RegionNames = ["region", "target", "from_region", "to_region"];
    private const string DatabaseName = "database";

    /// <summary>One sentence for each name that the policy does not know; where the policy names no region, nothing is judged.</summary>
    public static IReadOnlyList<string> Missing(Runbook runbook, IReadOnlyCollection<string> regions, IReadOnlyCollection<string> databases)
    {
        if (regions.Count == 0)
            return [];
        var wrong = new List<string>();
        foreach (var input in runbook.Inputs)
        {
            foreach (var value in (input.Values ?? []).Append(input.Default ?? ""))
                Look($"Input '{input.Name}'", input.Name, value);
        }
        foreach (var step in runbook.Steps)
        {
            foreach (var (name, value) in step.With.Concat(RunbookCheck.Calls(step).SelectMany(c => c.Call.With)))
                Look($"Step '{step.Id}'", name, value);
        }
        return [.. wrong.Distinct(StringComparer.Ordinal)];

        void Look(string where, string name, string value)
        {
            if (value.Length == 0 || value.Contains("${", StringComparison.Ordinal))
                return; // filled in when it is known
            if (RegionNames.Contains(name) && !regions.Contains(value))
                wrong.Add($"{where} of runbook '{runbook.Name}' names the region '{value}', which the policy does not have. {Nearest.Fix(value, regions)}");
            else if (name == DatabaseName && !databases.Contains(value))
                wrong.Add($"{where} of runbook '{runbook.Name}' names the database '{value}', which the policy does not have. {Nearest.Fix(value, databases)}");
        }
    }
}
