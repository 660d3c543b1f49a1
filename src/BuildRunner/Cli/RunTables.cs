using BuildRunner.Client.Recovery;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Runbooks;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>How plans and runs are printed for people.</summary>
internal static class RunTables
{
    public static void Plan(IAnsiConsole console, RunPlan plan, string? heading = null, TimeSpan? objective = null)
    {
        console.MarkupLine($"[bold]{Markup.Escape(heading ?? $"{plan.Runbook} {Inputs(plan.Inputs)}".TrimEnd())}[/]  [grey]dry run: nothing is changed[/]");
        console.WriteLine();
        var grid = StepGrid();
        foreach (var group in RunSteps<PlanStep>.Of(plan.Steps, s => s.Title, s => s.AfterResume))
        {
            grid.AddRow("", $"[bold]{Markup.Escape(group.Heading)}[/]", Took(group.Steps.Sum(s => s.ExpectedMs)), "");
            foreach (var step in group.Steps)
                grid.AddRow("", $"[grey]   {Markup.Escape(step.Summary ?? step.Id)}[/]", step.Skipped is null ? $"[grey]{Time(step.ExpectedMs)}[/]" : "", $"[grey]{Markup.Escape(PlanNote(step))}[/]");
        }
        console.Write(grid);
        console.WriteLine();
        Lines(console, plan.Notes, "[grey]·[/]");
        Lines(console, plan.Problems, "[red]✗[/]");
        if (plan.Notes.Count + plan.Problems.Count > 0)
            console.WriteLine();
        var measured = plan.Steps.Count == 0 ? 0 : plan.Steps.Max(s => s.MeasuredRuns);
        var basis = measured switch { 0 => "times are estimates", 1 => "times as in the one run before", _ => $"times are medians of {measured} runs" };
        console.MarkupLine(plan.Ready
            ? $"[green]Ready.[/] Traffic would be back after about {Time(plan.ExpectedMs)} ({(objective is { } max ? $"objective {Time(max.TotalMilliseconds)}; " : "")}{basis})."
            : $"[red]Would be refused[/]: {(plan.Problems.Count == 1 ? "one precondition" : $"{plan.Problems.Count} preconditions")} failed.");
    }

    public static void Run(IAnsiConsole console, RunRecord run)
    {
        console.MarkupLine($"[bold]{Markup.Escape(run.Id)}[/] {State(run.State)}{(run.DurationMs is { } took ? $" after {Time(took)}" : "")}");
        Lines(console, [$"by {run.Actor}: {run.Reason}"], "");
        if (!FailoverRunbook.Moves(run.Runbook) && Inputs(run.Inputs) is { Length: > 0 } inputs)
            Lines(console, [inputs], "");
        console.WriteLine();
        var grid = StepGrid();
        foreach (var group in RunSteps<RunStep>.Of(run.Steps, s => s.Title, s => s.AfterResume))
        {
            grid.AddRow(Mark([.. group.Steps.Select(s => s.Status)]), $"[bold]{Markup.Escape(group.Heading)}[/]", group.Steps.Any(s => s.DurationMs is not null) ? Took(group.Steps.Sum(s => s.DurationMs ?? 0)) : "", "");
            foreach (var step in group.Steps)
            {
                var note = step.Error ?? (step.Status is StepStatus.Done or StepStatus.Pending or StepStatus.Waiting ? step.Attempts > 1 ? $"{step.Attempts} attempts" : "" : Word(step.Status));
                grid.AddRow("", $"[grey]   {Markup.Escape(step.Summary ?? step.Id)}[/]", step.DurationMs is { } ms ? $"[grey]{Time(ms)}[/]" : "", step.Error is null ? $"[grey]{Markup.Escape(note)}[/]" : $"[yellow]{Markup.Escape(note)}[/]");
            }
        }
        console.Write(grid);
        console.WriteLine();
        Waits(console, run);
        if (run.Report is { } data && FailoverRunbook.Moves(run.Runbook) && System.Text.Json.JsonSerializer.Deserialize(data, RecoveryJson.Default.FailoverReport) is { } report)
        {
            FailoverTables.Result(console, run, report);
            return;
        }
        if (run.Outcome is { } outcome && run.State != RunPhase.Succeeded)
            Lines(console, [outcome], "");
        if (run.Person is { } person)
            Lines(console, [person], "[red]![/]");
    }

