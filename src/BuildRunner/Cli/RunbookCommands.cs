using System.CommandLine;
using BuildRunner.Client.Runbooks;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>`br runbook …`: procedures, and their runs.</summary>
internal static class RunbookCommands
{
    private static readonly Option<string[]> Input = new("--input", "-i") { Description = "An input, as name=value; repeatable", HelpName = "name=value" };
    private static readonly Option<string?> Reason = new("--reason") { Description = "Why; kept with the run", HelpName = "text" };
    private static readonly Option<bool> DryRun = new("--dry-run") { Description = "Print the plan and what stands against it; change nothing" };
    private static readonly Option<bool> Detach = new("--detach") { Description = "Begin the run and do not wait for it" };

    public static Command Build() => new("runbook", "Runbooks: procedures with checks, undo and a journal, and their runs")
    {
        List(),
        Show(),
        Run(),
        Status(),
        Abort(),
    };

    private static Command List() => new Command("list", "Every runbook").Does(async context =>
    {
        var list = await new RunbooksClient(context.Api()).ListAsync(context.Cancel);
        context.Print(list, RunbooksJson.Default.RunbookList, (console, data) =>
        {
            var table = new Table().Border(TableBorder.None).AddColumns("runbook", "steps", "hash", "");
            foreach (var runbook in data.Runbooks)
                table.AddRow(Markup.Escape(runbook.Name), runbook.Steps.ToString(CultureInfo.InvariantCulture), $"[grey]{runbook.Hash}[/]", runbook.Problems.Count > 0 ? $"[red]{Markup.Escape(runbook.Problems[0])}[/]" : Markup.Escape(runbook.Title));
            console.Write(table);
        });
        return ExitCode.Fine;
    });

    private static Command Show()
    {
        var name = new Argument<string>("runbook");
        return new Command("show", "A runbook's steps and inputs") { name }.Does(async context =>
        {
            var detail = await new RunbooksClient(context.Api()).ShowAsync(context.Parse.GetRequiredValue(name), context.Cancel);
            context.Print(detail, RunbooksJson.Default.RunbookDetail, (console, data) =>
            {
                console.MarkupLine($"[bold]{Markup.Escape(data.Runbook.Name)}[/] {Markup.Escape(data.Runbook.Title)} [grey]{data.Hash}[/]");
                foreach (var input in data.Runbook.Inputs)
                    console.MarkupLine($"  --input {Markup.Escape(input.Name)}=… {Markup.Escape(input.Summary)}{(input.Required ? " [red]required[/]" : "")}");
                var table = new Table().Border(TableBorder.None).AddColumns("step", "", "action", "on failure", "");
                foreach (var step in data.Runbook.Steps)
                    table.AddRow(Markup.Escape(step.Title), Markup.Escape(step.Id), Markup.Escape(step.Action), step.OnFailure.ToString().ToLowerInvariant(), step.PointOfNoReturn ? "[yellow]no way back[/]" : "");
                console.Write(table);
                foreach (var problem in data.Problems)
                    console.MarkupLine($"[red]✗[/] {Markup.Escape(problem)}");
            });
            return detail.Problems.Count == 0 ? ExitCode.Fine : ExitCode.Refused;
        });
    }

    private static Command Run()
    {
        var name = new Argument<string>("runbook");
        return new Command("run", "Run a runbook, and watch it to its end") { name, Input, Reason, DryRun, Detach }.Does(async context =>
        {
            var client = new RunbooksClient(context.Api());
            var progress = new RunProgress(context, client);
            var answer = await progress.StartAsync(new RunRequest
            {
                Runbook = context.Parse.GetRequiredValue(name),
                Inputs = Inputs(context.Parse.GetValue(Input) ?? []),
                Reason = context.Parse.GetValue(Reason),
                DryRun = context.Parse.GetValue(DryRun),
            });
            if (answer.Plan is { } plan)
            {
                context.Print(answer, RunbooksJson.Default.RunAnswer, (console, _) => RunTables.Plan(console, plan));
                return plan.Ready ? ExitCode.Fine : ExitCode.Refused;
            }
            var run = answer.Run!;
            if (!context.Parse.GetValue(Detach))
                run = await progress.FollowAsync(run.Id);
            context.Print(new RunDetail { Run = run }, RunbooksJson.Default.RunDetail, (console, data) => RunTables.Run(console, data.Run));
            return RunTables.CodeOf(run.State);
        });
    }

    private static Command Status()
    {
        var run = new Argument<string?>("run") { Arity = ArgumentArity.ZeroOrOne, Description = "A run's id; without it, the newest runs" };
        return new Command("status", "Where runs stand") { run }.Does(async context =>
        {
            var client = new RunbooksClient(context.Api());
            if (context.Parse.GetValue(run) is { } id)
                context.Print(await client.RunAsync(id, context.Cancel), RunbooksJson.Default.RunDetail, (console, data) => RunTables.Run(console, data.Run));
            else
                context.Print(await client.RunsAsync(context.Cancel), RunbooksJson.Default.RunList, RunTables.Runs);
            return ExitCode.Fine;
        });
    }

    private static Command Abort()
    {
        var run = new Argument<string>("run");
        return new Command("abort", "Stop a run and take its steps back; refused once there is no way back") { run, Reason }.Does(async context =>
        {
            var client = new RunbooksClient(context.Api());
            var id = context.Parse.GetRequiredValue(run);
            await client.AbortAsync(id, new AbortRequest { Reason = context.Parse.GetValue(Reason) }, context.Cancel);
            var ended = await new RunProgress(context, client).FollowAsync(id);
            context.Print(new RunDetail { Run = ended }, RunbooksJson.Default.RunDetail, (console, data) => RunTables.Run(console, data.Run));
            return ended.State == Core.Runbooks.RunPhase.Aborted ? ExitCode.Fine : ExitCode.Failed;
        });
    }

    private static Dictionary<string, string> Inputs(string[] given)
    {
        var inputs = new Dictionary<string, string>();
        foreach (var text in given)
        {
            var equals = text.IndexOf('=', StringComparison.Ordinal);
            if (equals < 1)
                throw new CliException(ExitCode.Usage, $"'{text}' is not an input; write it as name=value.");
            inputs[text[..equals]] = text[(equals + 1)..];
        }
        return inputs;
    }
}
