using System.CommandLine;
using System.Text.Json;
using BuildRunner.Client.Regions;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Runbooks;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>`br regions …`: what regions there are, how healthy each is and why, and what share of the traffic it takes.</summary>
internal static class RegionsCommands
{
    private static readonly Option<string?> From = new("--from") { Description = "Measure latency from this region's gateway (default: the server)", HelpName = "region" };
    private static readonly Option<bool> All = new("--all") { Description = "Also the healthy ones" };
    private static readonly Option<bool> Watch = new("--watch", "-w") { Description = "Stay, and print again when something has changed" };
    private static readonly Option<bool> DryRun = new("--dry-run") { Description = "Say what would be done; change nothing" };
    private static readonly Option<string?> Reason = new("--reason") { Description = "Why; kept with the run and shown with the region", HelpName = "text" };

    static RegionsCommands() => From.CompletionSources.Add(_ => RegionsTables.KnownCodes());

    public static Command Build() => new("regions", "Regions: health, role, latency, lag, and their share of the traffic")
    {
        List(),
        Health(),
        Show(),
        Change("drain", "Send no new work to a region; what is under way ends", "drain-region"),
        Change("undrain", "Send work to a drained region again", "undrain-region"),
        Weight(),
    };

    private static Command List() => new Command("list", "Every region with role, health, latency and lag") { From }.Does(async context =>
    {
        var answer = await new RegionsClient(context.Api()).ListAsync(context.Parse.GetValue(From), context.Cancel);
        context.Print(answer, RegionsJson.Default.RegionsAnswer, RegionsTables.List);
        return ExitCode.Fine;
    });

    private static Command Health() => new Command("health", "How healthy each region is; exit 4 when one is not") { All, From, Watch }.Does(async context =>
    {
        var client = new RegionsClient(context.Api());
        var all = context.Parse.GetValue(All);
        var answer = await client.HealthAsync(all, context.Parse.GetValue(From), context.Cancel);
        context.Print(answer, RegionsJson.Default.RegionsAnswer, RegionsTables.Health);
        return context.Parse.GetValue(Watch) ? await WatchAsync(context, client, answer) : answer.AllHealthy ? ExitCode.Fine : ExitCode.Refused;
    });

    private static Command Show()
    {
        var region = Region();
        return new Command("show", "One region: its services, its database, and what each observer says") { region, From }.Does(async context =>
        {
            var answer = await new RegionsClient(context.Api()).ShowAsync(context.Parse.GetRequiredValue(region), context.Parse.GetValue(From), context.Cancel);
            context.Print(answer, RegionsJson.Default.RegionAnswer, RegionsTables.Show);
            return ExitCode.Fine;
        });
    }

    private static Command Change(string verb, string summary, string runbook)
    {
        var region = Region();
        return new Command(verb, summary) { region, DryRun, Reason }.Does(context =>
            RunAsync(context, runbook, new Dictionary<string, string> { ["region"] = context.Parse.GetRequiredValue(region) }, verb));
    }

    private static Command Weight()
    {
        var region = Region();
        var share = new Argument<string>("share") { Description = "Percent of what would come here that may come: 20%" };
        return new Command("weight", "Let only a share of a region's traffic come") { region, share, DryRun, Reason }.Does(context =>
        {
            var text = context.Parse.GetRequiredValue(share);
            if (!int.TryParse(text.TrimEnd('%').Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var percent) || percent > 100)
                throw new CliException(ExitCode.Usage, $"'{text}' is not a share; write whole percent from 0% to 100%, such as 20%.");
            return RunAsync(context, "weight-region", new Dictionary<string, string>
            {
                ["region"] = context.Parse.GetRequiredValue(region),
                ["weight"] = percent.ToString(CultureInfo.InvariantCulture),
            }, "weight");
        });
    }

    private static Argument<string> Region()
    {
        var argument = new Argument<string>("region") { Description = "Code of the region, such as us-east-1" };
        argument.CompletionSources.Add(_ => RegionsTables.KnownCodes());
        return argument;
    }

    private static async Task<ExitCode> WatchAsync(CliContext context, RegionsClient client, RegionsAnswer last)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1));
        var shown = Signature(last);
        while (await timer.WaitForNextTickAsync(context.Cancel))
        {
            var answer = await client.HealthAsync(context.Parse.GetValue(All), context.Parse.GetValue(From), context.Cancel);
            if (Signature(answer) == shown)
                continue;
            shown = Signature(answer);
            context.Print(answer, RegionsJson.Default.RegionsAnswer, RegionsTables.Health);
        }
        return ExitCode.Interrupted;
    }

    private static string Signature(RegionsAnswer answer) =>
        string.Join('|', answer.Regions.Select(r => $"{r.Code} {r.Role} {r.Health} {r.Draining} {r.Weight} {string.Join(',', r.Services.Select(s => s.Health))}")) + answer.AllHealthy;

    private static async Task<ExitCode> RunAsync(CliContext context, string runbook, Dictionary<string, string> inputs, string verb)
    {
        var dry = context.Parse.GetValue(DryRun);
        var api = context.Api();
        var runs = new RunbooksClient(api);
        context.Talk.MarkupLineInterpolated($"[grey]{(dry ? "Dry run on" : "On")} {api.Server!.Authority}[/]");
        var answer = await runs.StartAsync(new RunRequest
        {
            Runbook = runbook,
            Inputs = inputs,
            Reason = context.Parse.GetValue(Reason) ?? $"br regions {verb} by {Environment.UserName}",
            DryRun = dry,
        }, context.Cancel);
        if (answer.Plan is { } plan)
        {
            context.Print(answer, RunbooksJson.Default.RunAnswer, (console, _) => RegionsTables.Plan(console, plan));
            return plan.Ready ? ExitCode.Fine : ExitCode.Refused;
        }
        var run = answer.Run ?? throw new JsonException("The server answered neither a run nor a plan.");
        await foreach (var line in runs.FollowAsync(run.Id, TimeSpan.FromSeconds(30), null, TimeProvider.System, context.Cancel))
        {
            if (line.Note is { } note)
                context.Talk.MarkupLineInterpolated($"  {note.Text}");
        }
        var ended = await runs.RunAsync(run.Id, context.Cancel);
        context.Print(ended, RunbooksJson.Default.RunDetail, (console, d) => RegionsTables.Ended(console, d.Run));
        return ended.Run.State == RunPhase.Succeeded ? ExitCode.Fine : ExitCode.Failed;
    }
}
