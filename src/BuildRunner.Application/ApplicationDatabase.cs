using System.Data;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace BuildRunner.Application;

/// <summary>
/// The application's connections: a pool per (write endpoint, epoch) and one for this host's own copy, swapped when the address changes.
/// A replaced pool is disposed at once: its idle connections close now, those in use when they are handed back. A new pool to write to opens a few
/// connections at once: after a move the writes that waited come together, and would wait for each of them.
/// </summary>
public sealed partial class ApplicationDatabase : IAsyncDisposable
{
    private const int OpenedAhead = 4;

    private readonly BuildRunnerApplicationOptions _options;
    private readonly WriteAddressSource _addresses;
    private readonly ILogger<ApplicationDatabase> _logger;
    private readonly Lock _swapping = new();
    private Pool? _write;
    private Pool? _read;
    private bool _disposed;

    public ApplicationDatabase(BuildRunnerApplicationOptions options, WriteAddressSource addresses, ILogger<ApplicationDatabase> logger)
    {
        _options = options;
        _addresses = addresses;
        _logger = logger;
        addresses.Changed += Swap;
        Swap(addresses.Current);
    }

    /// <summary>
    /// A connection to the primary of an epoch. It fails with <see cref="WritesClosedException"/> when the address is closed or of another
    /// epoch; opening is tried again on a fresh pool when the address changed meanwhile, since nothing was sent yet.
    /// </summary>
    public async ValueTask<NpgsqlConnection> OpenPrimaryAsync(long epoch, CancellationToken cancel)
    {
        while (true)
        {
            var pool = Volatile.Read(ref _write);
            if (pool is null || pool.Epoch != epoch)
                throw new WritesClosedException(epoch, _addresses.Current);
            try { return await pool.Source.OpenConnectionAsync(cancel); }
            catch (ObjectDisposedException) when (!ReferenceEquals(pool, Volatile.Read(ref _write))) { }
        }
    }

    /// <summary>
    /// Runs a read on this host's copy; a read may be repeated, so one that met a broken or refused connection is tried once more there and
    /// then at the primary. Anything else that fails is the caller's.
    /// </summary>
    public async Task<T> ReadAsync<T>(Func<NpgsqlConnection, CancellationToken, Task<T>> read, CancellationToken cancel)
    {
        Exception? last = null;
        foreach (var pool in new[] { Volatile.Read(ref _read), Volatile.Read(ref _read), Volatile.Read(ref _write) })
        {
            if (pool is null)
                continue;
            try
            {
                await using var connection = await pool.Source.OpenConnectionAsync(cancel);
                return await read(connection, cancel);
            }
            catch (Exception error) when (!cancel.IsCancellationRequested && IsBroken(error)) { last = error; }
        }

        throw new DatabaseUnreachableException(last is null ? "This host's agent has named no database to read from yet." : $"No copy of the database answers: {last.Message}", last);
    }

    /// <summary>
    /// Runs a read at the primary, for what may not have arrived at this host's copy yet; default when no primary is known or it is the
    /// copy itself.
    /// </summary>
    public async Task<T?> ReadPrimaryAsync<T>(Func<NpgsqlConnection, CancellationToken, Task<T>> read, CancellationToken cancel)
    {
        var pool = Volatile.Read(ref _write);
        if (pool is null || pool.Endpoint == Volatile.Read(ref _read)?.Endpoint)
            return default;
        await using var connection = await pool.Source.OpenConnectionAsync(cancel);
        return await read(connection, cancel);
    }

    /// <summary>Opens connections ahead of need, up to half of what the pools may hold, so that the first requests do not wait for them.</summary>
    public async Task<int> WarmAsync(CancellationToken cancel)
    {
        var opened = 0;
        foreach (var pool in new[] { Volatile.Read(ref _write), Volatile.Read(ref _read) })
            opened += pool is null ? 0 : await OpenAsync(pool, Math.Max(1, _options.ConnectionsMax / 2), cancel);
        return opened;
    }

    private static async Task<int> OpenAsync(Pool pool, int count, CancellationToken cancel)
    {
        var opening = Enumerable.Range(0, count).Select(async _ => await pool.Source.OpenConnectionAsync(cancel)).ToArray();
        try { return (await Task.WhenAll(opening)).Length; }
        finally
        {
            foreach (var connection in opening.Where(task => task.IsCompletedSuccessfully))
                await connection.Result.DisposeAsync();
        }
    }

    /// <summary>What fails here fails again, and is said, when a request needs it.</summary>
    private async Task OpenAheadAsync(Pool pool)
    {
        try { await OpenAsync(pool, Math.Min(OpenedAhead, _options.ConnectionsMax), CancellationToken.None); }
        catch (Exception error) when (error is NpgsqlException or ObjectDisposedException or TimeoutException or OperationCanceledException) { LogNotAhead(pool.Endpoint, error.Message); }
    }

    /// <summary>One idle connection to the primary was found dead: those opened with it are likely dead too, and are not tried one after another.</summary>
    internal void ForgetIdle() => Volatile.Read(ref _write)?.Source.Clear();

