using System.Text.Json;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Runbooks;

namespace BuildRunner.Server.Runbooks;

/// <summary>A runbook that a room brings (`services.AddRunbook(…)`), with what only that room can know of it.</summary>
public class RunbookSource(Runbook runbook)
{
    public Runbook Runbook => runbook;

    /// <summary>What a run holds alone; a second run over the same is refused.</summary>
    public virtual string Over(IReadOnlyDictionary<string, string> inputs) => $"runbook/{runbook.Name}";

    /// <summary>The switch of the policy that forbids a run, for people; null: none does. A freeze is the desk's business.</summary>
    public virtual string? WhyNot(PolicyDocument policy, bool automatic) => automatic ? policy.WhyNoAutomaticAct(frozen: false) : policy.WhyNoAct();

    /// <summary>Completes the inputs and says what stands against the run; changes nothing.</summary>
    public virtual Task<RunAdmission> AdmitAsync(IReadOnlyDictionary<string, string> inputs, CancellationToken cancel) =>
        Task.FromResult(new RunAdmission(inputs, [], []));

    /// <summary>What the run came to, asked once, before it is written down as ended.</summary>
    public virtual Task<RunReport?> ReportAsync(RunState state, RunPhase outcome, CancellationToken cancel) => Task.FromResult<RunReport?>(null);
}

/// <summary>Inputs as the run will have them, what stands against it, and what a person should know.</summary>
public sealed record RunAdmission(IReadOnlyDictionary<string, string> Inputs, IReadOnlyList<string> Problems, IReadOnlyList<string> Notes);

public sealed record RunReport(JsonElement Data, double? OutageMs, RunLost? Lost);

/// <summary>Every runbook of every room of this server.</summary>
internal sealed class RunbookCatalog(IEnumerable<RunbookSource> sources, ActionRegistry actions)
{
    private readonly Dictionary<string, RunbookSource> _sources = sources.ToDictionary(s => s.Runbook.Name, StringComparer.Ordinal);

    public IEnumerable<RunbookSource> All => _sources.Values.OrderBy(s => s.Runbook.Name, StringComparer.Ordinal);

    public RunbookSource? Find(string name) => _sources.GetValueOrDefault(name);

    public IReadOnlyList<string> Problems(Runbook runbook) => RunbookCheck.Errors(runbook, actions.Knows);
}
