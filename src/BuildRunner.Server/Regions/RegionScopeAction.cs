using BuildRunner.Core.Regions;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Regions;

/// <summary>
/// `regions.scope`: how far trouble reaches, as the verdicts in force say. It only looks: outputs `primary`, `primary_health`, `unhealthy` (codes with
/// commas), and `sentence` for people.
/// </summary>
internal sealed class RegionScopeAction(IRegionHealth health, Epochs epochs, IPolicySource policy) : IAction
{
    public string Name => "regions.scope";

    public async Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) => new() { Note = (await LookAsync(cancel)).Sentence };

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var (primary, state, unhealthy, sentence) = await LookAsync(cancel);
        context.Progress(sentence);
        return ActionOutcome.Finished(("primary", primary), ("primary_health", state), ("unhealthy", unhealthy), ("sentence", sentence));
    }

    private async Task<(string Primary, string State, string Unhealthy, string Sentence)> LookAsync(CancellationToken cancel)
    {
        var primary = (await epochs.GetAsync(RegionReader.DatabaseOf(policy.Current), cancel))?.Primary;
        var state = health.Current.FirstOrDefault(v => v.Code == primary)?.Health ?? HealthState.Unknown;
        var bad = health.Current.Where(v => v.Health != HealthState.Healthy).ToList();
        var writes = primary is null ? "Nobody takes writes yet" : $"{primary} takes writes and is {Words.Of(state)}";
        var rest = health.Current.Count == 0 ? "nothing is known of any region"
            : bad.Count == 0 ? string.Create(CultureInfo.InvariantCulture, $"all {health.Current.Count} regions are healthy")
            : string.Join("; ", bad.Select(v => $"{v.Code} is {Words.Of(v.Health)}{(v.Reason.Length > 0 ? $" ({v.Reason})" : "")}"));
        return (primary ?? "unknown", Words.Of(state), string.Join(",", bad.Where(v => v.Health == HealthState.Unhealthy).Select(v => v.Code)), $"{writes}; {rest}.");
    }
}
