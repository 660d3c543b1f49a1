using BuildRunner.Client.Recovery;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>How the names read in `br dr status`.</summary>
internal static class DnsTables
{
    public static void Records(IAnsiConsole console, RecoveryStatus status)
    {
        if (status.DnsRecords.Count == 0)
        {
            console.MarkupLine($"[grey]Names: {Markup.Escape(status.Dns ?? "unknown")}.[/]");
            return;
        }
        var table = new Table().Border(TableBorder.None).AddColumns("name", "wanted", "server", "answers", "since (UTC)");
        foreach (var record in status.DnsRecords)
        {
            var first = true;
            foreach (var (answer, kind) in record.Servers.Select(s => (s, "")).Concat(record.Resolvers.Select(r => (r, " (resolver)"))))
            {
                var mark = answer.Right ? "[green]✓[/]" : kind.Length > 0 ? "[yellow]…[/]" : "[red]✗[/]";
                table.AddRow(
                    first ? Markup.Escape(record.Name) : "", first ? Markup.Escape(Said(record.Wanted)) : "", Markup.Escape(answer.Server + kind),
                    $"{mark} {Markup.Escape(answer.Answers is { } values ? Said(values) : answer.Error ?? "no answer")}", answer.Since.UtcDateTime.ToString("MM-dd HH:mm:ss", CultureInfo.InvariantCulture));
                first = false;
            }
            if (first)
                table.AddRow(Markup.Escape(record.Name), Markup.Escape(Said(record.Wanted)), "[grey]unknown[/]", "[grey]no server was asked yet[/]", "");
        }
        console.Write(table);
        foreach (var record in status.DnsRecords.Where(r => !r.Settled))
            console.MarkupLine($"[yellow]![/] {Markup.Escape($"{record.Name}: {(record.Problem is { } problem ? $"{problem} {record.Fix}" : $"{record.Reason}.")}{(record.TroubledSince is { } since ? $" (since {since.UtcDateTime:HH:mm:ss} UTC)" : "")}")}");
    }

    private static string Said(IReadOnlyList<string> values) => values.Count == 0 ? "nothing" : string.Join(", ", values);
}
