using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Failover;

/// <summary>The proof `expired`: the enforced lease ran out, and the target promises the old primary nothing more and owes it no promise.</summary>
internal sealed class LeaseFence(Leases leases, INodeLinks links, TimeProvider time)
{
    private static readonly TimeSpan OrderMax = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(100);

    /// <summary>The primary's right to acknowledge ends by itself: its agent is not waited for long.</summary>
    public Task<bool> IsEnforcedAsync(EpochRecord record, CancellationToken cancel) => leases.IsEnforcedAsync(record, cancel);

    /// <summary>
    /// Whether the end of the lease is a proof: where commits wait for copies, a guard that is frozen lets them through past the deadline, and to cut
    /// those copies off is what stops them.
    /// </summary>
    public static bool Proves(EpochRecord record) => record.Sync is null or { State: SyncState.Degraded };

    /// <summary>Waits for the end of the lease; the evidence and how long ago its holder's deadline passed, or null with what was tried.</summary>
    public async Task<(string Evidence, TimeSpan Since)?> ExpireAsync(EpochRecord record, ActionContext context, List<string> tried, CancellationToken cancel)
    {
        if (!await leases.IsEnforcedAsync(record, cancel))
        {
            tried.Add("its lease is not enforced (recovery.fencing)");
            return null;
        }
        if (!Proves(record))
        {
            tried.Add("its commits wait for copies and not for its guard, so that the end of its lease proves nothing by itself");
            return null;
        }
        var target = context.Arguments["target"];
        await leases.WithholdAsync(record, context.Run, cancel);
        var refused = await links.GiveAsync(Orders.Agent(target), $"{context.Key}/refuse", DatabaseOrders.Refuse, record.Epoch, context,
            new RefuseOrder(record.Database, record.Epoch, context.Run), WireJson.Default.RefuseOrder, WireJson.Default.RefuseResult, OrderMax, cancel);
        if (refused.Data is not { } refusal)
        {
            await leases.RestoreAsync(record, cancel); // the primary may yet be heard again
            tried.Add($"{target} did not confirm that it refuses epoch {record.Epoch} ({refused.Error})");
            return null;
        }
        // The answer may be one that is remembered: the promise then ended earlier than is waited for here, never later.
        var heard = time.GetTimestamp();
        while (await leases.EndAsync(record, cancel) is { } look)
        {
            var promise = refusal.PromiseLeft - time.GetElapsedTime(heard);
            if (look.End is LeaseEnd.RunOut end && promise <= TimeSpan.Zero)
                return ($"{end.Evidence}, and {target} refuses epoch {record.Epoch} and owes it no promise", end.Since);
            var left = look.Left > promise ? look.Left : promise;
            context.Progress(string.Create(CultureInfo.InvariantCulture, $"{record.Primary} does not answer: its lease ends within {left.TotalSeconds:0.0} s"));
            await Task.Delay(left < Look ? left : Look, time, cancel);
        }
        tried.Add("this server stopped being the arbiter while it counted");
        return null;
    }

    /// <summary>The run gives up: the primary may renew, and the target may promise again.</summary>
    public async Task RestoreAsync(EpochRecord record, ActionContext context, CancellationToken cancel)
    {
        if (!await leases.IsKeptAsync(record, cancel))
            return;
        var target = context.Arguments["target"];
        await links.GiveAsync(Orders.Agent(target), $"{context.Key}/accept", DatabaseOrders.Uncut, record.Epoch, context,
            new CutOrder(record.Database, record.Epoch, context.Run), WireJson.Default.CutOrder, WireJson.Default.CutResult, OrderMax, cancel);
        await leases.RestoreAsync(record, cancel);
    }
}
