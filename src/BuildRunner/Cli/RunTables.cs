using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Runbooks;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>How plans and runs are printed for people.</summary>
internal static class RunTables
{
    public static void Plan(IAnsiConsole console, RunPlan plan)
    {
        console.MarkupLine($"[bold]{Markup.Escape(plan.Runbook)}[/] {Markup.Escape(Inputs(plan.Inputs))} [grey]dry run: nothing is changed[/]");
        var table = new Table().Border(TableBorder.None).AddColumns("step", "", "expected", "");
        string? title = null;
        foreach (var step in plan.Steps)
        {
            var heading = step.AfterResume ? $"{step.Title} (settling)" : step.Title;
            table.AddRow(
                heading == title ? "" : $"[bold]{Markup.Escape(heading)}[/]", Markup.Escape(step.Id),
                $"{Time(step.ExpectedMs)}[grey]{(step.MeasuredRuns > 0 ? $" measured, {step.MeasuredRuns} runs" : " estimate")}[/]", Markup.Escape(step.Note ?? ""));
            title = heading;
        }
        console.Write(table);
        foreach (var note in plan.Notes)
            console.MarkupLine($"[grey]·[/] {Markup.Escape(note)}");
        foreach (var problem in plan.Problems)
            console.MarkupLine($"[red]✗[/] {Markup.Escape(problem)}");
        console.MarkupLine(plan.Ready
            ? $"[green]Ready.[/] Traffic would be back after about {Time(plan.ExpectedMs)}."
            : $"[red]Would be refused[/]: {plan.Problems.Count} precondition{(plan.Problems.Count == 1 ? "" : "s")} failed.");
    }

    public static void Run(IAnsiConsole console, RunRecord run)
    {
        console.MarkupLine($"[bold]{Markup.Escape(run.Id)}[/] {State(run.State)} {Markup.Escape(run.Outcome ?? "")}");
        console.MarkupLine($"[grey]{Markup.Escape(Inputs(run.Inputs))} by {Markup.Escape(run.Actor)}: {Markup.Escape(run.Reason)}[/]");
        var table = new Table().Border(TableBorder.None).AddColumns("step", "", "state", "took", "");
        string? title = null;
        foreach (var step in run.Steps)
        {
            var heading = step.AfterResume ? $"{step.Title} (settling)" : step.Title;
            table.AddRow(
                heading == title ? "" : Markup.Escape(heading), Markup.Escape(step.Id), Markup.Escape(Word(step.Status)), step.DurationMs is { } ms ? Time(ms) : "",
                Markup.Escape(step.Error ?? ""));
            title = heading;
        }
        console.Write(table);
        if (run.OutageMs is { } outage)
            console.MarkupLine($"Writes were away for {Time(outage)} at the gateways.");
        if (run.Lost is { } lost)
            console.MarkupLine(Markup.Escape(Lost(lost)));
        if (run.Person is { } person)
            console.MarkupLine($"[red]{Markup.Escape(person)}[/]");
    }

    public static void Runs(IAnsiConsole console, RunList list)
    {
        if (list.Runs.Count == 0)
        {
            console.WriteLine("No runs yet. `br runbook list` shows what can be run.");
            return;
        }
        var table = new Table().Border(TableBorder.None).AddColumns("run", "state", "took", "by", "reason");
        foreach (var run in list.Runs)
            table.AddRow(Markup.Escape(run.Id), State(run.State), run.DurationMs is { } ms ? Time(ms) : "", Markup.Escape(run.Actor), Markup.Escape(run.Reason));
        console.Write(table);
    }

    public static string Lost(RunLost lost) => lost switch
    {
        { Commits: 0, Bytes: 0 } => "Nothing was lost.",
        { Bytes: { } bytes, Commits: { } commits } => string.Create(CultureInfo.InvariantCulture, $"Lost: {commits} commits, {bytes} bytes of WAL, {(lost.Seconds is { } s ? $"{s:0.###} s" : "an unknown time")}."),
        _ => "What was lost is unknown until the old region is back and its WAL has been read.",
    };

    public static string State(RunPhase state) => state switch
    {
        RunPhase.Succeeded => "[green]succeeded[/]",
        RunPhase.Running => "[blue]running[/]",
        RunPhase.Undoing => "[yellow]undoing[/]",
        RunPhase.RolledBack => "[yellow]rolled_back[/]",
        RunPhase.Aborted => "[yellow]aborted[/]",
        RunPhase.Refused => "[red]refused[/]",
        _ => "[red]failed[/]",
    };

    public static ExitCode CodeOf(RunPhase state) => state switch
    {
        RunPhase.Succeeded or RunPhase.Running or RunPhase.Undoing => ExitCode.Fine,
        RunPhase.Refused => ExitCode.Refused,
        _ => ExitCode.Failed,
    };

    public static string Time(double ms) => ms >= 60_000
        ? string.Create(CultureInfo.InvariantCulture, $"{ms / 60_000:0.0} min")
        : ms >= 1000 ? string.Create(CultureInfo.InvariantCulture, $"{ms / 1000:0.0} s") : string.Create(CultureInfo.InvariantCulture, $"{ms:0} ms");

    private static string Word(StepStatus status) => System.Text.Json.JsonNamingPolicy.SnakeCaseLower.ConvertName(status.ToString());

    private static string Inputs(IReadOnlyDictionary<string, string> inputs) => string.Join(" ", inputs.Where(i => i.Value.Length > 0).Select(i => $"{i.Key}={i.Value}"));
}