    public async ValueTask DisposeAsync()
    {
        _addresses.Changed -= Swap;
        Pool? write, read;
        lock (_swapping)
        {
            _disposed = true;
            (write, read) = (_write, _read);
            (_write, _read) = (null, null);
        }

        if (write is not null)
            await write.Source.DisposeAsync();
        if (read is not null)
            await read.Source.DisposeAsync();
    }

    /// <summary>The connection, not the statement: nothing was answered, or the server is going down.</summary>
    internal static bool IsBroken(Exception error) => error switch
    {
        PostgresException { SqlState: var state } => state.StartsWith("57P", StringComparison.Ordinal) || state.StartsWith("08", StringComparison.Ordinal) || state is "40001" or "53300",
        NpgsqlException => true,
        ObjectDisposedException or TimeoutException or IOException => true,
        _ => false,
    };

    private void Swap(WriteAddress address)
    {
        lock (_swapping)
        {
            if (_disposed)
                return;
            var before = _write;
            Exchange(ref _write, address is { Open: true, Write: { } write, Epoch: { } epoch } ? Make(address, write, epoch) : null);
            if (_write is { } pool && pool != before)
                _ = Task.Run(() => OpenAheadAsync(pool)); // opens by itself, under no lock
            Exchange(ref _read, address.Read is { } read ? Make(address, read, null) : null);
        }
    }

    /// <summary>An equal pool is kept, with its open connections.</summary>
    private void Exchange(ref Pool? slot, Pool? next)
    {
        var former = slot;
        if (former is not null && next is not null && former.IsSameAs(next))
        {
            next.Source.Dispose();
            return;
        }

        Volatile.Write(ref slot, next);
        if (former is null)
            return;
        LogReplaced(former.Endpoint, former.Epoch);
        former.Source.Dispose();
    }

    private Pool Make(WriteAddress address, DatabaseEndpoint endpoint, long? epoch)
    {
        string password;
        try { password = address.PasswordFile.Length == 0 ? "" : File.ReadAllText(address.PasswordFile).Trim(); }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            LogNoPassword(address.PasswordFile, error.Message);
            password = "";
        }

        var builder = new NpgsqlSlimDataSourceBuilder(new NpgsqlConnectionStringBuilder
        {
            GssEncryptionMode = GssEncryptionMode.Disable,
            MaxAutoPrepare = 20,
            KeepAlive = 5,
        }.ConnectionString);
        builder.ConfigureTypeLoading(types => types.EnableTypeLoading(false)); // saves the first connection a query; Configure may turn it on
        _options.Configure?.Invoke(builder);

        var settings = builder.ConnectionStringBuilder;
        settings.Host = endpoint.Host;
        settings.Port = endpoint.Port;
        settings.Database = address.DatabaseName;
        settings.Username = address.User;
        settings.Password = password.Length == 0 ? null : password;
        settings.ApplicationName = _options.ApplicationName;
        settings.MaxPoolSize = _options.ConnectionsMax;
        settings.Timeout = Math.Max(1, (int)_options.ConnectTimeout.TotalSeconds);
        settings.CommandTimeout = Math.Max(1, (int)_options.CommandTimeout.TotalSeconds);

        // A wait for replication that is cancelled ends in success (FAILOVER.md 4): never cancel, and let no setting of a role hide the warning.
        settings.CancellationTimeout = -1;
        settings.Options = "-c client_min_messages=warning";
        return new Pool(endpoint, epoch, string.Join('\0', address.DatabaseName, address.User, password), builder.Build());
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Connections to {Endpoint} (epoch {Epoch}) are replaced")]
    private partial void LogReplaced(DatabaseEndpoint endpoint, long? epoch);

    [LoggerMessage(Level = LogLevel.Information, Message = "No connections to {Endpoint} were opened ahead of need: {Reason}")]
    private partial void LogNotAhead(DatabaseEndpoint endpoint, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "The database's password cannot be read from {Path}: {Reason}")]
    private partial void LogNoPassword(string path, string reason);

    private sealed class Pool(DatabaseEndpoint endpoint, long? epoch, string identity, NpgsqlDataSource source)
    {
        public DatabaseEndpoint Endpoint => endpoint;

        /// <summary>Null for the copy that is read from: an epoch means nothing there.</summary>
        public long? Epoch => epoch;
        public NpgsqlDataSource Source => source;
        private string Identity => identity;

        public bool IsSameAs(Pool other) => endpoint == other.Endpoint && epoch == other.Epoch && identity == other.Identity;
    }
}

/// <summary>Writes are not open on this host at the epoch that was asked for; nothing was sent.</summary>
public sealed class WritesClosedException(long epoch, WriteAddress address)
    : Exception($"Writes are not open here at epoch {epoch} (this host knows epoch {address.Epoch?.ToString(CultureInfo.InvariantCulture) ?? "none"}, {(address.Open ? "open" : "closed")}).");

/// <summary>No copy of the database answers a read.</summary>
public sealed class DatabaseUnreachableException(string message, Exception? inner) : Exception(message, inner);
