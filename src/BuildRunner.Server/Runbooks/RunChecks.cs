using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Policy;

namespace BuildRunner.Server.Runbooks;

/// <summary>What can be told of a run before it begins, by asking everything that it will ask; changes nothing.</summary>
internal sealed class RunChecks(RunbookCatalog catalog, ActionRegistry actions, RunRecords records, IPolicySource policy, TimeProvider time)
{
    /// <summary>Everything that stands against a run, and its plan; the steps are asked only when the runbook itself is sound.</summary>
    public async Task<CheckedRun> CheckAsync(RunbookEntry entry, IReadOnlyDictionary<string, string> inputs, string actor, string reason, bool dryRun, bool automatic, CancellationToken cancel, bool evaluated = false)
    {
        var unsound = Unsound(entry.Runbook);
        var problems = new List<string>(unsound);
        problems.AddRange(Switches(entry.Source, dryRun, automatic));
        // A dry run touches nothing, so the mode does not stand against it: what would be done is just what `observe` is for.
        List<string> notes = dryRun && policy.Current.WhyNoAct() is { } observing ? [observing] : [];
        if (unsound.Count > 0)
            return new(inputs, problems, notes, []);
        var admission = await entry.Source.AdmitAsync(inputs, cancel);
        notes.AddRange(admission.Notes);
        problems.AddRange(admission.Problems);
        if (!evaluated)
            problems.AddRange(await entry.Source.AgainstAsync(admission.Inputs, cancel));
        var (steps, more) = await StepsAsync(entry.Runbook, admission.Inputs, actor, reason, 0, cancel);
        problems.AddRange(more.Except(problems));
        notes.AddRange(RunbookCatalog.Warnings(entry.Document, time.GetUtcNow()));
        return new(admission.Inputs, problems, notes, steps);
    }

    /// <summary>Whether a runbook could be run now with these inputs, in a word and its reasons.</summary>
    public async Task<RunbookEvaluation> EvaluateAsync(RunbookDocument document, IReadOnlyDictionary<string, string> given, string actor, CancellationToken cancel)
    {
        var evaluation = new RunbookEvaluation
        {
            Runbook = document.Name, Hash = document.Hash, Reviewed = document.Runbook?.Reviewed, Verdict = "bad",
            Reasons = [.. document.Errors.Select(e => e.ToString())], Warnings = RunbookCatalog.Warnings(document, time.GetUtcNow()),
        };
        if (catalog.Find(document.Name) is not { } entry)
            return evaluation;
        if (Unsound(entry.Runbook) is { Count: > 0 } unsound)
            return evaluation with { Reasons = unsound };
        var (inputs, wrong) = RunbookCheck.Inputs(entry.Runbook, given);
        if (wrong.Count > 0)
            return evaluation with { Verdict = "needs_inputs", Reasons = wrong };
        var run = await CheckAsync(entry, inputs, actor, "evaluation", dryRun: true, automatic: false, cancel, evaluated: true);
        return evaluation with { Verdict = run.Problems.Count == 0 ? "ready" : "refused", Reasons = run.Problems, Inputs = run.Inputs, ExpectedMs = run.ExpectedMs };
    }

    /// <summary>Why no run of it can begin, whatever its inputs: its text, its actions, and regions or databases that it names and the policy does not.</summary>
    private IReadOnlyList<string> Unsound(Runbook runbook)
    {
        var (regions, databases) = (policy.Current.Regions.Select(r => r.Code).ToList(), policy.Current.Databases.Select(d => d.Name).ToList());
        return [.. catalog.Problems(runbook), .. RunbookTargets.Missing(runbook, regions, databases.Count > 0 ? databases : ["main"])];
    }

    private IEnumerable<string> Switches(RunbookSource source, bool dryRun, bool automatic)
    {
        var judged = dryRun ? policy.Current with { Mode = PolicyMode.Act } : policy.Current;
        if (source.WhyNot(judged, automatic) is { } why)
            yield return why;
        if (automatic && policy.Freeze is { } freeze)
            yield return $"A freeze by {freeze.By} until {freeze.Until:u} ({freeze.Reason}) stands against automatic runs.";
    }

    private async Task<(IReadOnlyList<PlanStep> Steps, IReadOnlyList<string> Problems)> StepsAsync(
        Runbook runbook, IReadOnlyDictionary<string, string> inputs, string actor, string reason, int depth, CancellationToken cancel)
    {
        var steps = new List<PlanStep>();
        var problems = new List<string>();
        var past = (await records.ListAsync(cancel)).Where(r => r.Runbook == runbook.Name && r.State == RunPhase.Succeeded).Take(RunTimes.RunsMax).ToList();
        foreach (var step in runbook.Steps)
        {
            var skipped = Skipped(step, inputs);
            var check = new ActionCheck();
            if (skipped is null)
            {
                var context = Context(step, step.With, inputs, actor, reason);
                check = step.Runbook is { } child ? await ChildAsync(child, context, depth, cancel)
                    : actions.Find(step.Action) is { } action ? await action.CheckAsync(context, cancel)
                    : check;
                problems.AddRange(check.Problems);
                problems.AddRange(await BeforeAsync(step, inputs, actor, reason, cancel));
            }
            var measured = past.Select(r => r.Steps.FirstOrDefault(s => s.Id == step.Id)?.DurationMs).OfType<double>().ToList();
            steps.Add(new PlanStep
            {
                Id = step.Id,
                Title = step.Title,
                Summary = step.Summary,
                Action = step.Action,
                ExpectedMs = skipped is not null ? 0 : RunTimes.Median(measured) ?? check.Expected.TotalMilliseconds,
                MeasuredRuns = measured.Count,
                Note = check.Note,
                AfterResume = step.AfterResume,
                Group = step.Group,
                Skipped = skipped,
                WaitsFor = WaitsFor(step),
            });
        }
        return (steps, [.. problems.Distinct()]);
    }

