using BuildRunner.Client.Recovery;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Runbooks;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>How a failover's plan and its result read to the engineer on call.</summary>
internal static class FailoverTables
{
    public static string Heading(RunPlan plan, string what)
    {
        var database = plan.Inputs.GetValueOrDefault("database", "main");
        var target = plan.Inputs.GetValueOrDefault("target");
        var accepted = plan.Inputs.GetValueOrDefault("accept_data_loss") == "true" ? ", accepting data loss" : "";
        return $"{char.ToUpperInvariant(what[0])}{what[1..]} of {database}{(target is null ? "" : $" to {target}")}{accepted}";
    }

    public static void Result(IAnsiConsole console, RunRecord run, FailoverReport report)
    {
        console.MarkupLine(Verdict(run, report));
        if (run.State != RunPhase.Succeeded && run.Outcome is { } outcome)
            RunTables.Lines(console, [outcome], "[red]✗[/]");
        if (run.Person is { } person)
            RunTables.Lines(console, [person], "[red]![/]");

        var grid = new Grid().AddColumn(new GridColumn().NoWrap().PadLeft(2).PadRight(3)).AddColumn(new GridColumn().PadLeft(0).PadRight(0));
        foreach (var (name, value) in Facts(run, report))
            grid.AddRow($"[grey]{name}[/]", Markup.Escape(value));
        console.Write(grid);
        RunTables.Lines(console, report.Warnings, "[yellow]![/]");
        if (report is { Epoch: not null, From: { } from, SealedAt: null } && run.Lost?.Commits is null)
        {
            var back = report.Proof?.Kind == Core.Databases.FenceProofKind.Stopped ? $"{from} rejoins as a standby by itself; what it had written past the fork is counted then" : $"bring {from} back. It rejoins as a standby, and what it had written past the fork is counted";
            console.MarkupLine($"Next: {Markup.Escape(back)}: [aqua]br runbook status {Markup.Escape(run.Id)}[/]");
        }
    }

    private static string Verdict(RunRecord run, FailoverReport report) => run.State switch
    {
        _ when report.Success => $"[green]✓[/] [bold]{Markup.Escape(report.To ?? "")} is the primary of {Markup.Escape(report.Database)}.[/]",
        RunPhase.Refused => "[red]✗[/] [bold]Refused.[/] Everything was taken back.",
        RunPhase.Aborted => "[yellow]↶[/] [bold]Aborted.[/] Everything was taken back.",
        RunPhase.RolledBack => "[yellow]↶[/] [bold]Failed, and taken back.[/]",
        _ when report.RtoMs is not null => $"[yellow]![/] [bold]{Markup.Escape(report.To ?? "")} is the primary of {Markup.Escape(report.Database)} and takes traffic, but not all is well.[/]",
        _ => "[red]✗[/] [bold]Failed.[/]",
    };

    private static IEnumerable<(string Name, string Value)> Facts(RunRecord run, FailoverReport report)
    {
        if (report.Epoch is not null)
        {
            yield return ("outage", run.OutageMs is { } outage
                ? $"{RunTables.Time(outage)} without an acknowledged write{(report.OutagePerGateway.Count > 1 ? $" ({string.Join(", ", report.OutagePerGateway.OrderBy(g => g.Key, StringComparer.Ordinal).Select(g => $"{g.Key} {RunTables.Time(g.Value)}"))})" : "")}"
                : "unknown: no gateway has seen a write before and after");
        }
        if (report.RtoMs is { } rto)
        {
            yield return ("recovery time", $"{RunTables.Time(rto)} from the command{(report.RtoFromDetectionMs is { } detected ? $", {RunTables.Time(detected)} from the first failed check" : "")}; "
                + $"objective {RunTables.Time(report.RtoObjectiveMs)}: {(report.RtoAchieved ? "achieved" : "missed")}");
        }
        if ((run.Lost ?? report.Lost) is { } lost)
            yield return ("lost", report.HeldBy is { } held ? $"nothing that was acknowledged: {held} held it{(lost.Commits is null ? "" : $"; {RunTables.Lost(lost)} in the old WAL")}" : lost.Commits is null && report.SealedAt is { } seal ? $"nothing that was acknowledged: it lay before {seal}, and {report.To} held it" : $"{RunTables.Lost(lost)}{(lost.Commits is null && report.KnownLossMs is { } known ? known == 0 ? "; as far as was known, the copy held everything" : $"; the copy was known to be {RunTables.Time(known)} behind" : "")}");
        if (report.Proof is { } proof)
            yield return ("proof", $"{System.Text.Json.JsonNamingPolicy.SnakeCaseLower.ConvertName(proof.Kind.ToString())}: {proof.Evidence}");
        if (report is { FormerEpoch: { } former, Epoch: { } epoch })
        {
            yield return ("epoch", string.Create(CultureInfo.InvariantCulture, $"{former} → {epoch}")
                + (report.Fork is { } fork ? $", forked at {fork}{(report.FormerEnd is { } end ? $" of {end}" : "")}" : "") + (report.Timeline is { } line ? string.Create(CultureInfo.InvariantCulture, $", timeline {line}") : ""));
        }
        yield return ("run", $"{run.Id}, {RunTables.Time(run.DurationMs ?? 0)} in all");
    }
}
