namespace BuildRunner.Server.Events;

/// <summary>What happened, who did it, why: kept in the store's log `events`. Recording never fails the change it records.</summary>
public interface IEventLog
{
    Task RecordAsync(string kind, string actor, string summary, IReadOnlyDictionary<string, string>? data, CancellationToken cancel);

    /// <summary>The newest events, the oldest of them first.</summary>
    Task<IReadOnlyList<EventEntry>> ListAsync(int limit, CancellationToken cancel);

    /// <summary>Events after an id, the oldest first: who keeps the id of the last one he saw misses none.</summary>
    Task<IReadOnlyList<EventEntry>> ReadAsync(long after, int limit, CancellationToken cancel);
}

/// <summary>An event; <paramref name="Kind"/> is a closed word such as `run.started`, `region.health`, `policy.applied`, `token.created`, `note`.</summary>
public sealed record EventEntry(long Id, DateTimeOffset At, string Kind, string Actor, string Summary, IReadOnlyDictionary<string, string>? Data);
