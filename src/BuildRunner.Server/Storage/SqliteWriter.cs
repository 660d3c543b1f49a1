using System.Threading.Channels;
using Microsoft.Data.Sqlite;

namespace BuildRunner.Server.Storage;

/// <summary>
/// The one writer: its thread takes all writes that wait, carries them out in one transaction and acknowledges them after its commit,
/// so that concurrent writes share one flush to disk. At most 4,096 writes wait; who comes later waits to be let in.
/// </summary>
internal sealed class SqliteWriter : IDisposable
{
    private const int QueueMax = 4096;
    private const int BatchMax = 256;
    private const long BatchBytesMax = 8L * 1024 * 1024;

    private readonly Channel<Work> _queue = Channel.CreateBounded<Work>(new BoundedChannelOptions(QueueMax) { SingleReader = true });
    private readonly string _path;
    private readonly SqliteSession _session;
    private readonly LeaseClock _leases;
    private readonly StoreWatches _watches;
    private readonly Thread _thread;
    private StoreException? _broken;
    private long _commits;

    public SqliteWriter(string path, SqliteSession session, LeaseClock leases, StoreWatches watches)
    {
        (_path, _session, _leases, _watches) = (path, session, leases, watches);
        _thread = new Thread(Loop) { IsBackground = true, Name = "store" };
        _thread.Start();
    }

    public long Commits => Volatile.Read(ref _commits);

    /// <summary>A write whose caller gave up before it began is left out; one that began may be carried out all the same.</summary>
    public async Task<T> WriteAsync<T>(int bytes, Func<SqliteSession, SqliteBatch, T> act, CancellationToken cancel)
    {
        var work = new Work<T>(act, bytes, cancel);
        try { await _queue.Writer.WriteAsync(work, cancel); }
        catch (ChannelClosedException) { throw new ObjectDisposedException(nameof(SqliteStore)); }
        return await work.Task.WaitAsync(cancel);
    }

    public void Dispose()
    {
        if (!_queue.Writer.TryComplete())
            return;
        _thread.Join();
        _session.Dispose();
    }

    private void Loop()
    {
        var works = new List<Work>(BatchMax);
        // A thread of its own, blocked here: flushing to disk must not occupy the pool's few threads.
        while (_queue.Reader.WaitToReadAsync().AsTask().GetAwaiter().GetResult())
        {
            works.Clear();
            long bytes = 0;
            while (works.Count < BatchMax && bytes < BatchBytesMax && _queue.Reader.TryRead(out var work))
            {
                if (work.GivenUp)
                    continue;
                works.Add(work);
                bytes += work.Bytes;
            }
            if (works.Count > 0)
                Run(works);
        }
    }

    private void Run(List<Work> works)
    {
        var batch = new SqliteBatch(_leases);
        try
        {
            if (_broken is not null)
                throw _broken;
            _session.Execute("BEGIN IMMEDIATE");
            foreach (var work in works)
                work.Act(_session, batch);
            _session.Execute("COMMIT");
            Volatile.Write(ref _commits, _commits + 1);
        }
        catch (Exception error)
        {
            RollBack();
            var failure = error is SqliteException sqlite ? SqliteFile.Translate(sqlite, _path) : error;
            if (error is SqliteException { } fatal && SqliteFile.NeedsRestart(fatal))
                _broken = (StoreException)failure;
            foreach (var work in works)
                work.Fail(failure);
            return;
        }
        batch.CommitLeases();
        foreach (var work in works)
            work.Complete();
        _watches.Tell(batch.Changed);
    }

    private void RollBack()
    {
        try { _session.Execute("ROLLBACK"); }
        catch (SqliteException) { } // SQLite has rolled back by itself, as it does when the disk is full
    }

    private abstract class Work(int bytes, CancellationToken cancel)
    {
        public int Bytes => bytes;
        public bool GivenUp => cancel.IsCancellationRequested;
        public abstract void Act(SqliteSession session, SqliteBatch batch);
        public abstract void Complete();
        public abstract void Fail(Exception error);
    }

    private sealed class Work<T>(Func<SqliteSession, SqliteBatch, T> act, int bytes, CancellationToken cancel) : Work(bytes, cancel)
    {
        private readonly TaskCompletionSource<T> _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private T? _result;

        public Task<T> Task => _done.Task;
        public override void Act(SqliteSession session, SqliteBatch batch) => _result = act(session, batch);
        public override void Complete() => _done.TrySetResult(_result!);
        public override void Fail(Exception error)
        {
            if (_done.TrySetException(error))
                _ = _done.Task.Exception; // observed: the caller may have given up
        }
    }
}
