using System.Text.Json;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Recovery.Failover;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Drills;

/// <summary>What a drill looks at before it begins and when it is over.</summary>
internal sealed record DrillHouse(FailoverReader Facts, DrillStateReader States, DrillGround Ground, RunRecords Runs, IPolicySource Policy, TimeProvider Time);

/// <summary>The runbook of a kind of drill with what only this room knows: whether all is well enough to break it, and what came of it.</summary>
internal abstract class DrillSource(string runbook, string kind, DrillHouse house) : RunbookSource(runbook)
{
    /// <summary>Who starts the drills of the calendar.</summary>
    public const string Calendar = "drill calendar";

    public override string? WhyNot(PolicyDocument document, bool automatic) => document.WhyNoFailover() ?? (automatic ? document.WhyNoAutomaticAct(frozen: false) : null);

    public override async Task<RunAdmission> AdmitAsync(IReadOnlyDictionary<string, string> inputs, CancellationToken cancel)
    {
        var database = inputs.GetValueOrDefault("database", "main");
        var facts = await house.Facts.ReadAsync(database, cancel);
        var plan = FailoverPlanner.Plan(facts, new FailoverWish { Target = inputs.GetValueOrDefault("target") is { Length: > 0 } target ? target : null });
        var complete = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var (name, value) in inputs)
            complete[name] = value;
        complete["automatic"] = house.Policy.Current.WhyNoAutomaticFailover(house.Policy.Freeze is not null) is null ? "true" : "false";
        List<string> problems = [.. DrillPlanner.Problems(facts, await house.States.ReadAsync(database, cancel))];
        if (problems.Count == 0)
            problems.AddRange(Complete(complete, facts, plan));
        return new RunAdmission(complete, problems, plan.Notes);
    }

    /// <summary>Nothing stands against what breaks nothing.</summary>
    public override async Task<IReadOnlyList<string>> AgainstAsync(IReadOnlyDictionary<string, string> inputs, CancellationToken cancel) =>
        inputs.GetValueOrDefault("fault") == "none" ? [] : [.. DrillCalendar.WhyNotByHand(await house.Ground.ReadAsync(house.Time.GetUtcNow(), cancel))];

    public override async Task<RunReport?> ReportAsync(RunState state, RunPhase outcome, CancellationToken cancel)
    {
        var failover = (await house.Runs.ListAsync(cancel)).FirstOrDefault(r => IsRecovery(r, state.Run, state.StartedAt, state.Inputs.GetValueOrDefault("database", "main")));
        var report = failover?.Report is { } data ? JsonSerializer.Deserialize(data, RecoveryJson.Default.FailoverReport) : null;
        // Also of steps that were taken back: an aborted drill says what it had broken.
        string? Output(string name) => name.Split('.') is [var id, var key] && state.Steps.FirstOrDefault(s => s.Step.Id == id)?.Outputs.TryGetValue(key, out var value) == true ? value : null;
        var objectives = house.Policy.Current.Recovery;
        var endured = double.TryParse(Output("endured.ms"), CultureInfo.InvariantCulture, out var down) ? (double?)down : null;
        var outage = failover?.OutageMs ?? endured ?? (double.TryParse(Output("recovered.ms"), CultureInfo.InvariantCulture, out var ms) ? ms : null);
        var (said, by) = DrillOutcome.Of(state, outcome);
        var record = new DrillRecord
        {
            Id = state.Run,
            Type = state.Actor == Calendar ? "scheduled" : "manual",
            Kind = kind,
            Scenario = Told(state, Output("begin.primary")),
            StartedAt = state.StartedAt,
            EndedAt = state.FinishedAt,
            Outcome = said,
            AbortedBy = by,
            Faults = state.Inputs.GetValueOrDefault("faults") is { Length: > 0 } faults ? faults : null,
            RtoAchievedMinutes = outage / 60_000,
            RpoAchievedMinutes = endured is not null && failover is null ? 0 : failover?.Lost is { Commits: 0 } ? 0 : failover?.Lost?.Seconds / 60,
            RtoObjectiveMinutes = objectives.Rto.TotalMinutes,
            RpoObjectiveMinutes = objectives.Rpo.TotalMinutes,
            Notes = DrillOutcome.Notes(state, outcome, report?.Warnings ?? []),
            From = Output("begin.primary"),
            To = failover?.Inputs.GetValueOrDefault("target"),
            OutageMs = outage,
            LostCommits = endured is not null && failover is null ? 0 : failover?.Lost?.Commits,
            Failover = failover?.Id,
            Proof = report?.Proof?.Kind is { } proof ? FaultKinds.Word(proof) : null,
            Actor = state.Actor,
            Reason = state.Reason,
        };
        return new RunReport(JsonSerializer.SerializeToElement(Add(record, state, failover), DrillsJson.Default.DrillRecord), failover?.OutageMs, failover?.Lost);
    }

    /// <summary>Fills in the inputs of this kind of drill; answers what stands against it.</summary>
    protected virtual IEnumerable<string> Complete(IDictionary<string, string> inputs, FailoverFacts facts, FailoverPlan plan) => plan.Problems;

    /// <summary>What was broken, for people.</summary>
    protected abstract string Told(RunState state, string? primary);

    /// <summary>What only this kind of drill knows.</summary>
    protected virtual DrillRecord Add(DrillRecord record, RunState state, RunRecord? failover) => record;

    /// <summary>The failover that a drill's fault led to: its own child, or the one that the house, or a person, began.</summary>
    public static bool IsRecovery(RunRecord run, string drill, DateTimeOffset since, string database) =>
        run.Runbook == FailoverRunbook.Name && run.StartedAt >= since && run.Inputs.GetValueOrDefault("database", "main") == database && (run.Parent is null || run.Parent == drill);
}

/// <summary>The weekly drill: the primary's database is lost.</summary>
internal sealed class FailoverDrill(DrillHouse house) : DrillSource(DrillPlanner.Failover, "failover", house)
{
    protected override string Told(RunState state, string? primary) =>
        $"primary_region_failure ({state.Inputs.GetValueOrDefault("fault", "kill")} of the database in {primary ?? "the primary's region"})";
}

/// <summary>The monthly drill: what a scenario names.</summary>
internal sealed class ScenarioDrill(DrillHouse house, DrillScenarios scenarios) : DrillSource(DrillPlanner.Scenario, "scenario", house)
{
    protected override IEnumerable<string> Complete(IDictionary<string, string> inputs, FailoverFacts facts, FailoverPlan plan)
    {
        IReadOnlyList<DrillFault> faults;
        if (inputs.TryGetValue("faults", out var line) && line.Length > 0)
        {
            if (DrillFault.Read(line, out faults) is { } wrong)
                return [wrong];
        }
        else
        {
            var (scenario, why) = scenarios.Find(inputs["scenario"]);
            if (scenario is null)
                return [why];
            faults = scenario.Faults;
            inputs["expect"] = FaultKinds.Word(scenario.Expect);
        }
        if (!FaultKinds.TryWord<DrillExpectation>(inputs.TryGetValue("expect", out var word) ? word : "failover", out var expect))
            return [$"`expect: {word}` is neither failover nor endure."];
        faults = DrillPlanner.Resolve(faults, facts, plan.Target);
        inputs["faults"] = DrillFault.Write(faults);
        return [.. expect == DrillExpectation.Failover ? plan.Problems : [], .. DrillPlanner.Problems(facts, faults, expect)];
    }

    protected override string Told(RunState state, string? primary) => state.Inputs.GetValueOrDefault("scenario", "scenario");
}
