using BuildRunner.Core.Regions;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Regions;

/// <summary>
/// `health.verify`: waits until a region, or one of its services, is healthy. Arguments: `region`, `service`, `accept` (`healthy`, or `degraded` for
/// either). It waits as long as its step may take. It changes nothing, so that it also serves as `check` and as `verify` of another step.
/// </summary>
internal sealed class HealthVerifyAction(IRegionHealth health) : IAction
{
    public string Name => "health.verify";

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) => Task.FromResult(
        context.IsFoundOut("region") ? new ActionCheck { Note = "its region is found out by an earlier step" }
        : Wrong(context) is { } wrong ? new ActionCheck { Problems = [wrong] } : new ActionCheck { Note = WhyNot(context) is { } why ? $"now: {why}" : "so already", Expected = TimeSpan.FromMilliseconds(100) });

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        if (Wrong(context) is { } wrong)
            return new ActionOutcome.Refused(wrong);
        var signal = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var listening = health.OnChange(() => Volatile.Read(ref signal).TrySetResult());
        while (true)
        {
            var waiting = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            Volatile.Write(ref signal, waiting);
            if (WhyNot(context) is not { } why)
                return ActionOutcome.Finished();
            context.Progress(why);
            try { await waiting.Task.WaitAsync(cancel); }
            catch (OperationCanceledException) when (WhyNot(context) is { } still) { return new ActionOutcome.Failed($"Not so in time: {still}."); }
        }
    }

    public Task<ActionVerdict> VerifyAsync(ActionContext context, CancellationToken cancel) => Task.FromResult<ActionVerdict>(
        Wrong(context) is { } wrong ? new ActionVerdict.Unknown(wrong)
        : WhyNot(context) is { } why ? new ActionVerdict.NotSo(why)
        : new ActionVerdict.So(new Dictionary<string, string>()));

    private string? Wrong(ActionContext context)
    {
        if (context.Argument("region") is not { } region)
            return $"Step '{context.Step.Id}' names no region: `with: {{region: …}}`.";
        if (health.Current.Count > 0 && health.Current.All(v => v.Code != region))
            return $"There is no region '{region}'. {Core.Policy.Nearest.Fix(region, [.. health.Current.Select(v => v.Code)])}";
        if (context.Argument("accept") is { } accept and not ("healthy" or "degraded"))
            return $"`accept: {accept}` is neither healthy nor degraded.";
        return context.Argument("service") is { } service && health.Current.FirstOrDefault(v => v.Code == region) is { } verdict && verdict.Services.All(s => s.Service != service)
            ? $"{region} has no service '{service}'. {Core.Policy.Nearest.Fix(service, [.. verdict.Services.Select(s => s.Service)])}"
            : null;
    }

    /// <summary>Null: it is so.</summary>
    private string? WhyNot(ActionContext context)
    {
        var region = context.Argument("region")!;
        if (health.Current.FirstOrDefault(v => v.Code == region) is not { } verdict)
            return $"nothing is known of {region} yet";
        var (name, state, reason) = context.Argument("service") is { } service
            ? ($"{service} in {region}", verdict.HealthOf(service), verdict.Services.FirstOrDefault(s => s.Service == service)?.Reason ?? "")
            : (region, verdict.Health, verdict.Reason);
        return state == HealthState.Healthy || (state == HealthState.Degraded && context.Argument("accept") == "degraded")
            ? null
            : $"{name} is {state.ToString().ToLowerInvariant()}{(reason.Length > 0 ? $" ({reason})" : "")}";
    }
}
