using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Recovery.Failover;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Drills;

/// <summary>
/// `fault.inject`: breaks hosts through their agents, each for a bounded time. Arguments: `faults`, a line as <see cref="DrillFault"/> writes it; or for one
/// `region`, `fault`, and as needed `part` and `duration`. Its undo mends all of them.
/// </summary>
internal sealed class FaultInjectAction(INodeLinks links, INodeReports reports, TimeProvider time) : IAction
{
    private static readonly TimeSpan OrderMax = TimeSpan.FromSeconds(8);

    public string Name => "fault.inject";

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel)
    {
        if (context.Written.ContainsKey("faults") && context.Argument("faults") is null)
            return Task.FromResult(new ActionCheck()); // which they are was not found, and admission says why
        if (context.Argument("faults") is null && context.IsFoundOut("region"))
            return Task.FromResult(Kind(context) is null ? new ActionCheck { Problems = [Unknown(context)] } : new ActionCheck { Note = "for real", Expected = TimeSpan.FromMilliseconds(200) });
        return Task.FromResult(Faults(context, out var faults) is { } wrong
            ? new ActionCheck { Problems = [wrong] }
            : new ActionCheck { Note = $"for real: {DrillFault.Write(faults)}", Expected = faults.Max(f => f.After) + TimeSpan.FromMilliseconds(200) });
    }

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        if (Faults(context, out var faults) is { } wrong)
            return new ActionOutcome.Refused(wrong);
        var began = time.GetTimestamp();
        var evidence = new List<string>();
        foreach (var fault in faults.OrderBy(f => f.After))
        {
            if (fault.After - time.GetElapsedTime(began) is var left && left > TimeSpan.Zero)
            {
                context.Progress($"{fault} is next");
                await Task.Delay(left, time, cancel);
            }
            var answer = await links.GiveAsync(Orders.Agent(fault.Region), KeyOf(context, faults, fault), FaultOrders.Inject, 0, context,
                new FaultOrder(fault.Kind, context.Run, (int)fault.Duration.TotalSeconds, fault.Part), WireJson.Default.FaultOrder, WireJson.Default.FaultResult, OrderMax, cancel);
            if (answer.Data is not { } done)
                return answer.Failure($"Breaking {fault.Region}");
            evidence.Add(faults.Count == 1 ? done.Evidence : $"{fault.Region}: {done.Evidence}");
        }
        return ActionOutcome.Finished(("evidence", string.Join("; ", evidence)));
    }

    public Task<ActionVerdict> VerifyAsync(ActionContext context, CancellationToken cancel)
    {
        if (Faults(context, out var faults) is { } wrong)
            return Task.FromResult<ActionVerdict>(new ActionVerdict.NotSo(wrong));
        var missing = faults.Where(f => reports.LastAgent(f.Region)?.Report.Database?.Fault?.EndsWith(context.Run, StringComparison.Ordinal) != true).Select(f => f.Region).ToList();
        return Task.FromResult<ActionVerdict>(missing.Count == 0
            ? new ActionVerdict.So(new Dictionary<string, string> { ["evidence"] = DrillFault.Write(faults) })
            : new ActionVerdict.NotSo($"nothing is broken by this run in {string.Join(", ", missing)}"));
    }

    public Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel) => LiftAsync(links, time, context, cancel);

    /// <summary>Mends all, side by side. An agent that is cut off or frozen cannot be told; its host mends itself at the fault's limit, and that is waited for.</summary>
    internal static async Task<ActionOutcome> LiftAsync(INodeLinks links, TimeProvider time, ActionContext context, CancellationToken cancel)
    {
        if (Faults(context, out var faults) is { } wrong)
            return new ActionOutcome.Refused(wrong);
        var ended = await Task.WhenAll(faults.Select(fault => LiftAsync(links, time, context, faults, fault, cancel)));
        return ended.FirstOrDefault(e => e is not ActionOutcome.Done)
            ?? ActionOutcome.Finished(("evidence", string.Join("; ", ended.OfType<ActionOutcome.Done>().Select(d => d.Outputs["evidence"]))));
    }

    private static async Task<ActionOutcome> LiftAsync(INodeLinks links, TimeProvider time, ActionContext context, IReadOnlyList<DrillFault> faults, DrillFault fault, CancellationToken cancel)
    {
        var began = time.GetTimestamp();
        while (true)
        {
            var answer = await links.GiveAsync(Orders.Agent(fault.Region), $"{KeyOf(context, faults, fault)}/lift", FaultOrders.Lift, 0, context,
                new FaultOrder(fault.Kind, context.Run, (int)fault.Duration.TotalSeconds, fault.Part), WireJson.Default.FaultOrder, WireJson.Default.FaultResult, OrderMax, cancel);
            if (answer.Data is { } done)
                return ActionOutcome.Finished(("evidence", faults.Count == 1 ? done.Evidence : $"{fault.Region}: {done.Evidence}"));
            if (!fault.Isolates || answer.Refused || time.GetElapsedTime(began) > fault.Duration + Orders.ReturnMax)
                return answer.Failure($"Mending {fault.Region}");
            context.Progress($"{fault.Region} cannot be told: it mends itself within {Core.Policy.Units.Write(fault.Duration)} of the fault");
            await Task.Delay(TimeSpan.FromSeconds(1), time, cancel);
        }
    }

    /// <summary>Reads the arguments; answers what is wrong with them, null: nothing.</summary>
    private static string? Faults(ActionContext context, out IReadOnlyList<DrillFault> faults)
    {
        faults = [];
        if (context.Argument("faults") is { } line)
            return DrillFault.Read(line, out faults);
        if (Kind(context) is not { } kind)
            return Unknown(context);
        FaultPart? part = null;
        if (context.Argument("part") is { } word)
        {
            if (!FaultKinds.TryWord<FaultPart>(word, out var known) || !kind.TakesPart())
                return $"`part: {word}`: only freeze and slow take a part, one of {string.Join(", ", Enum.GetValues<FaultPart>().Select(FaultKinds.Word))}.";
            part = known;
        }
        var duration = FaultKinds.DurationMax;
        if (context.Argument("duration") is { } text && (!Core.Policy.Units.TryDuration(text, out duration, out _, out _) || duration < DrillFault.DurationMin || duration > FaultKinds.DurationMax))
            return $"`duration: {text}`: write 1s to {Core.Policy.Units.Write(FaultKinds.DurationMax)}.";
        faults = [new(kind, context.Arguments["region"], part, TimeSpan.Zero, duration)];
        return null;
    }

    private static FaultKind? Kind(ActionContext context) => context.Argument("fault") is { } word && FaultKinds.TryWord<FaultKind>(word, out var kind) ? kind : null;

    private static string Unknown(ActionContext context) => $"`fault: {context.Argument("fault")}` is none of {string.Join(", ", Enum.GetValues<FaultKind>().Select(FaultKinds.Word))}.";

    private static string KeyOf(ActionContext context, IReadOnlyList<DrillFault> faults, DrillFault fault) => faults.Count == 1 ? context.Key : $"{context.Key}/{fault.Region}";
}

/// <summary>`fault.lift`: mends what this run broke; the same arguments as `fault.inject`.</summary>
internal sealed class FaultLiftAction(INodeLinks links, TimeProvider time) : IAction
{
    public string Name => "fault.lift";

    public Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel) => FaultInjectAction.LiftAsync(links, time, context, cancel);
}
