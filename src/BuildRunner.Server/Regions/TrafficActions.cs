using BuildRunner.Server.Databases;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Regions;

/// <summary>A region's share of the traffic in a runbook of the user's, with what stands against it as in `br regions drain` and `weight`.</summary>
internal abstract class TrafficShareAction(string name, string runbook, RegionRecords records, IPolicySource policy, IRegionHealth health, Epochs epochs) : IAction
{
    private readonly RegionControlAction _control = new(records);

    public string Name => name;

    public async Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel)
    {
        if (context.IsFoundOut("region") || context.IsFoundOut("weight"))
            return new ActionCheck { Note = "as earlier steps find out" };
        var check = await AgainstAsync(context, cancel);
        return check.Problems.Count > 0 ? check : await _control.CheckAsync(Asked(context), cancel);
    }

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel) =>
        !await HasActedAsync(context, cancel) && await AgainstAsync(context, cancel) is { Problems: [var problem, ..] } ? new ActionOutcome.Refused(problem) : await _control.ActAsync(Asked(context), cancel);

    public Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel) => _control.UndoAsync(context, cancel);

    /// <summary>The step's arguments as `regions.control` takes them.</summary>
    protected abstract ActionContext Asked(ActionContext context);

    /// <summary>What has been done already is not refused when it is looked at again after a crash.</summary>
    private async Task<bool> HasActedAsync(ActionContext context, CancellationToken cancel) =>
        context.Argument("region") is { } region && (await records.ControlAsync(region, cancel)).Control.Step == RegionControlAction.StepOf(context);

    private async Task<ActionCheck> AgainstAsync(ActionContext context, CancellationToken cancel)
    {
        if (runbook == RegionRunbooks.Weight && context.Argument("weight") is null)
            return new ActionCheck { Problems = ["The step names no weight: write percent, from 0 to 100."] };
        var current = policy.Current;
        var epoch = await epochs.GetAsync(RegionReader.DatabaseOf(current), cancel);
        var (problems, notes) = RegionAdmission.Decide(runbook, context.Arguments, current, health.Current, health.Controls, epoch?.Primary);
        return new ActionCheck { Problems = problems, Note = string.Join("; ", notes) };
    }
}

/// <summary>`traffic.drain`: nothing new comes to a region.</summary>
internal sealed class DrainAction(RegionRecords records, IPolicySource policy, IRegionHealth health, Epochs epochs)
    : TrafficShareAction("traffic.drain", RegionRunbooks.Drain, records, policy, health, epochs)
{
    protected override ActionContext Asked(ActionContext context) => context with { Arguments = new Dictionary<string, string> { ["region"] = context.Argument("region") ?? "", ["draining"] = "true" } };
}

/// <summary>`traffic.shift`: only a share of what would come to a region may come.</summary>
internal sealed class ShiftAction(RegionRecords records, IPolicySource policy, IRegionHealth health, Epochs epochs)
    : TrafficShareAction("traffic.shift", RegionRunbooks.Weight, records, policy, health, epochs)
{
    protected override ActionContext Asked(ActionContext context) => context with { Arguments = new Dictionary<string, string> { ["region"] = context.Argument("region") ?? "", ["weight"] = context.Argument("weight") ?? "" } };
}
