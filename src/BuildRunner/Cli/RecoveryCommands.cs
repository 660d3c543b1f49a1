using System.CommandLine;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Recovery;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>`br dr …`: who is primary, and moving it.</summary>
internal static class RecoveryCommands
{
    private static readonly Option<string?> Target = new("--target") { Description = "Region that becomes the primary (default: the best copy)", HelpName = "region" };
    private static readonly Option<string?> Reason = new("--reason") { Description = "Why; kept with the run. Required except in a dry run", HelpName = "text" };
    private static readonly Option<bool> DryRun = new("--dry-run") { Description = "Print the plan and what stands against it; change nothing" };
    private static readonly Option<bool> AcceptDataLoss = new("--accept-data-loss") { Description = "Go ahead over recovery.loss_max, or when the loss is not known" };
    private static readonly Option<string?> AssumeFenced = new("--assume-fenced") { Description = "You know that the old primary is off, and how; audited", HelpName = "how you know" };
    private static readonly Option<bool> CutLong = new("--cut-long-transactions") { Description = "End transactions on the primary that are older than 300 ms; without it they make the move refuse" };
    private static readonly Option<string?> Database = new("--database") { Description = "Database to move (default: main)", HelpName = "name" };
    private static readonly Option<FileInfo?> OutFile = new("--out") { Description = "Write it to a file instead", HelpName = "file" };
    internal static readonly Option<bool> Yes = new("--yes", "-y") { Description = "Do not ask" };

    public static Command Build() => new("dr", "Disaster recovery: who is primary, and moving it to another region (room Recovery)")
    {
        Status(),
        ReadinessCommand.Build(),
        Sheet(),
        AdoptDatabaseCommand.Build(),
        DrillCommands.Build(),
        EvidenceCommands.Build(),
        Failover(),
        Planned(FailoverRunbook.Switchover, "Make another region the primary while both are well: held writes complete, nothing is lost", "switchover", "Switching over"),
        Planned(FailoverRunbook.Failback, "Move the primary back to a region that was lost and has rejoined", "failback", "Failing back"),
    };

    private static Command Status() => new Command("status", "Primary, lag, what a failover would lose now, and the last one").Does(async context =>
    {
        var status = await new RecoveryClient(context.Api()).StatusAsync(context.Cancel);
        context.Print(status, RecoveryJson.Default.RecoveryStatus, Table);
        return ExitCode.Fine;
    });

    private static Command Failover() => new Command("failover", "Make another region the primary, after proof that the old one is silent")
    {
        Target, Reason, DryRun, AcceptDataLoss, AssumeFenced, Database, Yes,
        BreakGlassCommand.WithoutServer, BreakGlassCommand.Key, BreakGlassCommand.Agents, BreakGlassCommand.Journal, BreakGlassCommand.Listen, BreakGlassCommand.Insecure,
    }.Does(context => context.Parse.GetValue(BreakGlassCommand.WithoutServer) ? WithoutServerAsync(context) : MoveAsync(context, FailoverRunbook.Name, "failover", "Failing over"));

    private static Task<ExitCode> WithoutServerAsync(CliContext context) => BreakGlassCommand.RunAsync(context, new BreakGlassCommand.Wish(
        context.Parse.GetValue(Target) ?? throw new CliException(ExitCode.Usage, "Without the server nobody chooses for you: name the region with --target."),
        BreakGlassCommand.Wish.ReasonOr(context.Parse.GetValue(Reason)), context.Parse.GetValue(AssumeFenced), context.Parse.GetValue(AcceptDataLoss),
        context.Parse.GetValue(DryRun), Ended, Inputs(context)));

    private static Command Sheet() => new Command("sheet", "Print the page to keep on paper: addresses, whom to call, and the commands for the day on which nothing answers") { OutFile }.Does(async context =>
    {
        var api = context.Api();
        var sheet = await api.SheetAsync(api.Server?.GetLeftPart(UriPartial.Authority) ?? "unknown", context.Cancel);
        if (context.Parse.GetValue(OutFile) is { } file)
        {
            await File.WriteAllTextAsync(file.FullName, sheet.Text, context.Cancel);
            context.Talk.WriteLine($"Written to {file.FullName}; sheet {sheet.Hash[..16]}.");
            return ExitCode.Fine;
        }
        context.Print(sheet, SheetJson.Default.RecoverySheet, static (_, page) => Console.Out.Write(page.Text));
        return ExitCode.Fine;
    });

    private static Command Planned(string runbook, string summary, string what, string doing) => new Command(runbook, summary)
    {
        Target, Reason, DryRun, CutLong, Database, Yes,
    }.Does(context => MoveAsync(context, runbook, what, doing));

