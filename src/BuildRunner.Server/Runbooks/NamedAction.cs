namespace BuildRunner.Server.Runbooks;

/// <summary>An action under the name that the field has for it.</summary>
internal sealed class NamedAction(string name, IAction action) : IAction
{
    public string Name => name;

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) => action.CheckAsync(context, cancel);

    public Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel) => action.ActAsync(context, cancel);

    public Task<ActionVerdict> VerifyAsync(ActionContext context, CancellationToken cancel) => action.VerifyAsync(context, cancel);

    public Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel) => action.UndoAsync(context, cancel);
}
