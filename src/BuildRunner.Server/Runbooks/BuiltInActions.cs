using BuildRunner.Core.Runbooks;

namespace BuildRunner.Server.Runbooks;

/// <summary>A step that is only an agreement: by the time it acts it has been given.</summary>
internal sealed class ApprovalAction : IAction
{
    public string Name => StepKind.Approval;

    public Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel) => Task.FromResult(ActionOutcome.Finished());
}

/// <summary>A step that is done by hand: nothing is ours to do or to take back.</summary>
internal sealed class ManualAction : IAction
{
    public string Name => StepKind.Manual;

    public Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel) =>
        Task.FromResult<ActionOutcome>(new ActionOutcome.Refused("A step that is done by hand is confirmed by a person."));
}