    /// <summary>What the run waits for, each with the command that answers it.</summary>
    public static void Waits(IAnsiConsole console, RunRecord run)
    {
        foreach (var wait in run.Waiting)
        {
            Lines(console, [wait.ByHand ? $"Waits for hands: {wait.Text}" : $"Waits for agreement to '{wait.Title}': {wait.Agreed.Count} of {wait.Needed}{(wait.Agreed.Count > 0 ? $" ({string.Join(", ", wait.Agreed)})" : "")}, of {string.Join(" or ", wait.Roles)}."], "[yellow]?[/]");
            Lines(console, [wait.ByHand ? $"br runbook confirm {run.Id} --step {wait.Step} --note \"what was done\"" : $"br runbook approve {run.Id} --step {wait.Step}", $"until {wait.Expires:yyyy-MM-dd HH:mm} UTC, else it counts as a failure"], " ");
        }
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

    /// <summary>One line each, with a mark before it; what is too long for the terminal goes on below its own beginning.</summary>
    public static void Lines(IAnsiConsole console, IEnumerable<string> lines, string mark)
    {
        var grid = new Grid().AddColumn(new GridColumn().NoWrap().PadLeft(2).PadRight(mark.Length > 0 ? 1 : 0)).AddColumn(new GridColumn().PadLeft(0).PadRight(0));
        var any = false;
        foreach (var line in lines)
        {
            grid.AddRow(mark, Markup.Escape(line));
            any = true;
        }
        if (any)
            console.Write(grid);
    }

    public static string Lost(RunLost lost) => lost switch
    {
        { Commits: 0, Bytes: 0 } => "nothing",
        { Bytes: { } bytes, Commits: { } commits } => $"{Count(commits, "commit")}, {Size(bytes)} of WAL{(lost.Seconds is { } s ? $", over {Time(s * 1000)}" : "")}",
        _ => "unknown until the old region is back and its WAL has been read",
    };

    public static string State(RunPhase state) => state switch
    {
        RunPhase.Succeeded => "[green]succeeded[/]",
        RunPhase.Running => "[blue]running[/]",
        RunPhase.Undoing => "[yellow]undoing[/]",
        RunPhase.Waiting => "[yellow]waiting[/]",
        RunPhase.RolledBack => "[yellow]rolled_back[/]",
        RunPhase.Aborted => "[yellow]aborted[/]",
        RunPhase.Refused => "[red]refused[/]",
        _ => "[red]failed[/]",
    };

    public static string Mark(IReadOnlyList<StepStatus> steps) => steps switch
    {
        _ when steps.Any(s => s is StepStatus.Failed or StepStatus.UndoFailed) => "[red]✗[/]",
        _ when steps.Any(s => s is StepStatus.Undoing or StepStatus.Undone) => "[yellow]↶[/]",
        _ when steps.All(s => s == StepStatus.Skipped) => "[grey]-[/]",
        _ when steps.All(s => s is StepStatus.Done or StepStatus.Skipped) => "[green]✓[/]",
        _ when steps.Any(s => s == StepStatus.Waiting) => "[yellow]?[/]",
        _ when steps.Any(s => s != StepStatus.Pending) => "[blue]●[/]",
        _ => "[grey]·[/]",
    };

    public static ExitCode CodeOf(RunPhase state) => state switch
    {
        RunPhase.Succeeded or RunPhase.Running or RunPhase.Undoing or RunPhase.Waiting => ExitCode.Fine,
        RunPhase.Refused => ExitCode.Refused,
        _ => ExitCode.Failed,
    };

    /// <summary>A time as people read it: `84 ms`, `2.65 s`, `12.3 s`, `30 min`.</summary>
    public static string Time(double ms) => string.Create(CultureInfo.InvariantCulture, $"{ms switch
    {
        0 => "0 s",
        < 1 => "under 1 ms",
        < 999.5 => string.Create(CultureInfo.InvariantCulture, $"{ms:0} ms"),
        < 9_995 => string.Create(CultureInfo.InvariantCulture, $"{ms / 1000:0.##} s"),
        < 59_950 => string.Create(CultureInfo.InvariantCulture, $"{ms / 1000:0.#} s"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{ms / 60_000:0.#} min"),
    }}");

    public static string Size(long bytes) => bytes switch
    {
        < 10_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes:#,0} bytes"),
        < 10_000_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1000.0:#,0.#} kB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1_000_000.0:#,0.#} MB"),
    };

    public static string Count(long count, string noun) => string.Create(CultureInfo.InvariantCulture, $"{count:#,0} {noun}{(count == 1 ? "" : "s")}");

    private static Grid StepGrid() => new Grid()
        .AddColumn(new GridColumn().NoWrap().PadLeft(0).PadRight(1))
        .AddColumn(new GridColumn().NoWrap().PadLeft(0).PadRight(3))
        .AddColumn(new GridColumn().NoWrap().RightAligned().PadLeft(0).PadRight(3))
        .AddColumn(new GridColumn().PadLeft(0).PadRight(0));

    private static string PlanNote(PlanStep step) => step.Skipped is { } why ? $"skipped: {why}" : string.Join("; ", new[] { step.WaitsFor, step.Group is null ? null : "together with the others of its group", step.Note }.OfType<string>());

    private static string Took(double ms) => Time(ms);

    private static string Word(StepStatus status) => System.Text.Json.JsonNamingPolicy.SnakeCaseLower.ConvertName(status.ToString()).Replace('_', ' ');

    private static string Inputs(IReadOnlyDictionary<string, string> inputs) => string.Join(" ", inputs.Where(i => i.Value.Length > 0).Select(i => $"{i.Key}={i.Value}"));
}