    private static async Task<ExitCode> MoveAsync(CliContext context, string runbook, string what, string doing)
    {
        var dryRun = context.Parse.GetValue(DryRun);
        if (!dryRun && string.IsNullOrWhiteSpace(context.Parse.GetValue(Reason)))
            throw new CliException(ExitCode.Usage, $"A {what} needs a reason: --reason \"…\". (A dry run does not: --dry-run.)");
        var api = context.Api();
        var rto = TimeSpan.FromSeconds((await new RecoveryClient(api).StatusAsync(context.Cancel)).RtoSeconds); // also tells at once whether a server is there
        var progress = new RunProgress(context, new RunbooksClient(api));
        if (!dryRun)
            context.Talk.WriteLine($"{doing}{(context.Parse.GetValue(Target) is { } to ? $" to {to}" : "")} at {api.Server?.GetLeftPart(UriPartial.Authority)}: {context.Parse.GetValue(Reason)}");
        var answer = await progress.StartAsync(new RunRequest { Runbook = runbook, Inputs = Inputs(context), Reason = context.Parse.GetValue(Reason), DryRun = dryRun });
        if (answer.Plan is { } plan)
        {
            var planned = new FailoverResult { Success = plan.Ready, DurationMinutes = plan.ExpectedMs / 60_000, RtoAchieved = plan.Ready && plan.ExpectedMs <= rto.TotalMilliseconds, Plan = plan };
            context.Print(planned, RecoveryJson.Default.FailoverResult, (console, _) => RunTables.Plan(console, plan, FailoverTables.Heading(plan, what), rto));
            return plan.Ready ? ExitCode.Fine : ExitCode.Refused;
        }
        return Ended(context, await progress.FollowAsync(answer.Run!.Id));
    }

    private static ExitCode Ended(CliContext context, RunRecord run)
    {
        var report = run.Report is { } data ? System.Text.Json.JsonSerializer.Deserialize(data, RecoveryJson.Default.FailoverReport) : null;
        var result = new FailoverResult
        {
            Success = report?.Success ?? false,
            DurationMinutes = (run.DurationMs ?? 0) / 60_000,
            RtoAchieved = report?.RtoAchieved ?? false,
            Run = run,
        };
        context.Print(result, RecoveryJson.Default.FailoverResult, (console, _) =>
        {
            // The steps have just been shown; `br runbook status RUN` shows them again.
            if (report is null)
                RunTables.Run(console, run);
            else
                FailoverTables.Result(console, run, report);
        });
        return result.Success ? ExitCode.Fine : RunTables.CodeOf(run.State) is ExitCode.Fine ? ExitCode.Failed : RunTables.CodeOf(run.State);
    }

    private static Dictionary<string, string> Inputs(CliContext context)
    {
        var inputs = new Dictionary<string, string>();
        if (context.Parse.GetValue(Target) is { } target)
            inputs["target"] = target;
        if (context.Parse.GetValue(AcceptDataLoss))
            inputs["accept_data_loss"] = "true";
        if (context.Parse.GetValue(CutLong))
            inputs["cut_long_transactions"] = "true";
        if (context.Parse.GetValue(AssumeFenced) is { } why)
            inputs["assume_fenced"] = why;
        if (context.Parse.GetValue(Database) is { } database)
            inputs["database"] = database;
        return inputs;
    }

