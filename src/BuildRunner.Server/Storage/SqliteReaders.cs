using System.Collections.Concurrent;
using Microsoft.Data.Sqlite;

namespace BuildRunner.Server.Storage;

/// <summary>Connections that only read; a read sees everything acknowledged before it began. At most eight are kept.</summary>
internal sealed class SqliteReaders(string path) : IDisposable
{
    private const int KeptMax = 8;
    private readonly ConcurrentBag<SqliteSession> _idle = [];
    private bool _disposed;

    public T Read<T>(Func<SqliteSession, T> read)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (!_idle.TryTake(out var session))
            session = new SqliteSession(SqliteFile.Connect(path, readOnly: true));
        try
        {
            var result = read(session);
            if (_idle.Count < KeptMax && !_disposed)
                _idle.Add(session);
            else
                session.Dispose();
            return result;
        }
        catch (Exception error)
        {
            session.Dispose();
            if (error is SqliteException sqlite)
                throw SqliteFile.Translate(sqlite, path);
            throw;
        }
    }

    public void Dispose()
    {
        _disposed = true;
        while (_idle.TryTake(out var session))
            session.Dispose();
    }
}
