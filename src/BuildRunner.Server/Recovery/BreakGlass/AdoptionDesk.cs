using BuildRunner.Client.Recovery;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Recovery.BreakGlass;

/// <summary>
/// Takes over what another server did without this one. The token comes last: until everything else is written, this server goes on being one that only
/// reads, so that a crash half way leaves nothing but the same command to give again.
/// </summary>
internal sealed class AdoptionDesk(IStore store, Epochs epochs, RunRecords records, LeaderLease lease, AssignmentLoop assignments, IEventLog events)
{
    private const string AdoptedPrefix = "break-glass/adopted/";

    /// <summary>The answer, or why it is refused: then nothing was changed.</summary>
    public async Task<(AdoptionAnswer? Answer, string? Refusal)> AdoptAsync(AdoptionBundle bundle, string actor, CancellationToken cancel)
    {
        if (lease.Current is not { } fence)
            return (null, "This server does not lead now; give the command again in a few seconds.");
        if (!bundle.Closed)
            return (null, $"The server that wrote the journal may still act on {bundle.Host}. End its command there, or give this one there, where it can be seen that it has ended.");
        if (await AdoptedAsync(bundle, cancel))
            return (new AdoptionAnswer { Records = bundle.Records, Runs = [], Already = true, Token = fence.Token }, null);
        foreach (var theirs in bundle.Records)
        {
            if (await epochs.GetAsync(theirs.Database, cancel) is { } own && EpochTransitions.Take(own, theirs) is EpochMove.Refused refused)
                return (null, refused.Reason);
        }

        var (taken, added) = (new List<EpochRecord>(), new List<RunRecord>());
        var changed = false;
        foreach (var theirs in bundle.Records)
        {
            if (await epochs.GetAsync(theirs.Database, cancel) is null && await epochs.CreateAsync(theirs, fence, cancel) is { } first)
            {
                taken.Add(first);
                changed = true;
                continue;
            }
            switch (await epochs.MoveAsync(theirs.Database, own => EpochTransitions.Take(own, theirs), fence, cancel))
            {
                case EpochWrite.Done done:
                    taken.Add(done.Record);
                    changed |= done.Changed;
                    break;
                case EpochWrite.Refused refused:
                    return (null, refused.Reason);
            }
        }
        foreach (var run in bundle.Runs)
        {
            if (await TakeAsync(run, fence, cancel))
                added.Add(run.Record);
        }
        foreach (var (key, value) in bundle.Holds.Where(h => h.Key.StartsWith("holds/", StringComparison.Ordinal)))
            await store.PutAsync(key, Convert.FromBase64String(value), expected: 0, fence, cancel);
        if (added.Count > 0)
        {
            foreach (var happened in bundle.Events)
                await events.RecordAsync(happened.Kind, happened.Actor, $"{happened.Summary} (without this server, {happened.At:yyyy-MM-dd HH:mm:ss} UTC on {bundle.Host})", null, cancel);
        }
        if (await lease.RaiseAsync(bundle.Token, cancel) is not { } raised)
            return (null, "Another server leads now; adopt the journal there.");
        await store.PutAsync(AdoptedPrefix + bundle.Id, System.Text.Encoding.UTF8.GetBytes(raised.Token.ToString(CultureInfo.InvariantCulture)), null, raised, cancel);
        changed |= added.Count > 0;
        if (changed)
        {
            await events.RecordAsync("server.adopted", actor, $"{actor} had this server adopt what was done without it on {bundle.Host} by {bundle.By}: {string.Join("; ", taken.Select(r => $"epoch {r.Epoch} of {r.Database} is {r.State.ToString().ToLowerInvariant()}, {r.Primary}"))}.",
                new Dictionary<string, string> { ["journal"] = bundle.Id }, cancel);
        }
        assignments.Wake();
        return (new AdoptionAnswer { Records = taken, Runs = added, Already = !changed, Token = raised.Token }, null);
    }

    /// <summary>Nothing of it is new: what this server has done since is not touched.</summary>
    private async Task<bool> AdoptedAsync(AdoptionBundle bundle, CancellationToken cancel)
    {
        if (await store.GetAsync(AdoptedPrefix + bundle.Id, cancel) is null)
            return false;
        foreach (var run in bundle.Runs)
        {
            if ((await store.ReadAsync(RunJournal.LogOf(run.Record.Id), 0, run.Lines.Count + 1, cancel)).Count < run.Lines.Count)
                return false;
        }
        return true;
    }

    /// <summary>The lines first, as the engine does: a record without a journal never began. True: something was new here.</summary>
    private async Task<bool> TakeAsync(AdoptedRun run, Fence fence, CancellationToken cancel)
    {
        var log = RunJournal.LogOf(run.Record.Id);
        var here = await store.ReadAsync(log, 0, run.Lines.Count + 1, cancel);
        for (var i = here.Count; i < run.Lines.Count; i++)
        {
            if (await store.AppendAsync(log, Convert.FromBase64String(run.Lines[i]), i, fence, cancel) is not StoreWrite.Done)
                throw new StoreException($"The journal of run {run.Record.Id} changed while it was being taken over; give the command again.");
        }
        if (await records.GetAsync(run.Record.Id, cancel) is not null)
            return here.Count < run.Lines.Count;
        await records.PutAsync(run.Record, fence, cancel);
        return true;
    }
}
