using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Runbooks;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>How runbooks, what is said of them, and journals are printed for people.</summary>
internal static class RunbookTables
{
    public static void List(IAnsiConsole console, RunbookList list)
    {
        var table = new Table().Border(TableBorder.None).AddColumns("runbook", "steps", "version", "reviewed", "");
        foreach (var runbook in list.Runbooks)
        {
            table.AddRow(
                Markup.Escape(runbook.Name), runbook.Steps.ToString(CultureInfo.InvariantCulture), $"[grey]{runbook.Hash ?? "-"}[/]", Day(runbook.Reviewed),
                runbook.Problems.Count > 0 ? $"[red]{Markup.Escape(runbook.Problems[0])}[/]" : $"{Markup.Escape(runbook.Title)}{(runbook.Warnings.Count > 0 ? $" [yellow]({Markup.Escape(Short(runbook.Warnings[0]))})[/]" : "")}");
        }
        console.Write(table);
    }

    public static void Show(IAnsiConsole console, RunbookDetail detail)
    {
        var runbook = detail.Runbook;
        console.MarkupLine($"[bold]{Markup.Escape(runbook.Name)}[/]  {Markup.Escape(runbook.Title)}");
        RunTables.Lines(console, [$"version {detail.Hash}, {detail.Origin}, reviewed {Day(runbook.Reviewed)}; a run holds {RunbookCheck.Over(runbook, runbook.Inputs.ToDictionary(i => i.Name, i => $"${{{i.Name}}}"))} alone"], "");
        console.WriteLine();
        if (runbook.Inputs.Count > 0)
        {
            var inputs = new Table().Border(TableBorder.None).AddColumns("input", "", "");
            foreach (var input in runbook.Inputs)
                inputs.AddRow(Markup.Escape(input.Name), input.Required ? "[yellow]required[/]" : input.Default is { Length: > 0 } standing ? $"[grey]{Markup.Escape(standing)}[/]" : "", Markup.Escape($"{input.Summary}{(input.Values is { } values ? $" ({string.Join(", ", values)})" : "")}"));
            console.Write(inputs);
            console.WriteLine();
        }
        var steps = new Table().Border(TableBorder.None).AddColumns("step", "does", "within", "on failure", "");
        string? title = null, group = null;
        foreach (var step in runbook.Steps)
        {
            if (step.Title != title)
                steps.AddRow($"[bold]{Markup.Escape(step.Title)}[/]", "", "", "", "");
            if (step.Group is not null && step.Group != group)
                steps.AddRow($"  [grey]together ({Markup.Escape(step.Group)})[/]", "", "", "", "");
            (title, group) = (step.Title, step.Group);
            steps.AddRow($"{(group is null ? "  " : "    ")}{Markup.Escape(step.Id)}", Markup.Escape(Does(step)), Units.Write(step.Timeout), Word(step), $"[grey]{Markup.Escape(string.Join("; ", Notes(step)))}[/]");
        }
        console.Write(steps);
        console.WriteLine();
        RunTables.Lines(console, detail.Warnings, "[yellow]![/]");
        RunTables.Lines(console, detail.Problems, "[red]✗[/]");
    }

    public static void Evaluations(IAnsiConsole console, EvaluationList list)
    {
        foreach (var one in list.Evaluations)
        {
            var mark = one.Verdict switch { "ready" => "[green]✓[/]", "needs_inputs" => "[grey]·[/]", _ => "[red]✗[/]" };
            console.MarkupLine($"{mark} [bold]{Markup.Escape(one.Runbook)}[/] {one.Verdict.Replace('_', ' ')} [grey]{one.Hash}, reviewed {Day(one.Reviewed)}{(one.ExpectedMs is { } ms ? $", takes about {RunTables.Time(ms)}" : "")}[/]");
            RunTables.Lines(console, one.Reasons, one.Verdict == "needs_inputs" ? " " : "[red]✗[/]");
            RunTables.Lines(console, one.Warnings, "[yellow]![/]");
        }
    }

    public static void Journal(IAnsiConsole console, IReadOnlyList<RunLine> lines)
    {
        var writer = new JournalWriter();
        foreach (var line in lines)
            writer.Write(console, line);
    }

    /// <summary>A journal, line by line; each is told with what the lines before it say.</summary>
    internal sealed class JournalWriter
    {
        private RunState? _state;

        public void Write(IAnsiConsole console, RunLine line)
        {
            if (line.Event is not { } happened)
                return;
            _state = RunState.Apply(_state, happened);
            var text = happened switch
            {
                RunEvent.RunStarted e => $"run of {e.Runbook.Name} {e.Hash} by {e.Actor}: {e.Reason}",
                RunEvent.StepStarted e => $"{e.Step}: started{(e.Attempt > 1 ? string.Create(CultureInfo.InvariantCulture, $", attempt {e.Attempt}") : "")}",
                RunEvent.RunFinished e => $"{RunPhaseWord(e.State)}: {e.Reason}{(e.Person is { } person ? $" {person}" : "")}",
                _ => RunProgress.Sentence(happened, _state) ?? happened.GetType().Name,
            };
            console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{line.Position,4}  {happened.At.UtcDateTime:yyyy-MM-dd HH:mm:ss.fff}  {text}"));
        }

        private static string RunPhaseWord(RunPhase phase) => System.Text.Json.JsonNamingPolicy.SnakeCaseLower.ConvertName(phase.ToString());
    }

    private static string Does(RunbookStep step) =>
        step.Manual is { } manual ? $"by hand: {manual}"
        : step.Runbook is { } child ? $"runbook {child}"
        : step.Action == StepKind.Approval ? "agreement"
        : step.Action;

    private static IEnumerable<string> Notes(RunbookStep step)
    {
        if (step.Only is { } only)
            yield return $"only {only}";
        if (step.When is { } when)
            yield return $"when {when}";
        if (step.Approval is { } approval)
            yield return string.Create(CultureInfo.InvariantCulture, $"{approval.Count} of {string.Join(", ", approval.Roles)} must agree within {Units.Write(approval.Timeout)}");
        if (step.Retries > 0)
            yield return string.Create(CultureInfo.InvariantCulture, $"{step.Retries} retries after {Units.Write(step.RetryDelay)}");
        if (step.Check is { } check)
            yield return $"before: {check.Action}";
        if (step.Verify is { } verify)
            yield return $"afterwards: {verify.Action}";
        if (step.PointOfNoReturn)
            yield return "no way back from here";
        else if (!step.Undo)
            yield return "is not taken back";
        else if (step.UndoBy is { } undo)
            yield return $"taken back by {undo.Action ?? undo.Runbook}";
    }

    private static string Word(RunbookStep step) => System.Text.Json.JsonNamingPolicy.SnakeCaseLower.ConvertName(step.OnFailure.ToString()).Replace('_', ' ');

    private static string Day(DateOnly? day) => day?.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture) ?? "never";

    private static string Short(string text) => text.Split(':')[0];
}
