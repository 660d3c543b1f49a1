using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Runbooks;

/// <summary>
/// Something a step can do. A room registers its actions by name (`services.AddRunbookAction&lt;T&gt;()`), and runbooks combine them.
/// Every member must bear being called twice under the same key: the journal says that a step began, never that it had no effect.
/// </summary>
public interface IAction
{
    /// <summary>Room and verb: `traffic.hold`.</summary>
    string Name { get; }

    /// <summary>Before a run and in a dry run: what stands against it, and how long it should take. Changes nothing; outputs of earlier steps are empty.</summary>
    Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) => Task.FromResult(new ActionCheck());

    /// <summary>Does it, and answers only after having seen that it is so.</summary>
    Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel);

    /// <summary>Is it already so? Asked first after a crash, a lost answer or a failure.</summary>
    Task<ActionVerdict> VerifyAsync(ActionContext context, CancellationToken cancel) =>
        Task.FromResult<ActionVerdict>(new ActionVerdict.Unknown("this action is simply done again"));

    /// <summary>Takes it back, also when it only began or never acted.</summary>
    Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel) => Task.FromResult(ActionOutcome.Finished());
}

/// <summary>What an action gets to know.</summary>
public sealed record ActionContext
{
    public required string Run { get; init; }
    public required RunbookStep Step { get; init; }

    /// <summary>The step's `with`, filled in.</summary>
    public required IReadOnlyDictionary<string, string> Arguments { get; init; }
    public required IReadOnlyDictionary<string, string> Inputs { get; init; }

    /// <summary>The `with` as the runbook writes it. What is trusted by its form (a reference to a secret) must stand here: an input never makes one.</summary>
    public IReadOnlyDictionary<string, string> Written { get; init; } = new Dictionary<string, string>();

    /// <summary>Outputs of finished steps, by `step.output`; while undoing, the step's own too.</summary>
    public required IReadOnlyDictionary<string, string> Outputs { get; init; }

    /// <summary>Idempotency key: the id of the order to a node. The same after a crash or a lost answer, another after a known failure.</summary>
    public required string Key { get; init; }
    public required int Attempt { get; init; }

    /// <summary>Goes with every write to the store, its token with every order.</summary>
    public required Fence Fence { get; init; }
    public required string Actor { get; init; }
    public required string Reason { get; init; }

    /// <summary>When the run was started, by the server's wall clock.</summary>
    public required DateTimeOffset RunStartedAt { get; init; }

    /// <summary>A clause about the step under way, for whoever watches; not kept.</summary>
    public Action<string> Progress { get; init; } = static _ => { };

    /// <summary>Whether an argument comes from what earlier steps find out: before the run nothing can be said of it.</summary>
    public bool IsFoundOut(string name) => Written.TryGetValue(name, out var written) && StepArguments.References(written).Any(n => n.Contains('.', StringComparison.Ordinal));

    public string? Argument(string name) => Arguments.TryGetValue(name, out var value) && value.Length > 0 ? value : null;
}

/// <summary>What stands against a step now, and what it should take.</summary>
public sealed record ActionCheck
{
    /// <summary>Failed preconditions, one sentence each, with what to do.</summary>
    public IReadOnlyList<string> Problems { get; init; } = [];

    /// <summary>What it would do, with what.</summary>
    public string? Note { get; init; }

    /// <summary>An estimate, used until runs have been measured.</summary>
    public TimeSpan Expected { get; init; } = TimeSpan.FromMilliseconds(10);
}

/// <summary>How acting or taking back ended.</summary>
public abstract record ActionOutcome
{
    private ActionOutcome() { }

    public sealed record Done(IReadOnlyDictionary<string, string> Outputs) : ActionOutcome;

    /// <summary><paramref name="Unknown"/>: the answer was lost, it may have acted.</summary>
    public sealed record Failed(string Error, bool Unknown = false) : ActionOutcome;

    /// <summary>A safety check said no: no repeat, the run is taken back and ends refused.</summary>
    public sealed record Refused(string Error) : ActionOutcome;

    public static ActionOutcome Finished() => new Done(new Dictionary<string, string>());

    public static ActionOutcome Finished(params (string Name, string? Value)[] outputs) =>
        new Done(outputs.Where(o => o.Value is not null).ToDictionary(o => o.Name, o => o.Value!));
}

/// <summary>Whether a step's effect is there.</summary>
public abstract record ActionVerdict
{
    private ActionVerdict() { }

    public sealed record So(IReadOnlyDictionary<string, string> Outputs) : ActionVerdict;

    public sealed record NotSo(string Reason) : ActionVerdict;

    public sealed record Unknown(string Reason) : ActionVerdict;
}
