using Microsoft.Data.Sqlite;

namespace BuildRunner.Server.Storage;

/// <summary>The file behind <see cref="SqliteStore"/>: made whole or not at all, checked before use, never overwritten.</summary>
internal static class SqliteFile
{
    public const int SchemaVersion = 1;
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private static readonly byte[] Magic = [.. "SQLite format 3\0"u8];

    private const string Schema = """
        CREATE TABLE schema_version (version INTEGER NOT NULL);
        INSERT INTO schema_version VALUES (1);
        CREATE TABLE revision (value INTEGER NOT NULL);
        INSERT INTO revision VALUES (0);
        CREATE TABLE entries (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL, version INTEGER NOT NULL);
        CREATE TABLE records (log BLOB NOT NULL, position INTEGER NOT NULL, value BLOB NOT NULL, PRIMARY KEY (log, position)) WITHOUT ROWID;
        CREATE TABLE leases (name BLOB PRIMARY KEY NOT NULL, holder TEXT NOT NULL, token INTEGER NOT NULL, ttl_ms INTEGER NOT NULL, held INTEGER NOT NULL) WITHOUT ROWID;
        """;

    /// <summary>Keeps a second process out; the kernel gives the lock back when this process ends, however it ends.</summary>
    public static FileStream Lock(string path)
    {
        try
        {
            return new FileStream(path + ".lock", new FileStreamOptions { Mode = FileMode.OpenOrCreate, Access = FileAccess.ReadWrite, Share = FileShare.None, UnixCreateMode = OwnerOnly });
        }
        catch (IOException error) when (File.Exists(path + ".lock"))
        {
            throw new StoreException($"Another process uses the store {path}. Stop that server, or give this one a folder of its own with --data.", error);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new StoreException($"The store {path} cannot be opened: {error.Message}", error);
        }
    }

    /// <summary>Makes the file when there is none, else checks that it is a store of ours that this program understands.</summary>
    public static void Prepare(string path)
    {
        if (File.Exists(path))
            Check(path);
        else
            Create(path);
    }

    public static SqliteConnection Connect(string path, bool readOnly)
    {
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Mode = SqliteOpenMode.ReadWrite, Pooling = false }.ToString());
        try
        {
            connection.Open();
            Execute(connection, readOnly
                ? "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;"
                : "PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA journal_size_limit = 67108864;");
            return connection;
        }
        catch (SqliteException error)
        {
            connection.Dispose();
            throw Translate(error, path);
        }
    }

    /// <summary>SQLite's error as a sentence that says what is wrong and what to do.</summary>
    public static StoreException Translate(SqliteException error, string path) => new(error.SqliteErrorCode switch
    {
        10 => $"The store {path} cannot be read or written ({error.Message}). Look at the disk, then start the server again.",
        11 or 26 => $"The store {path} is damaged or is not a store. It was left as it is: put a backup of it in its place, or move it away to begin anew.",
        13 => $"The disk of the store {path} is full. Nothing was written and nothing was lost: make room and repeat.",
        8 or 14 => $"The store {path} cannot be opened for writing. Check the owner and the mode of the file and of its folder.",
        _ => $"The store {path} failed: {error.Message}",
    }, error);

    /// <summary>After an I/O error what is on disk is unknown until the file is opened anew.</summary>
    public static bool NeedsRestart(SqliteException error) => error.SqliteErrorCode is 10 or 11 or 26;

    private static void Check(string path)
    {
        Span<byte> head = stackalloc byte[16];
        try
        {
            using var file = File.OpenHandle(path);
            var read = RandomAccess.Read(file, head, 0);
            if (read < 16 || !head.SequenceEqual(Magic))
                throw new StoreException($"{path} is not a store of BuildRunner (it is no SQLite file). It was left as it is: name another folder with --data, put a backup in its place, or move it away.");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new StoreException($"The store {path} cannot be opened: {error.Message}", error);
        }

        using var connection = Connect(path, readOnly: true);
        try
        {
            if (Scalar(connection, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'schema_version'") is not 1L)
                throw new StoreException($"{path} is an SQLite file, but no store of BuildRunner. It was left as it is: name another folder with --data.");
            var version = Scalar(connection, "SELECT version FROM schema_version") as long? ?? 0;
            if (version > SchemaVersion)
                throw new StoreException($"The store {path} has format {version}, made by a newer BuildRunner; this one understands up to {SchemaVersion}. Start the newer version, or restore a backup made before the upgrade.");
            if (version < 1)
                throw new StoreException($"The store {path} has no known format ({version}). It was left as it is: put a backup of it in its place.");
            if (Scalar(connection, "PRAGMA quick_check(1)") is not "ok" and var fault)
                throw new StoreException($"The store {path} is damaged ({fault}). It was left as it is: put a backup of it in its place, or move it away to begin anew.");
        }
        catch (SqliteException error)
        {
            throw Translate(error, path);
        }
    }

    private static void Create(string path)
    {
        if (new FileInfo(path + "-wal") is { Exists: true, Length: > 0 })
            throw new StoreException($"{path} is missing, but its log {path}-wal is there: the file was moved or deleted by hand. Put it back, or move the log away too.");

        // Made under another name: a start that is cut short leaves no half a store under the right one.
        var fresh = path + ".new";
        foreach (var leftover in new[] { fresh, fresh + "-wal", fresh + "-shm", fresh + "-journal" })
            File.Delete(leftover);
        try
        {
            new FileStream(fresh, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = OwnerOnly }).Dispose();
            using (var connection = Connect(fresh, readOnly: false))
            {
                Execute(connection, "PRAGMA journal_mode = WAL;");
                Execute(connection, $"BEGIN IMMEDIATE; {Schema} COMMIT;");
            } // closing the only connection moves the log into the file
            File.Move(fresh, path);
            Directories.Sync(Path.GetDirectoryName(Path.GetFullPath(path))!);
        }
        catch (SqliteException error) { throw Translate(error, path); }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new StoreException($"The store {path} cannot be made: {error.Message}", error);
        }
    }

    public static void Execute(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    private static object? Scalar(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }
}
