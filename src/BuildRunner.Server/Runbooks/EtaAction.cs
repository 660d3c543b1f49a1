using BuildRunner.Core.Policy;
using BuildRunner.Core.Runbooks;

namespace BuildRunner.Server.Runbooks;

/// <summary>
/// `runbook.eta`: how long a run of `runbook` will take, from the measured steps of its last ten good runs. It only looks, and says when it does not know:
/// outputs `known` (true, false), `seconds`, `eta` (words) and `runs`.
/// </summary>
internal sealed class EtaAction(RunbookLibrary library, RunRecords records) : IAction
{
    public string Name => "runbook.eta";

    public async Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel)
    {
        var (runbook, wrong) = Find(context);
        return runbook is null ? new ActionCheck { Problems = [wrong!] } : new ActionCheck { Note = (await LookAsync(runbook, cancel)).Eta };
    }

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var (runbook, wrong) = Find(context);
        if (runbook is null)
            return new ActionOutcome.Refused(wrong!);
        var (known, milliseconds, eta, runs) = await LookAsync(runbook, cancel);
        context.Progress($"'{runbook.Name}' takes {eta}");
        return ActionOutcome.Finished(
            ("known", known ? "true" : "false"), ("seconds", known ? (milliseconds / 1000).ToString("0.#", CultureInfo.InvariantCulture) : null), ("eta", eta), ("runs", runs.ToString(CultureInfo.InvariantCulture)));
    }

    private (Runbook? Runbook, string? Wrong) Find(ActionContext context)
    {
        var name = context.Argument("runbook");
        return name is null ? (null, $"Step '{context.Step.Id}' names no runbook: `with: {{runbook: …}}`.")
            : library.Current.GetValueOrDefault(name)?.Runbook is { } runbook ? (runbook, null)
            : (null, $"There is no runbook '{name}'. {Nearest.Fix(name, [.. library.Current.Keys])}");
    }

    private async Task<(bool Known, double Milliseconds, string Eta, int Runs)> LookAsync(Runbook runbook, CancellationToken cancel)
    {
        var runs = (await records.ListAsync(cancel)).Where(r => r.Runbook == runbook.Name && r.State == RunPhase.Succeeded).Take(RunTimes.RunsMax)
            .Select(r => (IReadOnlyDictionary<string, double>)r.Steps.Where(s => s.DurationMs is not null).ToDictionary(s => s.Id, s => s.DurationMs!.Value)).ToList();
        return RunTimes.Expected(runbook, runs) is { } ms
            ? (true, ms, $"{RunTimes.About(ms)} (measured in {runs.Count} {(runs.Count == 1 ? "run" : "runs")})", runs.Count)
            : (false, 0, "an unknown time: no run of it has been measured yet", 0);
    }
}
