using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Databases;

/// <summary>
/// This server as the arbiter of leases (FAILOVER.md 3): grants the leave to acknowledge while it leads, and says when one has run out. How far
/// leases run is kept in memory only; that one is enforced, and the longest ttl, is in the store before it counts.
/// </summary>
internal sealed class Leases(IStore store, Epochs epochs, IPolicySource policy, Lead lead, TimeProvider time)
{
    /// <summary>A pause of this server that is longer is a stall: the renewals that wait come first.</summary>
    private static readonly TimeSpan StallMin = TimeSpan.FromSeconds(1);
    private const int AttemptsMax = 5;
    private readonly long _started = time.GetTimestamp();
    private readonly Lock _gate = new();
    private readonly Dictionary<string, LeaseBook> _books = new(StringComparer.Ordinal);
    private readonly Dictionary<string, long> _seen = new(StringComparer.Ordinal);
    private long _token;
    private TimeSpan _looked;

    private static string KeyOf(string database) => $"databases/{database}/lease";

    /// <summary>Answers a renewal; null: this server may not answer, as if it were silent.</summary>
    public async Task<LeaseAnswer?> RenewAsync(LeaseAsk ask, CancellationToken cancel)
    {
        if (lead() is not { } fence || policy.Current.Recovery.Lease() is not { } terms)
            return null;
        var record = await epochs.GetAsync(ask.Database, cancel);
        var kept = await RecordAsync(ask.Database, cancel);
        if (record?.Epoch == ask.Epoch && record.Primary == ask.Region)
            kept = await KeepAsync(kept, LeaseRecord.For(kept?.Record, ask.Database, ask.Epoch, ask.Enforced, ask.Ttl > terms.Ttl ? ask.Ttl : terms.Ttl), fence, cancel);
        lock (_gate)
        {
            // The right to answer is looked at last: what a former leader grants late must not outlast what the next one counts.
            if (lead()?.Token != fence.Token)
                return null;
            var (book, answer) = LeaseArbiter.Renew(Book(ask.Database, kept, fence.Token, terms), record, ask, terms, Now);
            _books[ask.Database] = book;
            return answer with { FencingToken = fence.Token };
        }
    }

    /// <summary>From now on no renewal of an epoch is granted, by this arbiter or one that begins after it, and its lease can run out.</summary>
    public Task WithholdAsync(EpochRecord record, string run, CancellationToken cancel) => ChangeAsync(record, run, cancel);

    /// <summary>The run gave up: the epoch goes on.</summary>
    public Task RestoreAsync(EpochRecord record, CancellationToken cancel) => ChangeAsync(record, null, cancel);

    /// <summary>Whether the lease of the record's epoch has ended, and how long it takes yet; null: it is not enforced, and never ends.</summary>
    public async Task<(LeaseEnd End, TimeSpan Left)?> EndAsync(EpochRecord record, CancellationToken cancel)
    {
        if (lead() is not { } fence || policy.Current.Recovery.Lease() is not { } terms || !await IsEnforcedAsync(record, cancel))
            return null;
        var kept = await RecordAsync(record.Database, cancel);
        lock (_gate)
        {
            var book = Book(record.Database, kept, fence.Token, terms);
            var now = Now;
            return LeaseArbiter.End(book, record, terms, now) is var end && end is LeaseEnd.Runs runs ? (end, runs.Until - now) : (end, TimeSpan.Zero);
        }
    }

    /// <summary>How long the primary of an enforced lease has not asked for it, once that is a whole ttl; null: it asks, or none is enforced.</summary>
    public async Task<TimeSpan?> SilenceAsync(EpochRecord record, CancellationToken cancel)
    {
        if (lead() is not { } fence || policy.Current.Recovery.Lease() is not { } terms || !await IsEnforcedAsync(record, cancel))
            return null;
        var kept = await RecordAsync(record.Database, cancel);
        lock (_gate)
            return LeaseArbiter.Silence(Book(record.Database, kept, fence.Token, terms), record, terms, Now);
    }

    /// <summary>The primary of the record's epoch is known to be held by its lease.</summary>
    public async Task<bool> IsEnforcedAsync(EpochRecord record, CancellationToken cancel) =>
        policy.Current.Recovery.Lease() is not null && await RecordAsync(record.Database, cancel) is { Record: { Enforced: true } kept } && kept.Epoch == record.Epoch;

    /// <summary>A lease of the record's epoch was granted, whatever the policy says now.</summary>
    public async Task<bool> IsKeptAsync(EpochRecord record, CancellationToken cancel) => await RecordAsync(record.Database, cancel) is { } kept && kept.Record.Epoch == record.Epoch;

