using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Recovery.Failover;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Switchover;

/// <summary>A planned move with what only this room knows: the plan before, and after it the report that a failover has too.</summary>
internal class SwitchoverSource(string runbook, FailoverReader reader, FailoverReports reports) : RunbookSource(runbook)
{
    public override string? WhyNot(PolicyDocument policy, bool automatic) => automatic ? policy.WhyNoAutomaticFailover(frozen: false) : policy.WhyNoFailover();

    public override async Task<RunAdmission> AdmitAsync(IReadOnlyDictionary<string, string> inputs, CancellationToken cancel)
    {
        var facts = await reader.ReadAsync(inputs.GetValueOrDefault("database", "main"), cancel);
        var plan = SwitchoverPlanner.Plan(facts, new SwitchoverWish { Target = inputs.GetValueOrDefault("target") });
        var complete = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var (name, value) in inputs)
            complete[name] = value;
        if (plan.Target is { } target)
            complete["target"] = target;
        return new RunAdmission(complete, plan.Problems, plan.Notes);
    }

    public override Task<RunReport?> ReportAsync(RunState state, RunPhase outcome, CancellationToken cancel) => reports.OfAsync(state, outcome, cancel);
}

internal sealed class PlannedMove(FailoverReader reader, FailoverReports reports) : SwitchoverSource(FailoverRunbook.Switchover, reader, reports);

internal sealed class Failback(FailoverReader reader, FailoverReports reports) : SwitchoverSource(FailoverRunbook.Failback, reader, reports);
