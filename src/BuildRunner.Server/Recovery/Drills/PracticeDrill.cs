using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Recovery.Failover;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Drills;

/// <summary>Practice: people recover by hand, and are timed.</summary>
internal sealed class PracticeDrill(DrillHouse house) : DrillSource(DrillPlanner.Practice, "failover", house)
{
    protected override IEnumerable<string> Complete(IDictionary<string, string> inputs, FailoverFacts facts, FailoverPlan plan)
    {
        if (People(inputs["participants"]).Length == 0)
            return ["Nobody takes part: name them, `--participants anna,ben`."];
        if (inputs["fault"] == "none")
            return [];
        return inputs["automatic"] == "true"
            ? ["The house fails over by itself before people could: announce it only (--announce-only), or switch automatic failover off for the practice.", .. plan.Problems]
            : plan.Problems;
    }

    protected override string Told(RunState state, string? primary) => state.Inputs.GetValueOrDefault("fault") == "none"
        ? $"practice, announced only (loss of {primary ?? "the primary's region"})"
        : $"practice ({state.Inputs.GetValueOrDefault("fault", "kill")} of the database in {primary ?? "the primary's region"})";

    protected override DrillRecord Add(DrillRecord record, RunState state, RunRecord? failover)
    {
        var times = PracticeTimes.Of(state, failover?.StartedAt, failover?.FinishedAt);
        return record with
        {
            DryRun = record.DryRun || state.Inputs.GetValueOrDefault("fault") == "none", // announced only: nothing was broken, so nothing is proven
            Participants = People(state.Inputs.GetValueOrDefault("participants", "")),
            DetectionMinutes = times.Detection?.TotalMinutes,
            DecisionMinutes = times.Decision?.TotalMinutes,
            RecoveryMinutes = times.Recovery?.TotalMinutes,
        };
    }

    private static string[] People(string names) => names.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
}
