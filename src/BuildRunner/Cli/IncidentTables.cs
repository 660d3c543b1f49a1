using BuildRunner.Client.Alerting;
using BuildRunner.Core.Alerting;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>How incidents and alerts are printed for people.</summary>
internal static class IncidentTables
{
    public static void List(IAnsiConsole console, IncidentList list)
    {
        if (list.Incidents.Count == 0)
        {
            console.WriteLine("No incident.");
            return;
        }
        var table = new Table().Border(TableBorder.None).AddColumns("incident", "state", "severity", "opened (UTC)", "by", "what");
        foreach (var incident in list.Incidents)
            table.AddRow(Markup.Escape(incident.Id), State(incident.State), Severity(incident.Severity), Time(incident.OpenedAt), Markup.Escape(incident.AcknowledgedBy ?? ""), Markup.Escape(incident.Title));
        console.Write(table);
    }

    public static void Show(IAnsiConsole console, IncidentDetail detail)
    {
        var incident = detail.Incident;
        console.MarkupLine($"[bold]{Markup.Escape(incident.Id)}[/] {State(incident.State)} {Severity(incident.Severity)}");
        RunTables.Lines(console, [$"{incident.Title}.", incident.Details], "");
        if (incident.Command is { } command && !incident.Ended)
            RunTables.Lines(console, [command], "[yellow]$[/]");
        console.WriteLine();
        var times = new Grid().AddColumn(new GridColumn().NoWrap().PadLeft(2).PadRight(2)).AddColumn();
        times.AddRow("opened", $"{Time(incident.OpenedAt)} by {Markup.Escape(incident.Alert is { } alert ? $"alert {alert}" : $"run {incident.Run}")}");
        times.AddRow("acknowledged", incident.AcknowledgedAt is { } acknowledged ? $"{Time(acknowledged)} by {Markup.Escape(incident.AcknowledgedBy ?? "")}" : $"[yellow]by nobody[/]: br incident ack {Markup.Escape(incident.Id)}");
        times.AddRow("mitigated", incident.MitigatedAt is { } mitigated ? Time(mitigated) : "not yet");
        times.AddRow("resolved", incident.ResolvedAt is { } resolved ? $"{Time(resolved)} by {Markup.Escape(incident.ResolvedBy ?? "")}" : "not yet");
        if (incident.Regions.Count > 0)
            times.AddRow("regions", Markup.Escape(string.Join(", ", incident.Regions)));
        foreach (var told in detail.Deliveries.GroupBy(d => d.Channel))
            times.AddRow($"told {Markup.Escape(told.Key)}", told.Any(d => d.State == DeliveryState.Failed) ? $"[red]no[/]: {Markup.Escape(told.Last(d => d.State == DeliveryState.Failed).Error ?? "")}" : told.All(d => d.State == DeliveryState.Sent) ? "yes" : $"[yellow]waits[/] {Markup.Escape(told.Last(d => d.State == DeliveryState.Pending).Error ?? "")}");
        console.Write(times);
        console.WriteLine();
        var table = new Table().Border(TableBorder.None).AddColumns("time (UTC)", "", "by", "what");
        foreach (var line in detail.Timeline)
            table.AddRow(new Text(line.At.UtcDateTime.ToString("HH:mm:ss", CultureInfo.InvariantCulture)), new Text(Word(line.Kind)), new Text(line.Actor), new Text(line.Text));
        console.Write(table);
        if (incident.Actions.Count == 0)
            return;
        console.WriteLine();
        var actions = new Table().Border(TableBorder.None).AddColumns("#", "action", "owner", "due", "");
        var today = DateOnly.FromDateTime(DateTime.UtcNow);
        foreach (var action in incident.Actions)
            actions.AddRow(action.Number.ToString(CultureInfo.InvariantCulture), Markup.Escape(action.Text), Markup.Escape(action.Owner), action.Due.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture), action.DoneAt is not null ? "[green]done[/]" : action.Overdue(today) ? "[red]overdue[/]" : "open");
        console.Write(actions);
    }

    public static void Alerts(IAnsiConsole console, AlertList list)
    {
        var shown = list.Alerts.Where(a => a.State != AlertState.Cleared).ToList();
        if (shown.Count == 0)
        {
            console.WriteLine("No alert fires.");
        }
        else
        {
            var table = new Table().Border(TableBorder.None).AddColumns("alert", "state", "severity", "since (UTC)", "incident", "what");
            foreach (var alert in shown)
                table.AddRow(Markup.Escape(alert.Key), alert.State == AlertState.Firing ? "[red]firing[/]" : "[yellow]clearing[/]", Severity(alert.Severity), Time(alert.RaisedAt), Markup.Escape(alert.Incident), Markup.Escape(alert.Title));
            console.Write(table);
            foreach (var command in shown.Select(a => a.Command).OfType<string>())
                RunTables.Lines(console, [command], "[yellow]$[/]");
        }
        console.WriteLine();
        var channels = new Table().Border(TableBorder.None).AddColumns("channel", "type", "told last (UTC)", "waits", "given up", "");
        foreach (var channel in list.Channels)
            channels.AddRow(Markup.Escape(channel.Name), Markup.Escape(channel.Type), channel.LastSentAt is { } at ? Time(at) : "never", Number(channel.Pending), Number(channel.Failed), (channel.Problem ?? channel.LastError) is { } wrong ? $"[red]{Markup.Escape(wrong)}[/]" : "");
        console.Write(channels);
    }

    private static string State(IncidentState state) => state switch
    {
        IncidentState.Open => "[red]open[/]",
        IncidentState.Acknowledged => "[yellow]acknowledged[/]",
        IncidentState.Mitigated => "[yellow]mitigated[/]",
        _ => "[green]resolved[/]",
    };

    private static string Severity(AlertSeverity severity) => severity == AlertSeverity.Critical ? "[red]critical[/]" : AlertDecision.Word(severity);

    private static string Word(TimelineKind kind) => kind.ToString().ToLowerInvariant();

    private static string Time(DateTimeOffset at) => at.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);

    private static string Number(int number) => number.ToString(CultureInfo.InvariantCulture);
}
