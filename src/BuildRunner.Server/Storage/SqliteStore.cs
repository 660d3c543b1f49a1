using System.Text;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Storage;

/// <summary>The store in one SQLite file (write-ahead log, every commit flushed to disk), for one server.</summary>
/// <remarks>A key's version is the store's revision at its last write, as in etcd: it grows over a delete without keeping a trace of the deleted.</remarks>
internal sealed class SqliteStore : IStore, IDisposable
{
    private readonly FileStream _lock;
    private readonly SqliteWriter _writer;
    private readonly SqliteReaders _readers;
    private readonly StoreWatches _watches;

    private SqliteStore(string path, FileStream fileLock, TimeProvider time, ILogger logger, int? pagesMax)
    {
        Path = path;
        _lock = fileLock;
        _watches = new(logger);
        _readers = new(path);
        var connection = SqliteFile.Connect(path, readOnly: false);
        var session = new SqliteSession(connection);
        if (pagesMax is { } pages)
            SqliteFile.Execute(connection, $"PRAGMA max_page_count = {pages}");
        Synchronous = session.Number("PRAGMA synchronous") ?? -1;
        JournalMode = session.Command("PRAGMA journal_mode").ExecuteScalar() as string;
        if (Synchronous != 2 || JournalMode != "wal")
            throw new StoreException($"The store {path} cannot be kept safe here: SQLite gives synchronous {Synchronous} and journal '{JournalMode}', needed are 2 and 'wal'. Is the folder on a network file system?");
        var leases = new LeaseClock(time);
        using (var held = session.Command("SELECT name, ttl_ms FROM leases WHERE held = 1").ExecuteReader())
        {
            while (held.Read())
                leases.Set(Encoding.UTF8.GetString(held.GetFieldValue<byte[]>(0)), TimeSpan.FromMilliseconds(held.GetInt64(1)));
        }
        _writer = new(path, session, leases, _watches);
    }

    public string Name => "sqlite";

    public string Path { get; }

    /// <summary>Transactions so far; fewer than writes when writes came together.</summary>
    internal long Commits => _writer.Commits;

    /// <summary>SQLite's own word for how the writer's connection flushes: 2 is FULL.</summary>
    internal long Synchronous { get; }

    internal string? JournalMode { get; }

    /// <summary>Opens the file, or makes it; throws <see cref="StoreException"/> when it is in use, damaged, foreign or newer.</summary>
    public static SqliteStore Open(string path, TimeProvider time, ILogger logger, int? pagesMax = null)
    {
        var fileLock = SqliteFile.Lock(path);
        try
        {
            SqliteFile.Prepare(path);
            return new SqliteStore(path, fileLock, time, logger, pagesMax);
        }
        catch (Exception error)
        {
            fileLock.Dispose();
            if (error is SqliteException sqlite)
                throw SqliteFile.Translate(sqlite, path);
            throw;
        }
    }

    public Task<StoreEntry?> GetAsync(string key, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        var bytes = StoreLimits.Key(key);
        return Task.FromResult(_readers.Read(session =>
        {
            using var rows = session.Command("SELECT value, version FROM entries WHERE key = $0", bytes).ExecuteReader();
            return rows.Read() ? new StoreEntry(key, rows.GetFieldValue<byte[]>(0), rows.GetInt64(1)) : null;
        }));
    }

    public Task<IReadOnlyList<StoreEntry>> ListAsync(string prefix, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        var from = StoreLimits.Prefix(prefix);
        return Task.FromResult<IReadOnlyList<StoreEntry>>(_readers.Read(session =>
        {
            const string columns = "SELECT key, value, version FROM entries WHERE key >= $0";
            var command = from.Length == 0
                ? session.Command($"{columns} ORDER BY key LIMIT {StoreLimits.ListEntriesMax + 1}", from)
                : session.Command($"{columns} AND key < $1 ORDER BY key LIMIT {StoreLimits.ListEntriesMax + 1}", from, After(from));
            var entries = new List<StoreEntry>();
            using var rows = command.ExecuteReader();
            while (rows.Read())
                entries.Add(new(Encoding.UTF8.GetString(rows.GetFieldValue<byte[]>(0)), rows.GetFieldValue<byte[]>(1), rows.GetInt64(2)));
            return entries.Count <= StoreLimits.ListEntriesMax
                ? entries
                : throw new StoreException($"More than {StoreLimits.ListEntriesMax} keys begin with '{prefix}'; list a longer prefix.");
        }));
    }

