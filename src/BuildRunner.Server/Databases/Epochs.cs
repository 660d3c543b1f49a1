using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Events;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Databases;

/// <summary>The epoch records in the store, moved only by compare-and-set under the leader's fence and only as <see cref="EpochTransitions"/> allows.</summary>
public sealed class Epochs(IStore store, IEventLog events)
{
    private const int AttemptsMax = 4;

    public static string KeyOf(string database) => $"databases/{database}/epoch";

    public async Task<EpochRecord?> GetAsync(string database, CancellationToken cancel) =>
        await store.GetAsync(KeyOf(database), cancel) is { } entry ? Read(entry) : null;

    /// <summary>Writes the first epoch unless there is a record; answers the one that stands.</summary>
    public async Task<EpochRecord?> CreateAsync(EpochRecord first, Fence? fence, CancellationToken cancel)
    {
        var written = await store.PutAsync(KeyOf(first.Database), JsonSerializer.SerializeToUtf8Bytes(first, WireJson.Default.EpochRecord), expected: 0, fence, cancel);
        if (written is StoreWrite.Done)
            await TellAsync(first, cancel);
        return await GetAsync(first.Database, cancel);
    }

    /// <summary>
    /// Moves a database's record by one of <see cref="EpochTransitions"/>, decided anew when another writer was faster. A move that was made before
    /// (a run's repeated step) answers the record and writes nothing.
    /// </summary>
    public async Task<EpochWrite> MoveAsync(string database, Func<EpochRecord, EpochMove> decide, Fence? fence, CancellationToken cancel)
    {
        for (var attempt = 0; attempt < AttemptsMax; attempt++)
        {
            if (await store.GetAsync(KeyOf(database), cancel) is not { } entry)
                return new EpochWrite.Refused($"Refused: there is no epoch record of database {database}.");
            var before = Read(entry);
            switch (decide(before))
            {
                case EpochMove.Refused refused:
                    return new EpochWrite.Refused(refused.Reason);
                case EpochMove.Allowed { Record: var after } when after == before:
                    return new EpochWrite.Done(before, Changed: false);
                case EpochMove.Allowed { Record: var after }:
                    switch (await store.PutAsync(entry.Key, JsonSerializer.SerializeToUtf8Bytes(after, WireJson.Default.EpochRecord), entry.Version, fence, cancel))
                    {
                        case StoreWrite.Done:
                            await (after.Sync != before.Sync && after.State == before.State ? TellClaimAsync(after, cancel) : TellAsync(after, cancel));
                            return new EpochWrite.Done(after, Changed: true);
                        case StoreWrite.Fenced fenced:
                            return new EpochWrite.Refused($"Refused: another server leads (fencing token {fenced.Current}).");
                    }
                    break; // a conflict: read and decide again
            }
        }
        return new EpochWrite.Refused($"Refused: the epoch record of {database} changed {AttemptsMax} times while it was being moved.");
    }

    private static EpochRecord Read(StoreEntry entry) =>
        JsonSerializer.Deserialize(entry.Value.Span, WireJson.Default.EpochRecord) ?? throw new JsonException($"{entry.Key} holds null.");

    private Task TellClaimAsync(EpochRecord record, CancellationToken cancel) => events.RecordAsync(
        "replication.changed", "server",
        record.Sync switch
        {
            null => $"Replication of {record.Database} is asynchronous.",
            { Claims: true } sync => $"Every acknowledged commit of {record.Database} is held by at least {sync.Required} of {string.Join(", ", sync.Members)}{(sync.State == SyncState.Changing ? "; for whom commits wait is being changed" : "")}.",
            { State: SyncState.Degraded } => $"Replication of {record.Database} is degraded: no copy can be waited for.",
            _ => $"Nothing is claimed of the copies of {record.Database} while it is changed for whom commits wait.",
        },
        new Dictionary<string, string> { ["database"] = record.Database, ["epoch"] = record.Epoch.ToString(CultureInfo.InvariantCulture), ["primary"] = record.Primary },
        cancel);

    private Task TellAsync(EpochRecord record, CancellationToken cancel) => events.RecordAsync(
        "epoch.moved", record.Run is { } run ? $"run {run}" : "server",
        $"Epoch {record.Epoch} of {record.Database} is {record.State.ToString().ToLowerInvariant()}: {record.Primary}.",
        new Dictionary<string, string> { ["database"] = record.Database, ["epoch"] = record.Epoch.ToString(CultureInfo.InvariantCulture), ["primary"] = record.Primary },
        cancel);
}

/// <summary>How a move of an epoch record ended; a refusal changed nothing.</summary>
public abstract record EpochWrite
{
    private EpochWrite() { }

    public sealed record Done(EpochRecord Record, bool Changed) : EpochWrite;

    public sealed record Refused(string Reason) : EpochWrite;
}