    private static void Table(IAnsiConsole console, RecoveryStatus status)
    {
        if (status.Overtaken is { } overtaken)
            console.MarkupLine($"[red]{Markup.Escape(overtaken)}[/] What follows is what it knew before.");
        foreach (var database in status.Databases)
        {
            console.MarkupLine(database.Primary is { } primary
                ? $"[bold]{Markup.Escape(database.Name)}[/]: {Markup.Escape(primary)} is the primary, epoch {database.Epoch} {database.State?.ToString().ToLowerInvariant()}{(database.Run is { } run ? $" by {Markup.Escape(run)}" : "")}."
                : $"[bold]{Markup.Escape(database.Name)}[/]: no primary yet.");
            var table = new Table().Border(TableBorder.None).AddColumns("region", "state", "behind", "position", "");
            foreach (var region in database.Regions)
            {
                table.AddRow(
                    Markup.Escape(region.Code), region.State.ToString().ToLowerInvariant(), region.Code == database.Primary ? "" : Behind(region.LagSeconds, region.LagBytes),
                    Markup.Escape(region.Lsn ?? ""), $"[grey]{Markup.Escape(region.Detail ?? "")}[/]");
            }
            console.Write(table);
            var loses = database.RpoNowSeconds switch
            {
                null => "an unknown amount of writes",
                0 when database.Replication is { Required: > 0 } => "no acknowledged write",
                0 => "nothing, as far as is known",
                { } rpo => $"at most the writes of {RunTables.Time(rpo * 1000)}",
            };
            console.MarkupLine($"A failover now would lose {loses} (objective {RunTables.Time(status.RpoSeconds * 1000)}).");
            if (Replication(database) is { } replication)
                console.MarkupLine(replication);
            console.MarkupLine(Lease(database, status.AutoFailover));
            if (database.LastFailover is { } last)
                console.MarkupLine(Markup.Escape($"Last failover: {last.At:yyyy-MM-dd HH:mm} UTC to {last.To}, {last.State}{(last.OutageMs is { } ms ? $"; writes were away for {RunTables.Time(ms)}" : "")}{(last.Lost is { } lost ? $"; lost: {RunTables.Lost(lost)}" : "")} ({last.Run})."));
            else
                console.MarkupLine("[grey]No failover yet.[/]");
        }
        DnsTables.Records(console, status);
        if (!status.Enabled)
            console.MarkupLine("[yellow]DR_ENABLED is false: no backup, drill or run is started.[/]");
        if (status.Mode == "observe")
            console.MarkupLine("[yellow]mode: observe: nothing is touched.[/]");
        if (status.Freeze is { } freeze)
            console.MarkupLine($"[yellow]Frozen: {Markup.Escape(freeze)}[/]");
    }

    private static string? Replication(DatabaseStatus database) => database.Replication switch
    {
        null => null,
        { State: SyncState.Degraded } status => $"[yellow]Replication is {status.Mode} by policy, and degraded{Since(status)}: no copy can be waited for.[/]",
        { Required: > 0 } status => Markup.Escape($"Replication is {status.Mode}: every acknowledged write is held by {(status.Required == status.Members.Count ? string.Join(" and ", status.Members) : $"{status.Required} of {string.Join(", ", status.Members)}")}{Since(status)}."),
        { State: SyncState.Changing } status => $"[yellow]Replication is {status.Mode} by policy; for whom writes wait is being changed, and nothing is certain meanwhile.[/]",
        { Mode: "asynchronous" } => "[grey]Replication is asynchronous: a write waits for no copy.[/]",
        { } status => $"[yellow]Replication is {status.Mode} by policy; no copy is waited for yet.[/]",
    };

    private static string Since(ReplicationStatus status) => status.Since is { } since ? string.Create(CultureInfo.InvariantCulture, $" since {since:yyyy-MM-dd HH:mm:ss} UTC") : "";

    private static string Lease(DatabaseStatus database, bool automatic) => database.Lease switch
    {
        null when automatic => "[yellow]Automatic failover is on, and no lease is kept: look at `br config show`.[/]",
        null => "[grey]Automatic failover is off: a person decides (AUTO_FAILOVER_ENABLED).[/]",
        { ByFailsafe: true } lease => $"[yellow]Automatic failover is on; {Markup.Escape(database.Primary ?? "the primary")} does not hear the server and goes on by the candidates' promises ({Left(lease)}).[/]",
        { Enforced: false } when database.Replication is { Required: > 0 } replication => $"Automatic failover is on; commits of {Markup.Escape(database.Primary ?? "the primary")} wait for {Markup.Escape(string.Join(", ", replication.Members))}, and cutting them off is the proof.",
        { Enforced: true } lease => $"Automatic failover is on; the lease of {Markup.Escape(database.Primary ?? "the primary")} is enforced ({Left(lease)}).",
        { } lease => $"[yellow]Automatic failover is on, and the lease of {Markup.Escape(database.Primary ?? "the primary")} is not enforced yet{(lease.Detail is { } why ? $" ({Markup.Escape(why)})" : "")}: a lost region is replaced only with another proof.[/]",
    };

    private static string Left(LeaseStatus lease) => lease.LeftSeconds is { } left
        ? string.Create(CultureInfo.InvariantCulture, $"{left:0.0} s left of {lease.TtlSeconds:0.#} s")
        : $"how much is left is unknown; it is {lease.TtlSeconds.ToString("0.#", CultureInfo.InvariantCulture)} s long";

    private static string Behind(double? seconds, long? bytes) => (seconds, bytes) switch
    {
        (null, _) => "[grey]unknown[/]",
        (0, null or 0) => "nothing",
        (0, { } few) => RunTables.Size(few),
        ({ } lag, null or 0) => RunTables.Time(lag * 1000),
        ({ } lag, { } many) => $"{RunTables.Time(lag * 1000)}, {RunTables.Size(many)}",
    };
}
