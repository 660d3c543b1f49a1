using System.CommandLine;
using BuildRunner.Client.Events;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>`br events`: what happened, who did it, why (room Events).</summary>
internal static class EventsCommands
{
    public static Command Build() => new("events", "What happened, who did it, why (room Events)") { List(), Add() };

    private static Command List()
    {
        var limit = new Option<int>("--limit", "-n") { Description = "How many, 1 to 1000", DefaultValueFactory = _ => 50 };
        return new Command("list", "The newest events, the newest last") { limit }.Does(async context =>
        {
            var list = await new EventsClient(context.Api()).ListAsync(context.Parse.GetValue(limit), context.Cancel);
            context.Print(list, EventsJson.Default.EventList, (console, data) =>
            {
                var table = new Table().Border(TableBorder.None).AddColumns("TIME", "KIND", "BY", "WHAT");
                foreach (var row in data.Events)
                    table.AddRow(new Text(row.At.ToLocalTime().ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture)), new Text(row.Kind), new Text(row.Actor), new Text(row.Summary));
                console.Write(table);
            });
            return ExitCode.Fine;
        });
    }

    private static Command Add()
    {
        var summary = new Argument<string>("summary") { Description = "What happened, in a sentence" };
        return new Command("add", "Write down what no machine saw") { summary }.Does(async context =>
        {
            var row = await new EventsClient(context.Api()).AddAsync(context.Parse.GetRequiredValue(summary), context.Cancel);
            context.Print(row, EventsJson.Default.EventRow, (console, data) => console.WriteLine($"Event {data.Id} recorded by {data.Actor}."));
            return ExitCode.Fine;
        });
    }
}
