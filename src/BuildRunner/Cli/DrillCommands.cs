using System.CommandLine;
using System.Text.Json;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Recovery;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>`br dr drill …`: trying recovery for real.</summary>
internal static class DrillCommands
{
    private const string Failover = "failover";
    private const string Scenario = "scenario";
    private static readonly string[] Later = ["data-recovery", "disaster"];
    private static readonly Option<string> Kind = Among(new Option<string>("--kind") { Description = "What is tried: failover (weekly), scenario (monthly); data-recovery and disaster come with backups", DefaultValueFactory = _ => Failover }, [Failover, Scenario, .. Later]);
    private static readonly Option<string?> Named = new("--scenario") { Description = "With --kind scenario: a name of `br dr drill scenarios`, or a YAML file", HelpName = "name|file" };
    private static readonly Option<string?> Fault = Among(new Option<string?>("--fault") { Description = "What breaks the primary's database: kill (SIGKILL to it and its guard, the default) or stop" }, "kill", "stop");
    private static readonly Option<string?> Target = new("--target") { Description = "Region that takes over (default: the best copy)", HelpName = "region" };
    private static readonly Option<string?> Database = new("--database") { Description = "Database whose primary is broken (default: main)", HelpName = "name" };
    private static readonly Option<int> OutageMax = new("--outage-max") { Description = "Seconds without writes after which the drill takes itself back", DefaultValueFactory = _ => 60 };
    private static readonly Option<string?> Reason = new("--reason") { Description = "Why; kept with the drill (default: drill)", HelpName = "text" };
    private static readonly Option<bool> DryRun = new("--dry-run") { Description = "Print the plan and what stands against it; change nothing" };

    public static Command Build() => new("drill", "Tries recovery for real: breaks something, measures how it comes back, and puts everything as it was") { Run(), List(), Show(), Scenarios() };

    private static Command Run() => new Command("run", "Break something for real, let recovery happen, measure, and put everything as it was") { Kind, Named, Fault, Target, Database, OutageMax, Reason, DryRun }.Does(async context =>
    {
        var parse = context.Parse;
        var kind = parse.GetRequiredValue(Kind);
        NotYet(kind);
        var inputs = kind == Scenario ? ScenarioInputs(parse.GetValue(Named)) : new Dictionary<string, string> { ["fault"] = parse.GetValue(Fault) ?? "kill" };
        if (kind != Scenario && parse.GetValue(Named) is not null)
            throw new CliException(ExitCode.Usage, "--scenario belongs to --kind scenario.");
        if (kind == Scenario && parse.GetValue(Fault) is not null)
            throw new CliException(ExitCode.Usage, "--fault belongs to --kind failover; a scenario names its own faults.");
        inputs["outage_max"] = parse.GetValue(OutageMax).ToString(CultureInfo.InvariantCulture);
        if (parse.GetValue(Target) is { } target)
            inputs["target"] = target;
        if (parse.GetValue(Database) is { } database)
            inputs["database"] = database;
        var api = context.Api();
        var progress = new RunProgress(context, new RunbooksClient(api));
        var answer = await progress.StartAsync(new RunRequest { Runbook = $"drill-{kind}", Inputs = inputs, Reason = parse.GetValue(Reason) ?? "drill", DryRun = parse.GetValue(DryRun) });
        if (answer.Plan is { } plan)
        {
            context.Print(answer, RunbooksJson.Default.RunAnswer, (console, _) => RunTables.Plan(console, plan, $"Drill: {(kind == Scenario ? inputs["scenario"] : kind)}", null));
            return plan.Ready ? ExitCode.Fine : ExitCode.Refused;
        }
        var run = await progress.FollowAsync(answer.Run!.Id);
        if (run.Report is not { } report || JsonSerializer.Deserialize(report, DrillsJson.Default.DrillRecord) is not { } drill)
        {
            context.Print(answer with { Run = run }, RunbooksJson.Default.RunAnswer, (console, _) => RunTables.Run(console, run));
            return ExitCode.Failed;
        }
        context.Print(new DrillAnswer { Drill = drill with { EndedAt = run.FinishedAt } }, DrillsJson.Default.DrillAnswer, (console, shown) => Table(console, shown.Drill));
        return drill.Outcome == "success" ? ExitCode.Fine : ExitCode.Failed;
    });

    private static void NotYet(string kind)
    {
        if (Later.Contains(kind))
            throw new CliException(ExitCode.Usage, $"A drill of the kind {kind} restores from backups, and there are none yet: it comes with the issue Backups. What can be tried today: --kind {Failover} and --kind {Scenario}.");
    }

    /// <summary>By name the server knows it; a file is read here, and its faults go with the run.</summary>
    private static Dictionary<string, string> ScenarioInputs(string? named)
    {
        if (named is null)
            throw new CliException(ExitCode.Usage, "--kind scenario needs --scenario: a name of `br dr drill scenarios`, or a YAML file.");
        if (!File.Exists(named))
        {
            return named.Contains('/', StringComparison.Ordinal) || named.EndsWith(".yml", StringComparison.Ordinal)
                ? throw new CliException(ExitCode.Usage, $"There is no file {named}.")
                : new() { ["scenario"] = named };
        }
        var binding = Server.Recovery.Drills.DrillScenarios.Bind(File.ReadAllBytes(named), named);
        return binding.Scenario is { } scenario
            ? new() { ["scenario"] = scenario.Name, ["faults"] = DrillFault.Write(scenario.Faults), ["expect"] = FaultKinds.Word(scenario.Expect) }
            : throw new CliException(ExitCode.Usage, string.Join(Environment.NewLine, binding.Errors));
    }