    /// <summary>A condition over inputs is known before; one over outputs shows when its step comes up.</summary>
    private static string? Skipped(RunbookStep step, IReadOnlyDictionary<string, string> inputs)
    {
        if (step.Only is { } only && inputs.GetValueOrDefault(StepKind.VariantInput, StepKind.Graceful) != only)
            return $"only in a run that is {only}";
        return step.When is { } when && StepArguments.References(when).All(name => !name.Contains('.', StringComparison.Ordinal)) && !Condition.Holds(when, inputs, new Dictionary<string, string>())
            ? $"{when} does not hold"
            : null;
    }

    /// <summary>The precondition that the step names: it must hold before the run begins, too.</summary>
    private async Task<IReadOnlyList<string>> BeforeAsync(RunbookStep step, IReadOnlyDictionary<string, string> inputs, string actor, string reason, CancellationToken cancel)
    {
        if (step.Check is not { Action: { } name } call || actions.Find(name) is not { } action)
            return [];
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(TimeSpan.FromSeconds(10));
        try
        {
            return await action.VerifyAsync(Context(step, call.With, inputs, actor, reason), limit.Token) switch
            {
                ActionVerdict.So => [],
                ActionVerdict.NotSo not => [$"Step '{step.Id}': what must be so before is not: {not.Reason}"],
                ActionVerdict.Unknown unknown => [$"Step '{step.Id}': whether it may begin cannot be told: {unknown.Reason}"],
                _ => [],
            };
        }
        catch (Exception error) when (!cancel.IsCancellationRequested) { return [$"Step '{step.Id}': whether it may begin cannot be told: {error.Message}"]; }
    }

    /// <summary>What stands against the runbook that a step runs, as far as its inputs are known by now.</summary>
    private async Task<ActionCheck> ChildAsync(string name, ActionContext context, int depth, CancellationToken cancel)
    {
        if (depth > RunbookCheck.DepthMax || catalog.Find(name) is not { } entry)
            return new ActionCheck();
        if (context.Step.With.Values.SelectMany(StepArguments.References).Any(n => n.Contains('.', StringComparison.Ordinal)))
            return new ActionCheck { Note = $"runs '{name}' with what earlier steps find out; it is checked when it comes up" };
        var (inputs, wrong) = RunbookCheck.Inputs(entry.Runbook, context.Arguments.Where(a => a.Value.Length > 0).ToDictionary());
        if (wrong.Count > 0)
            return new ActionCheck { Problems = wrong };
        var admission = await entry.Source.AdmitAsync(inputs, cancel);
        var (steps, problems) = await StepsAsync(entry.Runbook, admission.Inputs, context.Actor, context.Reason, depth + 1, cancel);
        return new ActionCheck { Problems = [.. admission.Problems, .. problems], Note = $"runs '{name}' {RunbookCheck.Hash(entry.Runbook)}", Expected = TimeSpan.FromMilliseconds(steps.Sum(s => s.ExpectedMs)) };
    }

    private static string? WaitsFor(RunbookStep step) =>
        step.Approval is { } approval ? string.Create(CultureInfo.InvariantCulture, $"{approval.Count} of {string.Join(", ", approval.Roles)} must agree within {Units.Write(approval.Timeout)}")
        : step.Manual is not null ? "done by hand"
        : null;

    private ActionContext Context(RunbookStep step, IReadOnlyDictionary<string, string> with, IReadOnlyDictionary<string, string> inputs, string actor, string reason) => new()
    {
        Run = "plan",
        Step = step,
        Arguments = StepArguments.Fill(with, inputs, new Dictionary<string, string>()),
        Written = with,
        Inputs = inputs,
        Outputs = new Dictionary<string, string>(),
        Key = $"plan/{step.Id}",
        Attempt = 0,
        Fence = default,
        Actor = actor,
        Reason = reason,
        RunStartedAt = time.GetUtcNow(),
    };
}

/// <summary>A run as it would begin.</summary>
internal sealed record CheckedRun(IReadOnlyDictionary<string, string> Inputs, IReadOnlyList<string> Problems, IReadOnlyList<string> Notes, IReadOnlyList<PlanStep> Steps)
{
    /// <summary>Until traffic resumes; of a group only the longest counts.</summary>
    public double ExpectedMs => Steps.Where(s => !s.AfterResume).GroupBy(s => s.Group ?? $"/{s.Id}").Sum(g => g.Key[0] == '/' ? g.Sum(s => s.ExpectedMs) : g.Max(s => s.ExpectedMs));
}
