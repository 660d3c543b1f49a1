using BuildRunner.Server.Storage;
using BuildRunner.Tests.Recovery;

namespace BuildRunner.Tests.Runbooks;

/// <summary>A store whose process dies before or after its n-th write to a journal: from then on nothing gets through it, as after a kill.</summary>
internal sealed class MortalStore(IStore inner, int? dieAt, bool beforeWriting) : IStore
{
    private int _writes;
    private volatile bool _dead;

    /// <summary>Completes when the process dies.</summary>
    public TaskCompletionSource Died { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public bool IsDead => _dead;

    /// <summary>Writes to journals that were asked for.</summary>
    public int Writes => Volatile.Read(ref _writes);

    public string Name => inner.Name;

    public void ThrowIfDead()
    {
        if (_dead)
            throw new ServerGone();
    }

    public Task<StoreWrite> AppendAsync(string log, ReadOnlyMemory<byte> value, long? expected, Fence? fence, CancellationToken cancel) => Alive(() => inner.AppendAsync(log, value, expected, fence, cancel));

    public async Task<StoreWrite> AppendAsync(string log, IReadOnlyList<ReadOnlyMemory<byte>> values, KeyWrite also, long? expected, Fence? fence, CancellationToken cancel)
    {
        ThrowIfDead();
        var last = Interlocked.Increment(ref _writes) == dieAt;
        if (last && beforeWriting)
            Die();
        var done = await inner.AppendAsync(log, values, also, expected, fence, cancel);
        if (last)
            Die();
        ThrowIfDead();
        return done;
    }

    public Task<StoreEntry?> GetAsync(string key, CancellationToken cancel) => Alive(() => inner.GetAsync(key, cancel));

    public Task<IReadOnlyList<StoreEntry>> ListAsync(string prefix, CancellationToken cancel) => Alive(() => inner.ListAsync(prefix, cancel));

    public Task<StoreWrite> PutAsync(string key, ReadOnlyMemory<byte> value, long? expected, Fence? fence, CancellationToken cancel) => Alive(() => inner.PutAsync(key, value, expected, fence, cancel));

    public Task<StoreWrite> DeleteAsync(string key, long? expected, Fence? fence, CancellationToken cancel) => Alive(() => inner.DeleteAsync(key, expected, fence, cancel));

    public Task<IReadOnlyList<LogRecord>> ReadAsync(string log, long after, int limit, CancellationToken cancel) => Alive(() => inner.ReadAsync(log, after, limit, cancel));

    public Task<IReadOnlyList<LogRecord>> ReadLastAsync(string log, int limit, CancellationToken cancel) => Alive(() => inner.ReadLastAsync(log, limit, cancel));

    public IDisposable Watch(string prefix, Action<string> changed) => inner.Watch(prefix, changed);

    public Task<LeaseGrant?> AcquireAsync(string lease, string holder, TimeSpan ttl, CancellationToken cancel, long above = 0) => Alive(() => inner.AcquireAsync(lease, holder, ttl, cancel, above));

    public Task<bool> RenewAsync(LeaseGrant grant, TimeSpan ttl, CancellationToken cancel) => Alive(() => inner.RenewAsync(grant, ttl, cancel));

    public Task ReleaseAsync(LeaseGrant grant, CancellationToken cancel) => inner.ReleaseAsync(grant, cancel);

    private void Die()
    {
        _dead = true;
        Died.TrySetResult();
        throw new ServerGone();
    }

    private async Task<T> Alive<T>(Func<Task<T>> ask)
    {
        ThrowIfDead();
        return await ask();
    }
}
