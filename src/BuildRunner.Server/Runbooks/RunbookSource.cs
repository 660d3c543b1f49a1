using System.Text.Json;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Runbooks;

namespace BuildRunner.Server.Runbooks;

/// <summary>
/// What only a room can know of the runbook of this name (`services.AddRunbook&lt;T&gt;()`): what stands against a run, and what it came to.
/// The steps are the document's; a runbook that no room attends to has just those.
/// </summary>
public class RunbookSource(string name)
{
    public string Name => name;

    /// <summary>What a run holds alone; a second run over the same is refused.</summary>
    public virtual string Over(Runbook runbook, IReadOnlyDictionary<string, string> inputs) => RunbookCheck.Over(runbook, inputs);

    /// <summary>The switch of the policy that forbids a run, for people; null: none does. A freeze is the desk's business.</summary>
    public virtual string? WhyNot(PolicyDocument policy, bool automatic) => automatic ? policy.WhyNoAutomaticAct(frozen: false) : policy.WhyNoAct();

    /// <summary>Completes the inputs and says what stands against the run; changes nothing.</summary>
    public virtual Task<RunAdmission> AdmitAsync(IReadOnlyDictionary<string, string> inputs, CancellationToken cancel) =>
        Task.FromResult(new RunAdmission(inputs, [], []));

    /// <summary>
    /// What stands against beginning it now, one sentence each, that says nothing of whether it would work: asked when somebody wants it, and not when it is
    /// evaluated, so that a verdict on recovery may be among it.
    /// </summary>
    public virtual Task<IReadOnlyList<string>> AgainstAsync(IReadOnlyDictionary<string, string> inputs, CancellationToken cancel) => Task.FromResult<IReadOnlyList<string>>([]);

    /// <summary>What the run came to, asked once, before it is written down as ended.</summary>
    public virtual Task<RunReport?> ReportAsync(RunState state, RunPhase outcome, CancellationToken cancel) => Task.FromResult<RunReport?>(null);
}

/// <summary>Inputs as the run will have them, what stands against it, and what a person should know.</summary>
public sealed record RunAdmission(IReadOnlyDictionary<string, string> Inputs, IReadOnlyList<string> Problems, IReadOnlyList<string> Notes);

public sealed record RunReport(JsonElement Data, double? OutageMs, RunLost? Lost);