    public Task<StoreWrite> PutAsync(string key, ReadOnlyMemory<byte> value, long? expected, Fence? fence, CancellationToken cancel)
    {
        var (keyBytes, valueBytes) = (StoreLimits.Key(key), StoreLimits.Value(key, value));
        StoreLimits.Expected(expected);
        return _writer.WriteAsync<StoreWrite>(valueBytes.Length, (session, batch) =>
        {
            if (Refusal(session, fence) is { } fenced)
                return fenced;
            var actual = VersionOf(session, keyBytes);
            if (expected is { } wanted && wanted != actual)
                return new StoreWrite.Conflict(actual);
            return new StoreWrite.Done(Put(session, batch, key, keyBytes, valueBytes));
        }, cancel);
    }

    public Task<StoreWrite> DeleteAsync(string key, long? expected, Fence? fence, CancellationToken cancel)
    {
        var keyBytes = StoreLimits.Key(key);
        StoreLimits.Expected(expected);
        return _writer.WriteAsync<StoreWrite>(0, (session, batch) =>
        {
            if (Refusal(session, fence) is { } fenced)
                return fenced;
            var actual = VersionOf(session, keyBytes);
            if (expected is { } wanted && wanted != actual)
                return new StoreWrite.Conflict(actual);
            var version = NextRevision(session);
            if (actual == 0)
                return new StoreWrite.Done(version);
            session.Execute("DELETE FROM entries WHERE key = $0", keyBytes);
            batch.Touch(key);
            return new StoreWrite.Done(version);
        }, cancel);
    }

    public Task<StoreWrite> AppendAsync(string log, ReadOnlyMemory<byte> value, long? expected, Fence? fence, CancellationToken cancel) => AppendAsync(log, [value], null, expected, fence, cancel);

    public Task<StoreWrite> AppendAsync(string log, IReadOnlyList<ReadOnlyMemory<byte>> values, KeyWrite also, long? expected, Fence? fence, CancellationToken cancel) =>
        AppendAsync(log, values, (KeyWrite?)also, expected, fence, cancel);

    public Task<IReadOnlyList<LogRecord>> ReadAsync(string log, long after, int limit, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        var bytes = StoreLimits.Key(log, "log");
        StoreLimits.Limit(limit);
        return Task.FromResult<IReadOnlyList<LogRecord>>(_readers.Read(session =>
            Records(session.Command("SELECT position, value FROM records WHERE log = $0 AND position > $1 ORDER BY position LIMIT $2", bytes, after, limit))));
    }

    public Task<IReadOnlyList<LogRecord>> ReadLastAsync(string log, int limit, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        var bytes = StoreLimits.Key(log, "log");
        StoreLimits.Limit(limit);
        return Task.FromResult<IReadOnlyList<LogRecord>>(_readers.Read(session =>
        {
            var records = Records(session.Command("SELECT position, value FROM records WHERE log = $0 ORDER BY position DESC LIMIT $1", bytes, limit));
            records.Reverse();
            return records;
        }));
    }

    public IDisposable Watch(string prefix, Action<string> changed) => _watches.Add(prefix, changed);

    public Task<LeaseGrant?> AcquireAsync(string lease, string holder, TimeSpan ttl, CancellationToken cancel, long above = 0)
    {
        var name = StoreLimits.Key(lease, "lease");
        StoreLimits.Key(holder, "lease's holder");
        StoreLimits.Ttl(ttl);
        return _writer.WriteAsync(0, (session, batch) =>
        {
            var row = Lease(session, name);
            var held = row.Held && batch.Runs(lease);
            if (held && row.Holder != holder)
                return null;
            var token = held && row.Token > above ? row.Token : Math.Max(row.Token, above) + 1;
            if (!held || row.Ttl != ttl || row.Token != token)
            {
                session.Execute(
                    """
                    INSERT INTO leases (name, holder, token, ttl_ms, held) VALUES ($0, $1, $2, $3, 1)
                    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, token = excluded.token, ttl_ms = excluded.ttl_ms, held = 1
                    """,
                    name, holder, token, WholeMilliseconds(ttl));
            }
            batch.Stage(lease, ttl);
            return new LeaseGrant(lease, holder, token);
        }, cancel);
    }

    public Task<bool> RenewAsync(LeaseGrant grant, TimeSpan ttl, CancellationToken cancel)
    {
        var name = StoreLimits.Key(grant.Lease, "lease");
        StoreLimits.Ttl(ttl);
        return _writer.WriteAsync(0, (session, batch) =>
        {
            var row = Lease(session, name);
            if (!row.Held || row.Token != grant.Token || row.Holder != grant.Holder || !batch.Runs(grant.Lease))
                return false;
            if (row.Ttl != ttl)
                session.Execute("UPDATE leases SET ttl_ms = $1 WHERE name = $0", name, WholeMilliseconds(ttl));
            batch.Stage(grant.Lease, ttl);
            return true;
        }, cancel);
    }

