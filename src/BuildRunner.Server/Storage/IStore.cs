namespace BuildRunner.Server.Storage;

/// <summary>
/// The state of the house: versioned keys, leases with fencing tokens and append-only logs. An acknowledged write survives
/// `kill -9` and loss of power. Nothing here needs SQL: etcd can be held to the same contract.
/// Limits: a key 512 bytes of UTF-8, a value 1 MiB, a list 10,000 entries.
/// </summary>
public interface IStore
{
    /// <summary>Name of the driver: `sqlite`, `etcd`.</summary>
    string Name { get; }

    Task<StoreEntry?> GetAsync(string key, CancellationToken cancel);

    /// <summary>All entries whose key starts with the prefix, in key order (ordinal).</summary>
    Task<IReadOnlyList<StoreEntry>> ListAsync(string prefix, CancellationToken cancel);

    /// <summary>Writes when the key's version is <paramref name="expected"/> (0: the key must not exist; null: whatever it is).</summary>
    Task<StoreWrite> PutAsync(string key, ReadOnlyMemory<byte> value, long? expected, Fence? fence, CancellationToken cancel);

    Task<StoreWrite> DeleteAsync(string key, long? expected, Fence? fence, CancellationToken cancel);

    /// <summary>
    /// Appends when the log's last position is <paramref name="expected"/> (0: empty; null: wherever it ends) and returns the new position as
    /// the version. Positions count from 1 without gaps.
    /// </summary>
    Task<StoreWrite> AppendAsync(string log, ReadOnlyMemory<byte> value, long? expected, Fence? fence, CancellationToken cancel);

    /// <summary>
    /// Appends several records, one after another, and writes a key whatever its version: all of it or nothing. The version returned is the last
    /// record's position.
    /// </summary>
    Task<StoreWrite> AppendAsync(string log, IReadOnlyList<ReadOnlyMemory<byte>> values, KeyWrite also, long? expected, Fence? fence, CancellationToken cancel);

    /// <summary>Records after a position, oldest first.</summary>
    Task<IReadOnlyList<LogRecord>> ReadAsync(string log, long after, int limit, CancellationToken cancel);

    /// <summary>The newest records, oldest of them first.</summary>
    Task<IReadOnlyList<LogRecord>> ReadLastAsync(string log, int limit, CancellationToken cancel);

    /// <summary>
    /// Hints that keys or logs under a prefix changed: the changed key's or log's name. A hint carries no data and may come late, doubled or not at
    /// all: who needs certainty reads at intervals too. Dispose to stop. The callback must not block.
    /// </summary>
    IDisposable Watch(string prefix, Action<string> changed);

    /// <summary>
    /// Takes a lease that is free or has run out; null when another holds it. The token is higher than any given for this name before.
    /// Acquiring a lease that this holder has is a renewal with the same token, unless that is not above <paramref name="above"/>: a token always is.
    /// </summary>
    Task<LeaseGrant?> AcquireAsync(string lease, string holder, TimeSpan ttl, CancellationToken cancel, long above = 0);

    /// <summary>Prolongs a lease that is still ours; false when it was lost.</summary>
    Task<bool> RenewAsync(LeaseGrant grant, TimeSpan ttl, CancellationToken cancel);

    Task ReleaseAsync(LeaseGrant grant, CancellationToken cancel);
}

/// <summary>A value and its version; versions of a key only grow, also over a delete.</summary>
public sealed record StoreEntry(string Key, ReadOnlyMemory<byte> Value, long Version);

/// <summary>A value to be written to a key.</summary>
public readonly record struct KeyWrite(string Key, ReadOnlyMemory<byte> Value);

public sealed record LogRecord(long Position, ReadOnlyMemory<byte> Value);

/// <summary>A write made under a lease: refused when a higher token was given for that lease.</summary>
public readonly record struct Fence(string Lease, long Token);

public sealed record LeaseGrant(string Lease, string Holder, long Token)
{
    public Fence Fence => new(Lease, Token);
}

/// <summary>How a write ended; a refused write changed nothing.</summary>
public abstract record StoreWrite
{
    private StoreWrite() { }

    public sealed record Done(long Version) : StoreWrite;

    /// <summary>The key or log was not at the expected version.</summary>
    public sealed record Conflict(long Actual) : StoreWrite;

    /// <summary>The lease was lost to a higher token.</summary>
    public sealed record Fenced(long Current) : StoreWrite;
}
