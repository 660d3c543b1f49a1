using BuildRunner.Core.Policy;
using BuildRunner.Core.Runbooks;

namespace BuildRunner.Server.Runbooks;

/// <summary>`wait`: lets time pass. Arguments: `for`, a duration of at most an hour. After a crash it waits anew: waiting twice does no harm.</summary>
internal sealed class WaitAction(TimeProvider time) : IAction
{
    private static readonly TimeSpan ForMax = TimeSpan.FromHours(1);

    public string Name => "wait";

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) =>
        Task.FromResult(Wrong(context, out var span) is { } wrong ? new ActionCheck { Problems = [wrong] } : new ActionCheck { Note = $"{Units.Write(span)}", Expected = span });

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        if (Wrong(context, out var span) is { } wrong)
            return new ActionOutcome.Refused(wrong);
        await Task.Delay(span, time, cancel);
        return ActionOutcome.Finished();
    }

    private static string? Wrong(ActionContext context, out TimeSpan span)
    {
        if (context.Argument("for") is not { } text)
        {
            span = default;
            return $"Step '{context.Step.Id}' does not say how long to wait: `with: {{for: 10s}}`.";
        }
        if (!Units.TryDuration(text, out span, out var wrong, out var fix))
            return $"Step '{context.Step.Id}': {wrong} {fix}";
        if (span < TimeSpan.Zero || span > ForMax)
            return $"Step '{context.Step.Id}' would wait {text}; at most {Units.Write(ForMax)}.";
        return span >= context.Step.Timeout ? $"Step '{context.Step.Id}' waits {text} and may take {Units.Write(context.Step.Timeout)} only: give it a longer `timeout`." : null;
    }
}
