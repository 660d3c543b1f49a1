using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Runbooks;

/// <summary>Where runs are asked for: checks everything that stands against one, then begins it or shows its plan.</summary>
internal sealed class RunDesk(RunbookCatalog catalog, ActionRegistry actions, RunRecords records, RunnerLoop runner, IPolicySource policy, Lead lead, TimeProvider time)
{
    private const int MeasuredMax = 10;

    public async Task<RunDecision> AskAsync(RunRequest request, string actor, bool automatic, CancellationToken cancel)
    {
        if (catalog.Find(request.Runbook) is not { } source)
            return new RunDecision.Unknown($"There is no runbook '{request.Runbook}'; there are {string.Join(", ", catalog.All.Select(s => s.Runbook.Name))}.");
        if (!request.DryRun && string.IsNullOrWhiteSpace(request.Reason))
            return new RunDecision.Invalid(["A run needs a reason: --reason \"…\". It is written to its journal and shown to everyone."]);
        var (inputs, wrong) = RunbookCheck.Inputs(source.Runbook, request.Inputs);
        if (wrong.Count > 0)
            return new RunDecision.Invalid(wrong);

        var problems = new List<string>(catalog.Problems(source.Runbook));
        problems.AddRange(Switches(source, request.DryRun, automatic));
        // A dry run touches nothing, so the mode does not stand against it: what would be done is just what `observe` is for.
        List<string> notes = request.DryRun && policy.Current.WhyNoAct() is { } observing ? [observing] : [];
        IReadOnlyList<PlanStep> steps = [];
        if (catalog.Problems(source.Runbook).Count == 0)
        {
            var admission = await source.AdmitAsync(inputs, cancel);
            inputs = admission.Inputs;
            notes.AddRange(admission.Notes);
            problems.AddRange(admission.Problems);
            (steps, var stepProblems) = await CheckStepsAsync(source.Runbook, inputs, actor, request.Reason ?? "", cancel);
            problems.AddRange(stepProblems.Except(problems));
        }

        if (request.DryRun)
        {
            return new RunDecision.Planned(new RunPlan
            {
                Runbook = source.Runbook.Name,
                Hash = RunbookCheck.Hash(source.Runbook),
                Inputs = inputs,
                Ready = problems.Count == 0,
                Problems = problems,
                Notes = notes,
                Steps = steps,
                ExpectedMs = steps.Where(s => !s.AfterResume).Sum(s => s.ExpectedMs),
            });
        }
        if (problems.Count > 0)
            return new RunDecision.Refused(problems);
        if (lead() is not { } fence)
            return new RunDecision.NoLead("This server does not lead now; ask again in a few seconds.");
        var (run, other) = await runner.BeginAsync(source, inputs, actor, request.Reason!, fence, cancel);
        return run is not null
            ? new RunDecision.Begun(run)
            : new RunDecision.Refused([$"Run {other!.Id} is under way over {other.Over} since {other.StartedAt:HH:mm:ss} UTC (by {other.Actor}: {other.Reason}). Watch it with `br runbook status {other.Id}`, or stop it with `br runbook abort {other.Id}`."]);
    }

    private IEnumerable<string> Switches(RunbookSource source, bool dryRun, bool automatic)
    {
        var judged = dryRun ? policy.Current with { Mode = PolicyMode.Act } : policy.Current;
        if (source.WhyNot(judged, automatic) is { } why)
            yield return why;
        if (automatic && policy.Freeze is { } freeze)
            yield return $"A freeze by {freeze.By} until {freeze.Until:u} ({freeze.Reason}) stands against automatic runs.";
    }

    private async Task<(IReadOnlyList<PlanStep> Steps, IReadOnlyList<string> Problems)> CheckStepsAsync(
        Runbook runbook, IReadOnlyDictionary<string, string> inputs, string actor, string reason, CancellationToken cancel)
    {
        var steps = new List<PlanStep>();
        var problems = new List<string>();
        var past = (await records.ListAsync(cancel)).Where(r => r.Runbook == runbook.Name && r.State == RunPhase.Succeeded).Take(MeasuredMax).ToList();
        foreach (var step in runbook.Steps)
        {
            var context = new ActionContext
            {
                Run = "plan",
                Step = step,
                Arguments = StepArguments.Fill(step.With, inputs, new Dictionary<string, string>()),
                Inputs = inputs,
                Outputs = new Dictionary<string, string>(),
                Key = $"plan/{step.Id}",
                Attempt = 0,
                Fence = default,
                Actor = actor,
                Reason = reason,
                RunStartedAt = time.GetUtcNow(),
            };
            var check = await actions.Find(step.Action)!.CheckAsync(context, cancel);
            problems.AddRange(check.Problems);
            var measured = past.Select(r => r.Steps.FirstOrDefault(s => s.Id == step.Id)?.DurationMs).OfType<double>().Order().ToList();
            steps.Add(new PlanStep
            {
                Id = step.Id,
                Title = step.Title,
                Summary = step.Summary,
                Action = step.Action,
                ExpectedMs = measured.Count > 0 ? measured[measured.Count / 2] : check.Expected.TotalMilliseconds,
                MeasuredRuns = measured.Count,
                Note = check.Note,
                AfterResume = step.AfterResume,
            });
        }
        return (steps, problems);
    }
}

/// <summary>What became of asking for a run.</summary>
internal abstract record RunDecision
{
    private RunDecision() { }

    public sealed record Begun(RunRecord Run) : RunDecision;

    public sealed record Planned(RunPlan Plan) : RunDecision;

    public sealed record Refused(IReadOnlyList<string> Reasons) : RunDecision;

    public sealed record Invalid(IReadOnlyList<string> Errors) : RunDecision;

    public sealed record Unknown(string Reason) : RunDecision;

    public sealed record NoLead(string Reason) : RunDecision;
}
