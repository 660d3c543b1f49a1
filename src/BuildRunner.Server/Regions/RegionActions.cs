using BuildRunner.Core.Regions;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Regions;

/// <summary>`regions.control`: writes what people ask of a region. Arguments: region, and draining or weight.</summary>
internal sealed class RegionControlAction(RegionRecords records) : IAction
{
    public const string ActionName = "regions.control";

    public string Name => ActionName;

    public async Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel)
    {
        if (context.Argument("region") is not { } region)
            return new ActionCheck { Problems = ["The step names no region."] };
        var (before, _) = await records.ControlAsync(region, cancel);
        var after = Asked(before, context);
        return new ActionCheck { Note = Same(before, after) ? $"{Say(region, after)} already" : $"{Say(region, after)}, was {Say(before)}" };
    }

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var region = context.Argument("region")!;
        var (before, version) = await records.ControlAsync(region, cancel);
        // This very step may have written it already, before a crash: what was so before it then stands in the record.
        var was = before.Step == StepOf(context) && before.Was is { } known ? known : new RegionShare(before.Draining, before.Weight);
        var after = Asked(before, context) with { Step = StepOf(context), Was = was };
        if (!Same(before, after) && await records.WriteAsync(region, after, version, context.Fence, cancel) is not StoreWrite.Done)
            return new ActionOutcome.Failed($"The record of {region} changed meanwhile, or this server does not lead any more.");
        context.Progress(Say(region, after));
        return ActionOutcome.Finished(("was_draining", was.Draining ? "true" : "false"), ("was_weight", was.Weight.ToString(CultureInfo.InvariantCulture)));
    }

    public async Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel)
    {
        var region = context.Argument("region")!;
        var (now, version) = await records.ControlAsync(region, cancel);
        var was = context.Outputs.TryGetValue($"{context.Step.Id}.was_weight", out var weight) && context.Outputs.TryGetValue($"{context.Step.Id}.was_draining", out var draining)
            ? new RegionShare(draining == "true", int.Parse(weight, CultureInfo.InvariantCulture))
            : now.Step == StepOf(context) ? now.Was : null;
        if (was is null || (now.Draining, now.Weight) == (was.Draining, was.Weight))
            return ActionOutcome.Finished(); // it never acted, or it is taken back already
        var back = now with { Draining = was.Draining, Weight = was.Weight, By = context.Actor, Reason = $"taken back: {context.Reason}", Step = null, Was = null };
        return await records.WriteAsync(region, back, version, context.Fence, cancel) is StoreWrite.Done
            ? ActionOutcome.Finished()
            : new ActionOutcome.Failed($"The record of {region} changed meanwhile, or this server does not lead any more.");
    }

    internal static string StepOf(ActionContext context) => $"{context.Run}/{context.Step.Id}";

    public static RegionControl Asked(RegionControl before, ActionContext context) => before with
    {
        Draining = context.Argument("draining") is { } draining ? draining == "true" : before.Draining,
        Weight = context.Argument("weight") is { } weight ? int.Parse(weight, CultureInfo.InvariantCulture) : before.Weight,
        By = context.Actor,
        Reason = context.Reason,
    };

    /// <summary>Who asked and why do not make a difference.</summary>
    public static bool Same(RegionControl a, RegionControl b) => a.Draining == b.Draining && a.Weight == b.Weight;

    private static string Say(string region, RegionControl control) => control.Draining ? $"{region} is drained" : $"{region} takes {control.Weight.ToString(CultureInfo.InvariantCulture)}% of its traffic";

    private static string Say(RegionControl control) => control.Draining ? "drained" : $"{control.Weight.ToString(CultureInfo.InvariantCulture)}%";
}

/// <summary>`regions.seen`: waits until the verdicts, from which the routing table is made, carry what was asked.</summary>
internal sealed class RegionSeenAction(IRegionHealth health, TimeProvider time) : IAction
{
    public const string ActionName = "regions.seen";

    public string Name => ActionName;

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) => Task.FromResult(new ActionCheck { Expected = TimeSpan.FromMilliseconds(100) });

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var seen = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var listening = health.OnChange(() => { if (Is(context)) seen.TrySetResult(); });
        if (Is(context))
            return ActionOutcome.Finished();
        try { await seen.Task.WaitAsync(context.Step.Timeout, time, cancel); }
        catch (TimeoutException) { return new ActionOutcome.Failed("The health loop has not taken it up in time."); }
        return ActionOutcome.Finished();
    }

    private bool Is(ActionContext context)
    {
        var now = health.Controls.GetValueOrDefault(context.Argument("region")!) ?? new RegionControl();
        return RegionControlAction.Same(now, RegionControlAction.Asked(now, context));
    }
}
