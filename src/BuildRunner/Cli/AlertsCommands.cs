using System.CommandLine;
using BuildRunner.Client.Alerting;

namespace BuildRunner.Cli;

/// <summary>`br alerts`: what fires, and whether anybody can be told (room Alerting).</summary>
internal static class AlertsCommands
{
    public static Command Build() => new("alerts", "What fires, and whether the channels work (room Alerting)") { List() };

    private static Command List() => new Command("list", "Alerts that fire, and the channels").Does(async context =>
    {
        var list = await new AlertingClient(context.Api()).AlertsAsync(context.Cancel);
        context.Print(list, AlertingJson.Default.AlertList, IncidentTables.Alerts);
        return ExitCode.Fine;
    });
}
