using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Failover;

/// <summary>
/// The proof `cut`: so many recorded copies refuse the epoch and receive nothing any more that none of its commits can be acknowledged. It waits for no
/// clock, and one of those copies holds every commit that was.
/// </summary>
internal sealed class CutFence(INodeLinks links, NodeReach reach)
{
    private static readonly TimeSpan OrderMax = TimeSpan.FromSeconds(5);

    /// <summary>The evidence, or null with what was tried; then every copy follows again.</summary>
    public async Task<string?> CutAsync(EpochRecord record, ActionContext context, List<string> tried, CancellationToken cancel)
    {
        if (record is not { State: EpochState.Closing, Sync: { Claims: true } sync })
            return null; // asynchronous: it acknowledges alone
        var target = context.Arguments["target"];
        var members = string.Join(", ", sync.Members);
        if (!sync.Members.Contains(target))
        {
            tried.Add($"{target} is none of the copies that its commits waited for ({members})");
            return null;
        }
        var asked = sync.Members.Where(code => code == target || reach.Agent(code)).ToList();
        if (asked.Count < sync.CutsNeeded)
        {
            tried.Add($"{sync.CutsNeeded} of the copies that its commits waited for must be cut off it, and only {string.Join(", ", asked)} of {members} can be reached");
            return null;
        }
        context.Progress($"{record.Primary} does not answer: cutting {string.Join(", ", asked)} off it");
        var cuts = await Task.WhenAll(asked.Select(async code => (Code: code, Answer: await links.GiveAsync(Orders.Agent(code), $"{context.Key}/cut/{code}", DatabaseOrders.Cut, record.Epoch, context,
            new CutOrder(record.Database, record.Epoch, context.Run), WireJson.Default.CutOrder, WireJson.Default.CutResult, OrderMax, cancel))));
        var cut = cuts.Where(c => c.Answer.Data?.MarkerEpoch == record.Epoch).Select(c => c.Code).ToList();
        if (cut.Count >= sync.CutsNeeded && cut.Contains(target))
            return $"{string.Join(", ", cut)} refuse epoch {record.Epoch} and receive nothing any more; each of its commits waited for {sync.Required} of {members}";
        tried.Add($"too few of its copies could be cut off it ({string.Join("; ", cuts.Where(c => !cut.Contains(c.Code)).Select(c => $"{c.Code}: {c.Answer.Error ?? "it is on another epoch"}"))})");
        await RestoreAsync(record, context, cancel); // the primary may yet be heard again
        return null;
    }

    /// <summary>The run gives up: the copies follow the primary again. One that cannot be told stays cut, and says so in its status.</summary>
    public async Task RestoreAsync(EpochRecord record, ActionContext context, CancellationToken cancel)
    {
        if (record.Sync is not { Claims: true } sync)
            return;
        await Task.WhenAll(sync.Members.Where(reach.Agent).Select(code => links.GiveAsync(Orders.Agent(code), $"{context.Key}/uncut/{code}", DatabaseOrders.Uncut, record.Epoch, context,
            new CutOrder(record.Database, record.Epoch, context.Run), WireJson.Default.CutOrder, WireJson.Default.CutResult, OrderMax, cancel)));
    }
}
