using System.CommandLine;
using BuildRunner.Client.Runbooks;

namespace BuildRunner.Cli;

/// <summary>`br runbook …`: procedures, and their runs.</summary>
internal static class RunbookCommands
{
    private static readonly Option<string[]> Input = new("--input", "-i") { Description = "An input, as name=value; repeatable", HelpName = "name=value" };
    private static readonly Option<string?> Reason = new("--reason") { Description = "Why; kept with the run", HelpName = "text" };
    private static readonly Option<bool> DryRun = new("--dry-run") { Description = "Print the plan and what stands against it; change nothing" };
    private static readonly Option<bool> Detach = new("--detach") { Description = "Begin the run and do not wait for it" };

    public static Command Build() => new("runbook", "Runbooks: procedures with checks, undo and a journal, and their runs (room Runbooks)")
    {
        List(),
        Show(),
        Evaluate(),
        Run(),
        Status(),
        RunAnswerCommands.Approve(),
        RunAnswerCommands.Reject(),
        RunAnswerCommands.Confirm(),
        Abort(),
        Logs(),
    };

    private static Command List() => new Command("list", "Every runbook, with its version, its last review and what is wrong with it").Does(async context =>
    {
        var list = await new RunbooksClient(context.Api()).ListAsync(context.Cancel);
        context.Print(list, RunbooksJson.Default.RunbookList, RunbookTables.List);
        return ExitCode.Fine;
    });

    private static Command Show()
    {
        var name = new Argument<string>("runbook") { Description = "A runbook's name (`br runbook list`)" };
        return new Command("show", "A runbook's inputs and steps, and what is wrong with it") { name }.Does(async context =>
        {
            var detail = await new RunbooksClient(context.Api()).ShowAsync(context.Parse.GetRequiredValue(name), context.Cancel);
            context.Print(detail, RunbooksJson.Default.RunbookDetail, RunbookTables.Show);
            return detail.Problems.Count == 0 ? ExitCode.Fine : ExitCode.Refused;
        });
    }

    private static Command Evaluate()
    {
        var name = new Argument<string?>("runbook") { Arity = ArgumentArity.ZeroOrOne, Description = "A runbook's name; without it, all" };
        return new Command("evaluate", "Ask everything that a run would ask, and change nothing: could it be run now?") { name, Input }.Does(async context =>
        {
            var list = await new RunbooksClient(context.Api()).EvaluateAsync(new EvaluateRequest { Runbook = context.Parse.GetValue(name), Inputs = Inputs(context.Parse.GetValue(Input) ?? []) }, context.Cancel);
            context.Print(list, RunbooksJson.Default.EvaluationList, RunbookTables.Evaluations);
            return list.Evaluations.All(e => e.Verdict is "ready" or "needs_inputs") ? ExitCode.Fine : ExitCode.Refused;
        });
    }

    private static Command Logs()
    {
        var run = new Argument<string>("run") { Description = "A run's id (`br runbook status`)" };
        var follow = new Option<bool>("--follow", "-f") { Description = "Go on until the run has ended" };
        return new Command("logs", "A run's journal: what happened, when, by whom") { run, follow }.Does(async context =>
        {
            var client = new RunbooksClient(context.Api());
            var id = context.Parse.GetRequiredValue(run);
            if (!context.Parse.GetValue(follow))
            {
                context.Print(await client.LogAsync(id, context.Cancel), RunbooksJson.Default.RunLog, (console, log) => RunbookTables.Journal(console, log.Lines));
                return ExitCode.Fine;
            }
            _ = await client.RunAsync(id, context.Cancel); // no such run is told at once
            var journal = new RunbookTables.JournalWriter();
            await foreach (var line in client.FollowAsync(id, RunProgress.Patience, null, TimeProvider.System, context.Cancel))
            {
                if (line.Event is null)
                    continue;
                if (context.Form == OutputForm.Table)
                    journal.Write(context.Out, line);
                else
                    Console.Out.WriteLine(System.Text.Json.JsonSerializer.Serialize(line, RunbooksJson.Default.RunLine));
            }
            return ExitCode.Fine;
        });
    }

    private static Command Run()
    {
        var name = new Argument<string>("runbook") { Description = "A runbook's name (`br runbook list`)" };
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
        var run = new Argument<string>("run") { Description = "A run's id (`br runbook status`)" };
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
