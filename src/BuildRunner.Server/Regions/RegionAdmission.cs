using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;

namespace BuildRunner.Server.Regions;

/// <summary>Whether a region's share may be changed: the last region that can serve is never taken away.</summary>
internal static class RegionAdmission
{
    public static (IReadOnlyList<string> Problems, IReadOnlyList<string> Notes) Decide(
        string runbook, IReadOnlyDictionary<string, string> inputs, PolicyDocument policy,
        IReadOnlyList<RegionVerdict> verdicts, IReadOnlyDictionary<string, RegionControl> controls, string? primary)
    {
        var code = inputs.GetValueOrDefault("region") ?? "";
        if (policy.Regions.FirstOrDefault(r => r.Code == code) is not { } region)
            return ([$"There is no region '{code}'; the policy names {string.Join(", ", policy.Regions.Select(r => r.Code))}."], []);

        var weight = 100;
        if (inputs.TryGetValue("weight", out var text) && (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out weight) || weight > 100))
            return ([$"'{text}' is not a weight; it is a whole number from 0 to 100."], []);
        var control = controls.GetValueOrDefault(code) ?? new RegionControl();
        var takesAway = runbook == RegionRunbooks.Drain || (runbook == RegionRunbooks.Weight && weight == 0);

        var problems = new List<string>();
        var notes = new List<string>();
        if (takesAway && Serves(region, policy) && !policy.Regions.Any(r => r.Code != code && CanServe(r, policy, verdicts, controls)))
            problems.Add($"{code} is the last region that can serve: every other one is down, unknown, drained, or runs no service. Bring one back first (`br regions health`).");
        if (takesAway && primary == code)
            notes.Add($"{code} is the database's primary: writes still go there. To move them: `br dr failover --target REGION`.");
        if (runbook == RegionRunbooks.Drain && control.Draining)
            notes.Add($"{code} is drained already.");
        if (runbook == RegionRunbooks.Undrain && !control.Draining)
            notes.Add($"{code} is not drained.");
        return (problems, notes);
    }

    private static bool CanServe(RegionDefinition region, PolicyDocument policy, IReadOnlyList<RegionVerdict> verdicts, IReadOnlyDictionary<string, RegionControl> controls)
    {
        var control = controls.GetValueOrDefault(region.Code) ?? new RegionControl();
        return Serves(region, policy)
            && !control.Draining && control.Weight > 0
            && verdicts.FirstOrDefault(v => v.Code == region.Code)?.Health is HealthState.Healthy or HealthState.Degraded;
    }

    /// <summary>An edge hands everything on: it can stand in for nobody.</summary>
    private static bool Serves(RegionDefinition region, PolicyDocument policy) => policy.Services.Any(s => ProbePlanner.RunsIn(s, region));
}
