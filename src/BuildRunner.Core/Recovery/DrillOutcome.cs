using BuildRunner.Core.Runbooks;

namespace BuildRunner.Core.Recovery;

/// <summary>What a drill's run says about recovery.</summary>
public static class DrillOutcome
{
    /// <summary>Steps in which the house, or people, recover: when one of them refuses to go on, users have waited long enough.</summary>
    private static readonly string[] Waits = ["recovered", "endured"];

    /// <returns>`success`, `failed` or `aborted`, and who aborted it.</returns>
    public static (string Outcome, string? AbortedBy) Of(RunState state, RunPhase end) => end switch
    {
        RunPhase.Succeeded => ("success", null),
        RunPhase.Aborted => ("aborted", state.AbortedBy),
        // Taken back as a whole: nothing was moved, and everything is as it was.
        RunPhase.Refused or RunPhase.RolledBack when state.Steps.Any(s => s.Refused && Waits.Contains(s.Step.Id)) => ("aborted", DrillRecord.OutageMax),
        _ => ("failed", null),
    };

    /// <summary>What a person should read of it.</summary>
    public static string Notes(RunState state, RunPhase end, IReadOnlyList<string> warnings)
    {
        if (end == RunPhase.Succeeded)
            return $"Drill completed successfully: everything is as it was{(warnings.Count > 0 ? $". {string.Join(" ", warnings)}" : "")}";
        var failed = state.Steps.Where(s => s.Error is not null).Select(s => $"{s.Step.Id}: {s.Error}");
        return string.Join(" ", new[] { string.Join(" ", failed), state.Outcome ?? "", state.Person ?? "" }.Where(t => t.Length > 0).Distinct());
    }
}