    public Task ReleaseAsync(LeaseGrant grant, CancellationToken cancel)
    {
        var name = StoreLimits.Key(grant.Lease, "lease");
        return _writer.WriteAsync(0, (session, batch) =>
        {
            if (session.Execute("UPDATE leases SET held = 0 WHERE name = $0 AND token = $1 AND holder = $2 AND held = 1", name, grant.Token, grant.Holder) > 0)
                batch.Stage(grant.Lease, null);
            return true;
        }, cancel);
    }

    public void Dispose()
    {
        _writer.Dispose();
        _readers.Dispose();
        _lock.Dispose();
    }

    private Task<StoreWrite> AppendAsync(string log, IReadOnlyList<ReadOnlyMemory<byte>> values, KeyWrite? also, long? expected, Fence? fence, CancellationToken cancel)
    {
        var (logBytes, valueBytes) = (StoreLimits.Key(log, "log"), values.Select(value => StoreLimits.Value(log, value)).ToList());
        var (keyBytes, entryBytes) = also is { } entry ? (StoreLimits.Key(entry.Key), StoreLimits.Value(entry.Key, entry.Value)) : ([], []);
        StoreLimits.Expected(expected);
        return _writer.WriteAsync<StoreWrite>(valueBytes.Sum(value => value.Length) + entryBytes.Length, (session, batch) =>
        {
            if (Refusal(session, fence) is { } fenced)
                return fenced;
            var last = session.Number("SELECT max(position) FROM records WHERE log = $0", logBytes) ?? 0;
            if (expected is { } wanted && wanted != last)
                return new StoreWrite.Conflict(last);
            foreach (var value in valueBytes)
                session.Execute("INSERT INTO records (log, position, value) VALUES ($0, $1, $2)", logBytes, ++last, value);
            batch.Touch(log);
            if (also is { Key: var key })
                Put(session, batch, key, keyBytes, entryBytes);
            return new StoreWrite.Done(last);
        }, cancel);
    }

    private static long Put(SqliteSession session, SqliteBatch batch, string key, byte[] keyBytes, byte[] valueBytes)
    {
        var version = NextRevision(session);
        session.Execute(
            "INSERT INTO entries (key, value, version) VALUES ($0, $1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version",
            keyBytes, valueBytes, version);
        batch.Touch(key);
        return version;
    }

    private static StoreWrite.Fenced? Refusal(SqliteSession session, Fence? fence)
    {
        if (fence is not { } held)
            return null;
        var current = session.Number("SELECT token FROM leases WHERE name = $0", StoreLimits.Key(held.Lease, "lease")) ?? 0;
        return current > held.Token ? new StoreWrite.Fenced(current) : null;
    }

    private static long VersionOf(SqliteSession session, byte[] key) => session.Number("SELECT version FROM entries WHERE key = $0", key) ?? 0;

    private static long NextRevision(SqliteSession session) => session.Number("UPDATE revision SET value = value + 1 RETURNING value")!.Value;

    private static (bool Held, string Holder, long Token, TimeSpan Ttl) Lease(SqliteSession session, byte[] name)
    {
        using var rows = session.Command("SELECT held, holder, token, ttl_ms FROM leases WHERE name = $0", name).ExecuteReader();
        return rows.Read() ? (rows.GetInt64(0) == 1, rows.GetString(1), rows.GetInt64(2), TimeSpan.FromMilliseconds(rows.GetInt64(3))) : (false, "", 0, default);
    }

    private static List<LogRecord> Records(SqliteCommand command)
    {
        var records = new List<LogRecord>();
        using var rows = command.ExecuteReader();
        while (rows.Read())
            records.Add(new(rows.GetInt64(0), rows.GetFieldValue<byte[]>(1)));
        return records;
    }

    /// <summary>Rounded up: a lease must not be counted shorter after a restart than it was granted.</summary>
    private static long WholeMilliseconds(TimeSpan ttl) => (long)Math.Ceiling(ttl.TotalMilliseconds);

    /// <summary>The first key that does not begin with the prefix; UTF-8 has no byte 0xFF, so adding one cannot overflow.</summary>
    private static byte[] After(byte[] prefix)
    {
        byte[] after = [.. prefix];
        after[^1]++;
        return after;
    }
}
