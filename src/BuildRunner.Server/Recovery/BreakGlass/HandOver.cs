using BuildRunner.Client.Hosting;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Recovery.BreakGlass;

/// <summary>Whether the primary has what it needs to go on when this server has ended.</summary>
internal sealed class HandOver(INodeLinks links, AssignmentLoop assignments, TimeProvider time)
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(100);

    /// <summary>Waits until the primary's agent has the assignment that follows from the record; false when it has not in time.</summary>
    public async Task<bool> TakenAsync(EpochRecord record, TimeSpan max, CancellationToken cancel)
    {
        var node = new NodeName(NodeKind.Agent, record.Primary);
        var from = time.GetTimestamp();
        while (time.GetElapsedTime(from) < max)
        {
            if (assignments.PublishedAfter(record, record.Primary) is { } version && links.Nodes.Any(n => n.Name == node && n.DocumentVersion >= version))
                return true;
            await Task.Delay(Look, time, cancel);
        }
        return false;
    }
}