    /// <summary>Enforcement ends: nothing runs out any more, before anyone is told to lift it.</summary>
    public async Task LiftAsync(string database, Fence fence, CancellationToken cancel)
    {
        if (await RecordAsync(database, cancel) is { Record.Enforced: true } kept)
            await KeepAsync(kept, kept.Record with { Enforced = false }, fence, cancel);
    }

    /// <summary>Called at a steady pace, so that a stall of this process shows.</summary>
    public void Look()
    {
        lock (_gate)
            Awaken(policy.Current.Recovery.Lease());
    }

    private TimeSpan Now => time.GetElapsedTime(_started);

    /// <summary>On the disk first when it is taken, and last when it is given back: what is in memory may be lost at any moment. Whatever the policy says now.</summary>
    private async Task ChangeAsync(EpochRecord record, string? withheldBy, CancellationToken cancel)
    {
        if (lead() is not { } fence)
            throw new StoreFencedException("This server does not lead any more.");
        for (var attempt = 0; ; attempt++)
        {
            var kept = await RecordAsync(record.Database, cancel);
            if (kept is null || kept.Record.Epoch != record.Epoch)
                return; // no lease of this epoch was ever granted
            try
            {
                kept = await KeepAsync(kept, kept.Record with { WithheldBy = withheldBy }, fence, cancel);
            }
            catch (StoreException) when (attempt < AttemptsMax) { continue; } // a renewal wrote in between
            lock (_gate)
            {
                if (_books.TryGetValue(record.Database, out var book) && fence.Token == _token)
                    _books[record.Database] = Heed(book, kept);
            }
            return;
        }
    }

    /// <summary>The book of this leadership; a new one expires nothing for the longest ttl that was granted before it.</summary>
    private LeaseBook Book(string database, Kept? kept, long token, LeaseTerms terms)
    {
        if (token != _token)
        {
            _books.Clear();
            _seen.Clear();
        }
        _token = token;
        Awaken(terms);
        if (!_books.TryGetValue(database, out var book))
            _books[database] = book = LeaseArbiter.Begin(token.ToString(CultureInfo.InvariantCulture), kept?.Record.Ttl > terms.Ttl ? kept.Record.Ttl : terms.Ttl, Now);
        return _books[database] = Heed(book, kept);
    }

    /// <summary>The newest record that was seen says whether the epoch is withheld; one that was read before it, and is used after, changes nothing.</summary>
    private LeaseBook Heed(LeaseBook book, Kept? kept)
    {
        if (kept is null || kept.Record.Epoch < book.Epoch || kept.Version <= _seen.GetValueOrDefault(kept.Record.Database))
            return book;
        _seen[kept.Record.Database] = kept.Version;
        return kept.Record.WithheldBy is null ? LeaseArbiter.Restore(book, kept.Record.Epoch) : LeaseArbiter.Withhold(book, kept.Record.Epoch);
    }

    private void Awaken(LeaseTerms? terms)
    {
        var now = Now;
        if (terms is not null && now - _looked > StallMin)
        {
            foreach (var (database, book) in _books.ToList())
                _books[database] = LeaseArbiter.Awake(book, terms, now);
        }
        _looked = now;
    }

    private async Task<Kept?> RecordAsync(string database, CancellationToken cancel) =>
        await store.GetAsync(KeyOf(database), cancel) is { } entry
            ? new(JsonSerializer.Deserialize(entry.Value.Span, WireJson.Default.LeaseRecord) ?? throw new JsonException($"{entry.Key} holds null."), entry.Version)
            : null;

    private async Task<Kept> KeepAsync(Kept? before, LeaseRecord record, Fence fence, CancellationToken cancel)
    {
        if (before?.Record == record || before?.Record.Epoch > record.Epoch)
            return before;
        if (await store.PutAsync(KeyOf(record.Database), JsonSerializer.SerializeToUtf8Bytes(record, WireJson.Default.LeaseRecord), before?.Version ?? 0, fence, cancel) is not StoreWrite.Done)
            throw new StoreException($"The lease record of {record.Database} changed while it was being written; the next renewal tries again.");
        return await RecordAsync(record.Database, cancel) ?? throw new StoreException($"The lease record of {record.Database} is gone.");
    }

    private sealed record Kept(LeaseRecord Record, long Version);
}

/// <summary>Looks at the clock at a steady pace; see <see cref="Leases.Look"/>.</summary>
internal sealed class ArbiterLoop(Leases leases, TimeProvider time, ILogger<ArbiterLoop> logger) : ReconcileLoop(TimeSpan.FromMilliseconds(250), time, logger)
{
    public override Task RunOnceAsync(CancellationToken cancel)
    {
        leases.Look();
        return Task.CompletedTask;
    }
}
