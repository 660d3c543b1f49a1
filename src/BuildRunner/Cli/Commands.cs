using System.CommandLine;

namespace BuildRunner.Cli;

/// <summary>Every command, in the order of `br --help`; one line a room.</summary>
internal static class Commands
{
    public static IEnumerable<Command> All()
    {
        yield return StatusCommand.Build();
        yield return RegionsCommands.Build();
        yield return RecoveryCommands.Build();
        yield return RunbookCommands.Build();
        yield return AlertsCommands.Build();
        yield return IncidentCommands.Build();
        yield return EventsCommands.Build();
        yield return ConfigCommands.Build();
        yield return FreezeCommands.Build();
        yield return TokenCommands.Build();
        yield return ServerCommands.Build();
        yield return DevCommands.Build();
        yield return GatewayCommands.Build();
        yield return AgentCommands.Agent();
        yield return AgentCommands.Guard();
        yield return RouteCommands.Build();
        yield return DoctorCommand.Build();
        yield return CompletionCommand.Build();
    }
}
