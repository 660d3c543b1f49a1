using System.Text.Json;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Recovery.Failover;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Drills;

/// <summary>The runbook `drill-failover` with what only this room knows: whether all is well enough to break it, and what came of it.</summary>
internal sealed class DrillSource(FailoverReader reader, DrillStateReader states, RunRecords runs, IPolicySource policy) : RunbookSource(Runbook)
{
    public const string Runbook = "drill-failover";

    public override string? WhyNot(PolicyDocument document, bool automatic) => document.WhyNoFailover() ?? (automatic ? document.WhyNoAutomaticAct(frozen: false) : null);

    public override async Task<RunAdmission> AdmitAsync(IReadOnlyDictionary<string, string> inputs, CancellationToken cancel)
    {
        var database = inputs.GetValueOrDefault("database", "main");
        var facts = await reader.ReadAsync(database, cancel);
        var plan = FailoverPlanner.Plan(facts, new FailoverWish { Target = inputs.GetValueOrDefault("target") is { Length: > 0 } target ? target : null });
        var complete = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var (name, value) in inputs)
            complete[name] = value;
        complete["automatic"] = policy.Current.WhyNoAutomaticFailover(policy.Freeze is not null) is null ? "true" : "false";
        return new RunAdmission(complete, [.. Problems(facts, await states.ReadAsync(database, cancel)), .. plan.Problems], plan.Notes);
    }

    public override async Task<RunReport?> ReportAsync(RunState state, RunPhase outcome, CancellationToken cancel)
    {
        var failover = (await runs.ListAsync(cancel)).FirstOrDefault(r => IsRecovery(r, state.Run, state.StartedAt, state.Inputs.GetValueOrDefault("database", "main")));
        var report = failover?.Report is { } data ? JsonSerializer.Deserialize(data, RecoveryJson.Default.FailoverReport) : null;
        string? Output(string name) => state.Outputs.TryGetValue(name, out var value) ? value : null;
        var objectives = policy.Current.Recovery;
        var outage = failover?.OutageMs ?? (double.TryParse(Output("recovered.ms"), CultureInfo.InvariantCulture, out var ms) ? ms : null);
        var record = new DrillRecord
        {
            Id = state.Run,
            Type = "manual",
            Kind = "failover",
            Scenario = $"primary_region_failure ({state.Inputs.GetValueOrDefault("fault", "kill")} of the database in {Output("begin.primary") ?? "the primary's region"})",
            StartedAt = state.StartedAt,
            EndedAt = state.FinishedAt,
            Outcome = outcome switch { RunPhase.Succeeded => "success", RunPhase.Aborted => "aborted", _ => "failed" },
            RtoAchievedMinutes = outage / 60_000,
            RpoAchievedMinutes = failover?.Lost is { Commits: 0 } ? 0 : failover?.Lost?.Seconds / 60,
            RtoObjectiveMinutes = objectives.Rto.TotalMinutes,
            RpoObjectiveMinutes = objectives.Rpo.TotalMinutes,
            Notes = Notes(state, outcome, report),
            From = Output("begin.primary"),
            To = failover?.Inputs.GetValueOrDefault("target"),
            OutageMs = outage,
            LostCommits = failover?.Lost?.Commits,
            Failover = failover?.Id,
            Proof = report?.Proof?.Kind.ToString().ToLowerInvariant(),
            Actor = state.Actor,
            Reason = state.Reason,
        };
        return new RunReport(JsonSerializer.SerializeToElement(record, DrillsJson.Default.DrillRecord), failover?.OutageMs, failover?.Lost);
    }

    /// <summary>The failover that a drill's fault led to: its own child, or the one that the house began by itself.</summary>
    public static bool IsRecovery(RunRecord run, string drill, DateTimeOffset since, string database) =>
        run.Runbook == FailoverRunbook.Name && run.StartedAt >= since && run.Inputs.GetValueOrDefault("database", "main") == database && (run.Parent is null || run.Parent == drill);

    private static IEnumerable<string> Problems(FailoverFacts facts, DrillState? state)
    {
        if (facts.Record is not { State: EpochState.Open } record)
        {
            yield return $"{facts.Database} is being moved, or has never been open: a drill begins when all is well. Look at `br dr status`.";
            yield break;
        }
        foreach (var region in facts.Regions.Where(r => r.Health is not HealthState.Healthy))
            yield return $"{region.Code} is {Words.Of(region.Health)}{(region.HealthReason.Length > 0 ? $" ({region.HealthReason})" : "")}: a drill begins when all is well. Mend it first.";
        foreach (var code in record.Candidates.Where(c => c != record.Primary))
        {
            if (facts.Region(code) is not { Reading: { State: DatabaseState.Standby, Streaming: true } })
                yield return $"The copy in {code} does not stream from {record.Primary}: a drill begins when all is well.";
        }
        foreach (var region in state?.Regions.Where(r => r.Fault is not null) ?? [])
            yield return $"{region.Code} is kept broken ({region.Fault}): one drill at a time. It is mended by itself within 15 min.";
        if (state?.Holds.Count > 0)
            yield return $"Writes are held ({string.Join(", ", state.Holds)}): a drill begins when nothing is under way.";
    }

    private static string Notes(RunState state, RunPhase outcome, FailoverReport? report)
    {
        if (outcome == RunPhase.Succeeded)
            return $"Drill completed successfully: everything is as it was{(report?.Warnings.Count > 0 ? $". {string.Join(" ", report.Warnings)}" : "")}";
        var failed = state.Steps.Where(s => s.Status == StepStatus.Failed).Select(s => $"{s.Step.Id}: {s.Error}");
        return string.Join(" ", [.. failed, state.Outcome ?? "", state.Person ?? ""]).Trim();
    }
}
