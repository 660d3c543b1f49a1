namespace BuildRunner.Server.Storage;

/// <summary>What a transaction has changed besides its rows; takes effect when it is committed.</summary>
internal sealed class SqliteBatch(LeaseClock leases)
{
    private readonly Dictionary<string, TimeSpan?> _staged = new(StringComparer.Ordinal);
    private readonly HashSet<string> _changed = new(StringComparer.Ordinal);

    public IReadOnlyCollection<string> Changed => _changed;

    public void Touch(string name) => _changed.Add(name);

    /// <summary>Counts from the commit on; null ends the lease.</summary>
    public void Stage(string lease, TimeSpan? ttl) => _staged[lease] = ttl;

    public bool Runs(string lease) => _staged.TryGetValue(lease, out var ttl) ? ttl is not null : leases.Runs(lease);

    public void CommitLeases()
    {
        foreach (var (lease, ttl) in _staged)
            leases.Set(lease, ttl);
    }
}

/// <summary>
/// When leases run out, by this process's monotonic clock. After a restart every lease that was held counts as held for a whole ttl from then:
/// how long the process was away is unknown. Used by the writer's thread only.
/// </summary>
internal sealed class LeaseClock(TimeProvider time)
{
    private readonly Dictionary<string, (long From, TimeSpan Ttl)> _leases = new(StringComparer.Ordinal);

    public bool Runs(string lease) => _leases.TryGetValue(lease, out var granted) && time.GetElapsedTime(granted.From) < granted.Ttl;

    public void Set(string lease, TimeSpan? ttl)
    {
        if (ttl is { } value)
            _leases[lease] = (time.GetTimestamp(), value);
        else
            _leases.Remove(lease);
    }
}
