using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Hosting;

/// <summary>
/// The right to act for the whole house: the lease `server`. Whoever writes or gives orders as the leader quotes <see cref="Current"/>,
/// and does nothing while it is null. Each start of a server gets a token of its own, so that what an earlier one sent is refused.
/// </summary>
internal sealed partial class LeaderLease(IStore store, ServerIdentity identity, TimeProvider time, ILogger<LeaderLease> logger, Standing? standing = null)
    : ReconcileLoop(Ttl / 3, time, logger)
{
    public const string Name = "server";
    private static readonly TimeSpan Ttl = TimeSpan.FromSeconds(10);

    private readonly TimeProvider _time = time;
    private readonly SemaphoreSlim _one = new(1, 1);
    private Held? _held;
    private bool _ledBefore;

    /// <summary>The fence to write under; null while another server leads or the lease could not be renewed in time.</summary>
    public Fence? Current => Volatile.Read(ref _held) is { } held && _time.GetElapsedTime(held.AskedAt) < Ttl ? held.Grant.Fence : null;

    /// <summary>
    /// The same for whoever moves a database, sends traffic elsewhere or writes names: null also while another server may have done so without this
    /// one's knowledge (<see cref="Standing"/>).
    /// </summary>
    public Fence? Acting => standing?.WhyNot is null ? Current : null;

    /// <summary>Goes on under a token above this one: what was ordered under it, by whichever server, is the older word from now on. Null: another server leads.</summary>
    public async Task<Fence?> RaiseAsync(long above, CancellationToken cancel)
    {
        await _one.WaitAsync(cancel);
        try
        {
            var asked = _time.GetTimestamp();
            if (await store.AcquireAsync(Name, identity.Id, Ttl, cancel, above) is not { } grant)
                return null;
            Volatile.Write(ref _held, new(grant, asked));
            LogTaken(logger, grant.Token);
            return grant.Fence;
        }
        finally { _one.Release(); }
    }

    /// <summary>Takes the lease before any other loop starts, so that their first pass can act.</summary>
    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        await RunOnceAsync(cancellationToken);
        await base.StartAsync(cancellationToken);
    }

    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        if (Interlocked.Exchange(ref _held, null) is { } held)
            await store.ReleaseAsync(held.Grant, cancellationToken);
    }

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        await _one.WaitAsync(cancel);
        try { await PassAsync(cancel); }
        finally { _one.Release(); }
    }

    public override void Dispose()
    {
        _one.Dispose();
        base.Dispose();
    }

    private async Task PassAsync(CancellationToken cancel)
    {
        var asked = _time.GetTimestamp(); // before asking: our end comes before the store's
        if (Volatile.Read(ref _held) is { } held)
        {
            if (await store.RenewAsync(held.Grant, Ttl, cancel))
            {
                Volatile.Write(ref _held, held with { AskedAt = asked });
                return;
            }
            Volatile.Write(ref _held, null);
            LogLost(logger, held.Grant.Token);
        }

        if (await store.AcquireAsync(Name, identity.Id, Ttl, cancel, standing?.TokenFloor ?? 0) is not { } grant)
            return;
        if (!_ledBefore)
        {
            // The lease may be the one our former process left behind: a token of our own makes its orders the older ones.
            await store.ReleaseAsync(grant, cancel);
            if (await store.AcquireAsync(Name, identity.Id, Ttl, cancel, standing?.TokenFloor ?? 0) is not { } own)
                return;
            grant = own;
        }
        _ledBefore = true;
        Volatile.Write(ref _held, new(grant, asked));
        LogTaken(logger, grant.Token);
    }

    private sealed record Held(LeaseGrant Grant, long AskedAt);

    [LoggerMessage(Level = LogLevel.Information, Message = "This server leads, with fencing token {Token}.")]
    private static partial void LogTaken(ILogger logger, long token);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The lease with fencing token {Token} was lost: this server does not lead any more.")]
    private static partial void LogLost(ILogger logger, long token);
}

/// <summary>Name of this server among the servers of a house; stays the same over restarts on the same data folder.</summary>
internal sealed record ServerIdentity(string Id)
{
    public static ServerIdentity Load(string folder)
    {
        var path = Path.Combine(folder, "server-id");
        if (File.Exists(path) && File.ReadAllText(path).Trim() is { Length: > 0 } known)
            return new(known);
        var id = Guid.NewGuid().ToString("N");
        AtomicFile.Write(path, id);
        return new(id);
    }
}
