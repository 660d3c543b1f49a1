using System.CommandLine;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Runbooks;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>`br dr adopt REGION`: a PostgreSQL that runs already becomes the region's, after consent to one restart.</summary>
internal static class AdoptDatabaseCommand
{
    private const string Runbook = "adopt-database";
    private static readonly Argument<string> Region = new("region") { Description = "Region whose agent was started with --adopt" };
    private static readonly Option<string?> Database = new("--database") { Description = "Database that it becomes (default: main)", HelpName = "name" };
    private static readonly Option<string?> Reason = new("--reason") { Description = "Why; kept with the run", HelpName = "text" };
    private static readonly Option<bool> DryRun = new("--dry-run") { Description = "Print what would be done and what stands against it; change nothing" };

    public static Command Build() => new Command("adopt", "Take over a PostgreSQL that runs already: restart it once under a guard, so that its region can be fenced") { Region, Database, Reason, DryRun, RecoveryCommands.Yes }.Does(async context =>
    {
        var region = context.Parse.GetRequiredValue(Region);
        var inputs = new Dictionary<string, string> { ["region"] = region };
        if (context.Parse.GetValue(Database) is { } database)
            inputs["database"] = database;
        var progress = new RunProgress(context, new RunbooksClient(context.Api()));
        var reason = context.Parse.GetValue(Reason) ?? $"br dr adopt by {Environment.UserName}";
        var dry = context.Parse.GetValue(DryRun);
        if (dry || !context.Parse.GetValue(RecoveryCommands.Yes))
        {
            var answer = await progress.StartAsync(new RunRequest { Runbook = Runbook, Inputs = inputs, Reason = reason, DryRun = true });
            var plan = answer.Plan ?? throw new System.Text.Json.JsonException("The server answered no plan.");
            if (dry || !plan.Ready)
                context.Print(answer, RunbooksJson.Default.RunAnswer, (console, _) => Show(console, plan, region));
            else
                Show(context.Talk, plan, region);
            if (dry || !plan.Ready)
                return plan.Ready ? ExitCode.Fine : ExitCode.Refused;
            await ConsentAsync(context, region);
        }
        var started = await progress.StartAsync(new RunRequest { Runbook = Runbook, Inputs = inputs, Reason = reason });
        var run = await progress.FollowAsync(started.Run!.Id);
        var outputs = run.Steps.FirstOrDefault(s => s.Id == "adopt")?.Outputs;
        context.Print(run, RunbooksJson.Default.RunRecord, (console, _) =>
        {
            RunTables.Run(console, run);
            if (outputs?.GetValueOrDefault("away_ms") is { } away && double.TryParse(away, CultureInfo.InvariantCulture, out var ms))
                console.MarkupLine($"PostgreSQL did not answer for {RunTables.Time(ms)}. {Markup.Escape(region)} is under its guard now.");
        });
        return RunTables.CodeOf(run.State);
    });

    private static void Show(IAnsiConsole console, RunPlan plan, string region)
    {
        console.MarkupLine($"[bold]Adopting the PostgreSQL of {Markup.Escape(region)}[/]");
        foreach (var line in plan.Steps.Where(s => s.Note is not null).SelectMany(s => s.Note!.Split(" · ")).Concat(plan.Notes))
            console.MarkupLine($"  · {Markup.Escape(line)}");
        foreach (var problem in plan.Problems)
            console.MarkupLine($"  [red]✗[/] {Markup.Escape(problem)}");
        if (!plan.Ready)
            console.MarkupLine("[red]Would be refused[/]; nothing was changed.");
    }

    private static async Task ConsentAsync(CliContext context, string region)
    {
        context.Talk.Markup($"[bold]This cuts every session there once.[/] Type {Markup.Escape(region)} to go ahead: ");
        var typed = await Console.In.ReadLineAsync(context.Cancel);
        context.Talk.WriteLine();
        if (typed is null)
            throw new CliException(ExitCode.Usage, "An adoption restarts PostgreSQL and needs a typed consent. Where nobody can type: --yes.");
        if (typed.Trim() != region)
            throw new CliException(ExitCode.Refused, $"'{typed.Trim()}' is not {region}: not consented to, and nothing was changed.");
    }
}
