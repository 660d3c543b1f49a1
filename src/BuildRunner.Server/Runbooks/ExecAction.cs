using BuildRunner.Client;
using BuildRunner.Client.Hosting;
using BuildRunner.Core.Policy;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;

namespace BuildRunner.Server.Runbooks;

/// <summary>
/// `exec`: runs a command on a region's host through its agent. Arguments: `region`, and `command`, a name of the policy's `commands`; program, arguments
/// and time limit stand there and nowhere else. The order's id is the step's key: a command that ended well is not run again after a crash or a lost
/// answer, and it is given the key as BR_IDEMPOTENCY_KEY for what was cut off half way.
/// </summary>
internal sealed class ExecAction(INodeLinks links, IPolicySource policy) : IAction
{
    private static readonly TimeSpan Reserve = TimeSpan.FromSeconds(5);

    public string Name => "exec";

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel)
    {
        if (context.IsFoundOut("region"))
            return Task.FromResult(new ActionCheck { Note = "its region is found out by an earlier step" });
        var (command, region, wrong) = Read(context);
        if (command is null)
            return Task.FromResult(new ActionCheck { Problems = [wrong!] });
        var reachable = links.Nodes.Any(n => n.Name == new NodeName(NodeKind.Agent, region) && !n.Broken);
        return Task.FromResult(reachable
            ? new ActionCheck { Note = $"run '{command.Name}' ({command.Command[0]} …) in {region}", Expected = TimeSpan.FromSeconds(1) }
            : new ActionCheck { Problems = [$"The agent of {region} cannot be reached, and it is the one that would run '{command.Name}'. Look at `br regions show {region}`."] });
    }

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var (command, region, wrong) = Read(context);
        if (command is null)
            return new ActionOutcome.Refused(wrong!);
        context.Progress($"'{command.Name}' runs in {region}");
        var order = new ExecOrder(command.Name, command.Command, (int)command.Timeout.TotalMilliseconds, context.Key);
        // A command is about no epoch: the fencing token alone says whose order it is.
        var (result, error, refused) = await links.SendAsync(new NodeName(NodeKind.Agent, region), $"exec/{context.Key}", ExecOrders.Run, 0, context.Fence.Token, order, WireJson.Default.ExecOrder, WireJson.Default.ExecResult, command.Timeout + Reserve, cancel);
        return result is not null ? ActionOutcome.Finished(("exit_code", result.ExitCode.ToString(CultureInfo.InvariantCulture)), ("output", result.Output))
            : refused ? new ActionOutcome.Refused($"{region} refused '{command.Name}': {error}")
            // Also a command that failed may have done a part: it is looked at, and given the same key again.
            : new ActionOutcome.Failed($"'{command.Name}' in {region}: {error}", Unknown: true);
    }

    private (CommandDefinition? Command, string Region, string? Wrong) Read(ActionContext context)
    {
        var commands = policy.Current.Commands;
        if (context.Argument("region") is not { } region)
            return (null, "", $"Step '{context.Step.Id}' names no region: `with: {{region: …}}`.");
        if (policy.Current.Regions.All(r => r.Code != region))
            return (null, region, $"There is no region '{region}'. {Nearest.Fix(region, [.. policy.Current.Regions.Select(r => r.Code)])}");
        if (context.Argument("command") is not { } name)
            return (null, region, $"Step '{context.Step.Id}' names no command: `with: {{command: …}}`, a name of the policy's `commands`.");
        if (context.Arguments.Keys.FirstOrDefault(k => k is not ("region" or "command")) is { } other)
            return (null, region, $"Step '{context.Step.Id}' gives `{other}`: a command's arguments stand in the policy's `commands` and nowhere else.");
        if (commands.FirstOrDefault(c => c.Name == name) is not { } command)
            return (null, region, $"The policy's `commands` has no '{name}', so that no agent may run it. {(commands.Count == 0 ? "Add it there." : Nearest.Fix(name, [.. commands.Select(c => c.Name)]))}");
        return command.Regions.Count > 0 && !command.Regions.Contains(region)
            ? (null, region, $"The command '{name}' may run in {string.Join(", ", command.Regions)}, not in {region}.")
            : (command, region, null);
    }
}
