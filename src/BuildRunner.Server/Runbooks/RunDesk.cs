using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Server.Runbooks;

/// <summary>Where runs are asked for: checks everything that stands against one, then begins it or shows its plan.</summary>
internal sealed class RunDesk(RunbookCatalog catalog, RunChecks checks, RunnerLoop runner, [FromKeyedServices(Leads.Acting)] Lead lead, Standing? standing = null)
{
    private const int ReasonMax = 2000;
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(50);

    public async Task<RunDecision> AskAsync(RunRequest request, string actor, bool automatic, CancellationToken cancel)
    {
        if (catalog.Find(request.Runbook) is not { } entry)
        {
            return new RunDecision.Unknown(catalog.Document(request.Runbook)?.Complaint is { } bad
                ? $"The runbook '{request.Runbook}' cannot be run. {bad}"
                : $"There is no runbook '{request.Runbook}'. {Core.Policy.Nearest.Fix(request.Runbook, [.. catalog.Names])}");
        }
        if (!request.DryRun && string.IsNullOrWhiteSpace(request.Reason))
            return new RunDecision.Invalid(["A run needs a reason: --reason \"…\". It is written to its journal and shown to everyone."]);
        if (request.Reason?.Length > ReasonMax)
            return new RunDecision.Invalid([$"The reason has {request.Reason.Length} characters; at most {ReasonMax}."]);
        var (given, wrong) = RunbookCheck.Inputs(entry.Runbook, request.Inputs);
        if (wrong.Count > 0)
            return new RunDecision.Invalid(wrong);

        if (!request.DryRun && standing?.Overtaken is { } overtaken)
            return new RunDecision.Refused([overtaken]);
        var run = await checks.CheckAsync(entry, given, actor, request.Reason ?? "", request.DryRun, automatic, cancel);
        if (request.DryRun)
        {
            return new RunDecision.Planned(new RunPlan
            {
                Runbook = entry.Runbook.Name,
                Hash = RunbookCheck.Hash(entry.Runbook),
                Inputs = run.Inputs,
                Ready = run.Problems.Count == 0,
                Problems = run.Problems,
                Notes = run.Notes,
                Steps = run.Steps,
                ExpectedMs = run.ExpectedMs,
            });
        }
        if (run.Problems.Count > 0)
            return new RunDecision.Refused(run.Problems);
        while (standing is { Listening: true })
            await Task.Delay(Look, cancel);
        if (lead() is not { } fence)
            return new RunDecision.NoLead("This server does not lead now; ask again in a few seconds.");
        var (begun, other) = await runner.BeginAsync(entry, run.Inputs, actor, request.Reason!, fence, cancel);
        return begun is not null
            ? new RunDecision.Begun(begun)
            : new RunDecision.Refused([$"Run {other!.Id} is under way over {other.Over} since {other.StartedAt:HH:mm:ss} UTC (by {other.Actor}: {other.Reason}). Watch it with `br runbook status {other.Id}`, or stop it with `br runbook abort {other.Id}`."]);
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
