using System.Text.Json;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Tests.Recovery;

/// <summary>An action that has bad luck the first time.</summary>
internal sealed class Unlucky(IAction inner, BadLuck bad, Unlucky.Once once, string step) : IAction
{
    internal sealed class Once
    {
        public bool Happened { get; set; }
    }

    public string Name => inner.Name;

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) => inner.CheckAsync(context, cancel);

    public Task<ActionVerdict> VerifyAsync(ActionContext context, CancellationToken cancel) => inner.VerifyAsync(context, cancel);

    public Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel) => inner.UndoAsync(context, cancel);

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        if (once.Happened || context.Step.Id != step) // one action may stand in several steps
            return await inner.ActAsync(context, cancel);
        once.Happened = true;
        switch (bad)
        {
            case BadLuck.Fails:
                return new ActionOutcome.Failed("bad luck");
            case BadLuck.Throws:
                throw new JsonException("bad luck");
            case BadLuck.FailsAfterActing:
                await inner.ActAsync(context, cancel);
                return new ActionOutcome.Failed("the answer was lost", Unknown: true);
            default:
                await inner.ActAsync(context, cancel);
                return await inner.ActAsync(context, cancel);
        }
    }
}

/// <summary>What befalls an action the first time.</summary>
public enum BadLuck
{
    Fails,
    FailsAfterActing,
    Throws,
    IsDoneTwice,
}
