using System.CommandLine;
using BuildRunner.Client.Recovery;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>`br dr readiness`: whether recovery would work tonight, and why not.</summary>
internal static class ReadinessCommand
{
    private static readonly Option<bool> Now = new("--now") { Description = "Evaluate now (role operator), instead of showing the evaluation of the last five minutes" };

    public static Command Build() => new Command("readiness", "Would recovery work tonight? One verdict, every reason, and what to do; exits with 4 when not ready or not known") { Now }.Does(async context =>
    {
        var api = context.Api();
        var report = context.Parse.GetValue(Now) ? await api.EvaluateReadinessAsync(context.Cancel) : await api.ReadinessAsync(context.Cancel);
        context.Print(report, ReadinessJson.Default.ReadinessReport, Table);
        return report.Verdict is ReadinessVerdict.Ready or ReadinessVerdict.ReadyWithWarnings ? ExitCode.Fine : ExitCode.Refused;
    });

    private static void Table(IAnsiConsole console, ReadinessReport report)
    {
        var (colour, word) = report.Verdict switch
        {
            ReadinessVerdict.Ready => ("green", "ready"),
            ReadinessVerdict.ReadyWithWarnings => ("yellow", "ready with warnings"),
            ReadinessVerdict.NotReady => ("red", "not ready"),
            _ => ("yellow", "unknown"),
        };
        console.MarkupLine($"[bold {colour}]{word}[/]: {Markup.Escape(report.Sentence)}");
        console.MarkupLine(report.EvaluatedAt is { } at
            ? $"[grey]Evaluated at {at:HH:mm:ss} UTC{(report.AgeSeconds is { } age ? $", {Words.Of(TimeSpan.FromSeconds(age))} ago" : "")}; {report.Runbooks.Count} runbooks. `br dr readiness --now` evaluates again.[/]"
            : "[grey]Not evaluated yet.[/]");
        foreach (var finding in report.Findings)
        {
            var mark = finding.Severity switch { ReadinessSeverity.Red => "[red]■ red[/]", ReadinessSeverity.Unknown => "[yellow]◆ unknown[/]", _ => "[yellow]▲ warning[/]" };
            string[] about = [.. new[] { finding.Runbook is { } runbook ? $"runbook {runbook}" : null, finding.Database is { } database ? $"database {database}" : null, finding.Region }.OfType<string>()];
            console.WriteLine();
            console.MarkupLine($"{mark} [bold]{Markup.Escape(finding.Code)}[/]{(about.Length > 0 ? $" ({Markup.Escape(string.Join(", ", about))})" : "")}{(finding.Since is { } since ? $" [grey]since {since:yyyy-MM-dd HH:mm:ss} UTC[/]" : "")}");
            console.MarkupLine($"  {Markup.Escape(finding.Reason)}");
            console.MarkupLine($"  [grey]→ {Markup.Escape(finding.Remedy)}[/]");
        }
    }
}