    private static Command Scenarios() => new Command("scenarios", "Scenarios that can be tried: the shipped ones and those of the folder `scenarios` beside the policy").Does(async context =>
    {
        context.Print(await context.Api().ScenariosAsync(context.Cancel), DrillsJson.Default.ScenariosAnswer, (console, answer) =>
        {
            foreach (var scenario in answer.Scenarios)
            {
                console.MarkupLineInterpolated($"[bold]{scenario.Name}[/]  {scenario.Title} [grey](expect {FaultKinds.Word(scenario.Expect)})[/]");
                foreach (var fault in scenario.Faults)
                    console.MarkupLineInterpolated($"  [grey]{fault}[/]");
            }
            foreach (var bad in answer.Bad)
                console.MarkupLineInterpolated($"[yellow]not read: {bad}[/]");
        });
        return ExitCode.Fine;
    });

    private static Command List() => new Command("list", "Drills and what they came to, newest first").Does(async context =>
    {
        context.Print(await context.Api().DrillsAsync(context.Cancel), DrillsJson.Default.DrillsAnswer, (console, answer) =>
        {
            if (answer.Drills.Count == 0)
            {
                console.MarkupLine("[grey]No drill yet. Try one: br dr drill run --kind failover --dry-run[/]");
                return;
            }
            var table = new Table().Border(TableBorder.None).AddColumns("drill", "ended", "outcome", "writes away", "objective", "lost");
            foreach (var drill in answer.Drills)
            {
                table.AddRow(Markup.Escape(drill.Id), drill.EndedAt?.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture) ?? "", Word(drill),
                    drill.OutageMs is { } ms ? RunTables.Time(ms) : "[grey]unknown[/]", RunTables.Time(drill.RtoObjectiveMinutes * 60_000), Lost(drill));
            }
            console.Write(table);
        });
        return ExitCode.Fine;
    });

    private static Command Show()
    {
        var id = new Argument<string>("drill") { Description = "Its id (default: the last)", DefaultValueFactory = _ => "" };
        return new Command("show", "One drill: what was broken, how long users could not write, what was lost") { id }.Does(async context =>
        {
            var drills = (await context.Api().DrillsAsync(context.Cancel)).Drills;
            var asked = context.Parse.GetValue(id);
            var drill = (string.IsNullOrEmpty(asked) ? drills.Count > 0 ? drills[0] : null : drills.FirstOrDefault(d => d.Id == asked))
                ?? throw new CliException(ExitCode.Usage, drills.Count == 0 ? "There has been no drill yet: `br dr drill run --kind failover`." : $"There is no drill '{asked}'. `br dr drill list` shows all; the last is {drills[0].Id}.");
            context.Print(new DrillAnswer { Drill = drill }, DrillsJson.Default.DrillAnswer, (console, shown) => Table(console, shown.Drill));
            return ExitCode.Fine;
        });
    }

    private static void Table(IAnsiConsole console, DrillRecord drill)
    {
        console.MarkupLine($"{Word(drill)} [bold]{Markup.Escape(drill.Scenario)}[/]");
        var grid = new Grid().AddColumn(new GridColumn().NoWrap().PadLeft(2).PadRight(3)).AddColumn(new GridColumn().PadLeft(0).PadRight(0));
        Row("drill", $"{drill.Id}, by {drill.Actor}: {drill.Reason}");
        if (drill.Faults is { } faults)
            Row("broken", faults);
        Row("moved", drill.To is { } to ? $"{drill.From} → {to} and back{(drill.Proof is { } proof ? $", proof {proof}" : "")}" : "nothing moved");
        Row("writes away", drill.OutageMs is { } ms ? $"{RunTables.Time(ms)}; objective {RunTables.Time(drill.RtoObjectiveMinutes * 60_000)}" : "unknown");
        Row("lost", drill.LostCommits is { } commits ? $"{commits} commits{(drill.RpoAchievedMinutes is { } rpo && commits > 0 ? $" of {RunTables.Time(rpo * 60_000)}" : "")}; objective {RunTables.Time(drill.RpoObjectiveMinutes * 60_000)}" : "unknown");
        if (drill.Failover is { } failover)
            Row("failover", $"br runbook status {failover}");
        Row("notes", drill.Notes);
        console.Write(grid);

        void Row(string name, string value) => grid.AddRow($"[grey]{name}[/]", Markup.Escape(value));
    }

    private static string Word(DrillRecord drill) => drill.Outcome switch { "success" => "[green]✓ success[/]", "aborted" => "[yellow]↶ aborted[/]", _ => "[red]✗ failed[/]" };

    private static string Lost(DrillRecord drill) => drill.LostCommits is { } commits ? $"{commits.ToString(CultureInfo.InvariantCulture)} commits" : "[grey]unknown[/]";

    private static Option<T> Among<T>(Option<T> option, params string[] values)
    {
        option.AcceptOnlyFromAmong(values);
        return option;
    }
}
