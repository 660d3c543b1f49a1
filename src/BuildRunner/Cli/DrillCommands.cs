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
    private static readonly Option<int?> OutageMax = new("--outage-max") { Description = "Seconds without writes after which the drill takes itself back (default: 60; practice: 600)", HelpName = "seconds" };
    private static readonly Option<bool> Practice = new("--practice") { Description = "People recover by hand (--participants); the system breaks, times them and puts everything back" };
    private static readonly Option<string?> Participants = new("--participants") { Description = "With --practice: who takes part, names with commas", HelpName = "names" };
    private static readonly Option<bool> AnnounceOnly = new("--announce-only") { Description = "With --practice: nothing is broken, the fault is only announced" };
    private static readonly Option<string?> Reason = new("--reason") { Description = "Why; kept with the drill (default: drill)", HelpName = "text" };
    private static readonly Option<bool> DryRun = new("--dry-run") { Description = "Print the plan and what stands against it; change nothing" };

    public static Command Build() => new("drill", "Tries recovery for real: breaks something, measures how it comes back, and puts everything as it was") { Run(), List(), Show(), Scenarios(), Schedule(), Arm() };

    private static Command Run() => new Command("run", "Break something for real, let recovery happen, measure, and put everything as it was") { Kind, Named, Fault, Practice, Participants, AnnounceOnly, Target, Database, OutageMax, Reason, DryRun }.Does(async context =>
    {
        var parse = context.Parse;
        var kind = parse.GetRequiredValue(Kind);
        NotYet(kind);
        var inputs = kind == Scenario ? ScenarioInputs(parse.GetValue(Named)) : new Dictionary<string, string> { ["fault"] = parse.GetValue(Fault) ?? "kill" };
        if (kind != Scenario && parse.GetValue(Named) is not null)
            throw new CliException(ExitCode.Usage, "--scenario belongs to --kind scenario.");
        if (kind == Scenario && parse.GetValue(Fault) is not null)
            throw new CliException(ExitCode.Usage, "--fault belongs to --kind failover; a scenario names its own faults.");
        if (parse.GetValue(OutageMax) is { } seconds)
            inputs["outage_max"] = seconds.ToString(CultureInfo.InvariantCulture);
        var practice = PracticeInputs(parse, kind, inputs);
        if (parse.GetValue(Target) is { } target)
            inputs["target"] = target;
        if (parse.GetValue(Database) is { } database)
            inputs["database"] = database;
        var api = context.Api();
        var progress = new RunProgress(context, new RunbooksClient(api));
        var answer = await progress.StartAsync(new RunRequest { Runbook = $"drill-{(practice ? "practice" : kind)}", Inputs = inputs, Reason = parse.GetValue(Reason) ?? (practice ? "practice" : "drill"), DryRun = parse.GetValue(DryRun) });
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

    /// <summary>True when people practise; their inputs are added.</summary>
    private static bool PracticeInputs(ParseResult parse, string kind, Dictionary<string, string> inputs)
    {
        if (!parse.GetValue(Practice))
        {
            return parse.GetValue(Participants) is null && !parse.GetValue(AnnounceOnly) ? false
                : throw new CliException(ExitCode.Usage, "--participants and --announce-only belong to --practice.");
        }
        if (kind != Failover || parse.GetValue(Target) is not null)
            throw new CliException(ExitCode.Usage, "In practice people choose what to do: it goes with --kind failover, and without --target.");
        inputs["participants"] = parse.GetValue(Participants) is { Length: > 0 } names ? names : throw new CliException(ExitCode.Usage, "--practice needs --participants: who takes part, such as anna,ben.");
        if (parse.GetValue(AnnounceOnly))
            inputs["fault"] = parse.GetValue(Fault) is null ? "none" : throw new CliException(ExitCode.Usage, "--announce-only breaks nothing, and takes no --fault.");
        return true;
    }

    private static Command Schedule() => new Command("schedule", "When each kind of drill is due, which are armed, and what was done last").Does(async context =>
    {
        context.Print(await context.Api().ScheduleAsync(context.Cancel), DrillsJson.Default.ScheduleAnswer, Calendar);
        return ExitCode.Fine;
    });

    private static Command Arm()
    {
        var kind = Among(new Option<string>("--kind") { Description = "Which drills", Required = true }, [Failover, Scenario, .. Later]);
        var until = new Option<string?>("--until") { Description = "Until when: 90 days, or 2027-03-01 (default: until --off)", HelpName = "date" };
        var off = new Option<bool>("--off") { Description = "Evaluate only, from now on" };
        return new Command("arm", "Let the calendar do a kind of drill for real; until then what is due is only evaluated") { kind, until, off }.Does(async context =>
        {
            var (which, end, disarm) = (context.Parse.GetRequiredValue(kind), context.Parse.GetValue(until), context.Parse.GetValue(off));
            if (disarm && end is not null)
                throw new CliException(ExitCode.Usage, "--off takes no --until.");
            if (!disarm)
                NotYet(which);
            var order = new ArmOrder { Kind = which, Off = disarm, Until = end is null ? null : FreezeCommands.Until(end, DateTimeOffset.UtcNow) };
            context.Print(await context.Api().ArmAsync(order, context.Cancel), DrillsJson.Default.ScheduleAnswer, Calendar);
            return ExitCode.Fine;
        });
    }

    private static void Calendar(IAnsiConsole console, ScheduleAnswer answer)
    {
        var table = new Table().Border(TableBorder.None).AddColumns("drill", "crontab (UTC)", "next", "armed", "last time");
        foreach (var row in answer.Schedule)
        {
            table.AddRow(row.Kind, row.Cron, row.Next is { } next ? At(next) : "never",
                row.NotYet is not null ? "[grey]not yet[/]" : row.Armed ? $"[green]armed[/]{(row.ArmedUntil is { } end ? $" until {At(end)}" : "")}" : "evaluated only",
                Markup.Escape(row.Last switch
                {
                    { Did: { } did, Due: { } due } last => $"{At(due)}: {FaultKinds.Word(did)}{(last.Run is { } run ? $" ({run})" : last.Reason is { } reason ? $" ({reason})" : "")}",
                    _ => "none has come yet",
                }));
        }
        console.Write(table);
        if (answer.WhyNotNow is { } why)
            console.MarkupLineInterpolated($"[yellow]now none would begin:[/] {why}");
        foreach (var row in answer.Schedule.Where(r => r.NotYet is not null))
            console.MarkupLineInterpolated($"[grey]{row.Kind}: {row.NotYet}[/]");

        static string At(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture);
    }

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
            var table = new Table().Border(TableBorder.None).AddColumns("drill", "kind", "ended", "outcome", "writes away", "objective", "lost");
            foreach (var drill in answer.Drills)
            {
                table.AddRow(Markup.Escape(drill.Id), Kinds(drill), drill.EndedAt?.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture) ?? "", Word(drill),
                    drill.OutageMs is { } ms ? RunTables.Time(ms) : "[grey]unknown[/]", RunTables.Time(drill.RtoObjectiveMinutes * 60_000), Lost(drill));
            }
            console.Write(table);
            foreach (var trend in answer.Trends)
                console.MarkupLine(Trend(trend));
        });
        return ExitCode.Fine;
    });

    private static string Kinds(DrillRecord drill) => drill.Participants is not null ? $"{drill.Kind}, practice" : drill.DryRun ? $"{drill.Kind}, evaluated" : drill.Kind;

    /// <summary>`failover: 5 drills, 4 within the objectives; writes away ▂▃▁▁█ (median 3.1 s of 30 min), faster than before`.</summary>
    internal static string Trend(DrillTrend trend)
    {
        var objective = trend.Points.Count > 0 ? trend.Points[^1].RtoObjectiveMinutes : 0;
        var met = $"{trend.Met} of {trend.Drills} within the objectives";
        var rto = trend.RtoMedianMinutes is { } median
            ? $"writes away {Bars([.. trend.Points.Select(p => p.RtoMinutes)])} median {RunTables.Time(median * 60_000)}, worst {RunTables.Time(trend.RtoWorstMinutes!.Value * 60_000)}, objective {RunTables.Time(objective * 60_000)}"
            : "writes away unknown";
        var rpo = trend.RpoWorstMinutes is { } worst ? $"lost at most {RunTables.Time(worst * 60_000)}" : "loss unknown";
        return $"[bold]{Markup.Escape(trend.Kind)}[/]: {met}; {rto}; {rpo}{trend.Direction switch { TrendDirection.Faster => "; [green]faster than before[/]", TrendDirection.Slower => "; [yellow]slower than before[/]", TrendDirection.Steady => "; as before", _ => "" }}";
    }

    /// <summary>One bar a drill, the oldest first, the highest being the worst; a gap is unknown.</summary>
    private static string Bars(IReadOnlyList<double?> values)
    {
        const string heights = "▁▂▃▄▅▆▇█";
        var most = values.Max() ?? 0;
        return string.Concat(values.Select(v => v is not { } value ? ' ' : heights[most <= 0 ? 0 : Math.Clamp((int)(value / most * (heights.Length - 1)), 0, heights.Length - 1)]));
    }

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
        if (drill.Participants is { } people)
            Row("people", $"{string.Join(", ", people)}; detection {Took(drill.DetectionMinutes)}, decision {Took(drill.DecisionMinutes)}, recovery {Took(drill.RecoveryMinutes)}");
        if (drill.Failover is { } failover)
            Row("failover", $"br runbook status {failover}");
        Row("notes", drill.Notes);
        console.Write(grid);

        static string Took(double? minutes) => minutes is { } known ? RunTables.Time(known * 60_000) : "unknown";

        void Row(string name, string value) => grid.AddRow($"[grey]{name}[/]", Markup.Escape(value));
    }

    private static string Word(DrillRecord drill) => drill.Outcome switch { "success" => "[green]✓ success[/]", "ready" => "[green]would begin[/]", "refused" => "[yellow]would be refused[/]", "aborted" => "[yellow]↶ aborted[/]", _ => "[red]✗ failed[/]" };

    private static string Lost(DrillRecord drill) => drill.LostCommits is { } commits ? $"{commits.ToString(CultureInfo.InvariantCulture)} commits" : "[grey]unknown[/]";

    private static Option<T> Among<T>(Option<T> option, params string[] values)
    {
        option.AcceptOnlyFromAmong(values);
        return option;
    }
}
