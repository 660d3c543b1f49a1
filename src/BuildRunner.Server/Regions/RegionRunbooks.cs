using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Regions;

/// <summary>Names of the runbooks that change a region's share; their documents are in governance/runbooks.</summary>
internal static class RegionRunbooks
{
    public const string Drain = "drain-region";
    public const string Undrain = "undrain-region";
    public const string Weight = "weight-region";

    public static readonly IReadOnlyList<string> All = [Drain, Undrain, Weight];
}

/// <summary>What stands against changing a region's share, and what a person should know before.</summary>
internal sealed class RegionRunbookSource(string name, IPolicySource policy, IRegionHealth health, Databases.Epochs epochs) : RunbookSource(name)
{
    public override async Task<RunAdmission> AdmitAsync(IReadOnlyDictionary<string, string> inputs, CancellationToken cancel)
    {
        var current = policy.Current;
        var epoch = await epochs.GetAsync(RegionReader.DatabaseOf(current), cancel);
        var (problems, notes) = RegionAdmission.Decide(Name, inputs, current, health.Current, health.Controls, epoch?.Primary);
        return new RunAdmission(inputs, problems, notes);
    }
}
