using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Regions;

/// <summary>The runbooks `drain-region`, `undrain-region` and `weight-region`.</summary>
internal static class RegionRunbooks
{
    public static readonly Runbook Drain = Book("drain-region", "Drain a region", "Send no new work to ${region}", new() { ["region"] = "${region}", ["draining"] = "true" });

    public static readonly Runbook Undrain = Book("undrain-region", "Send work to a region again", "Let work come to ${region} again", new() { ["region"] = "${region}", ["draining"] = "false" });

    public static readonly Runbook Weight = Book(
        "weight-region", "Set a region's share of the traffic", "Let ${weight}% of its traffic come to ${region}", new() { ["region"] = "${region}", ["weight"] = "${weight}" },
        new RunbookInput("weight", "Percent of what would come here that may come, 0 to 100", Required: true));

    private static Runbook Book(string name, string title, string step, Dictionary<string, string> with, params RunbookInput[] more) => new()
    {
        Name = name,
        Title = title,
        Inputs = [new RunbookInput("region", "Code of the region", Required: true), .. more],
        Steps =
        [
            new RunbookStep { Id = "control", Title = title, Action = RegionControlAction.ActionName, With = with, Timeout = TimeSpan.FromSeconds(10) },
            new RunbookStep { Id = "seen", Title = "Wait until routing knows", Action = RegionSeenAction.ActionName, With = with, Timeout = TimeSpan.FromSeconds(10) },
        ],
    };
}

/// <summary>What stands against changing a region's share, and what a person should know before.</summary>
internal sealed class RegionRunbookSource(Runbook runbook, IPolicySource policy, IRegionHealth health, Databases.Epochs epochs) : RunbookSource(runbook)
{
    public override string Over(IReadOnlyDictionary<string, string> inputs) => $"region/{inputs.GetValueOrDefault("region")}";

    public override async Task<RunAdmission> AdmitAsync(IReadOnlyDictionary<string, string> inputs, CancellationToken cancel)
    {
        var current = policy.Current;
        var epoch = await epochs.GetAsync(RegionReader.DatabaseOf(current), cancel);
        var (problems, notes) = RegionAdmission.Decide(Runbook.Name, inputs, current, health.Current, health.Controls, epoch?.Primary);
        return new RunAdmission(inputs, problems, notes);
    }
}
