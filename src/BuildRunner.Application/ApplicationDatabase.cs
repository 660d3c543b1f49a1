using System.Data;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace BuildRunner.Application;

/// <summary>
/// The application's connections: a pool per (write endpoint, epoch) and one for this host's own copy, swapped when the address changes.
/// Where this host's copy is the primary the two are one pool: a copy that is promoted keeps its sessions, so the writes that waited for the move find
/// them open, and a server that is busy being promoted need not start new ones. A replaced pool is disposed at once: its idle connections close now,
/// those in use when they are handed back.
/// </summary>
public sealed partial class ApplicationDatabase : IAsyncDisposable
{
    private readonly BuildRunnerApplicationOptions _options;
    private readonly WriteAddressSource _addresses;
    private readonly ILogger<ApplicationDatabase> _logger;
    private readonly Lock _swapping = new();

    /// <summary>Places in a pool that both share: commits that wait for a copy take none from reads, nor slow reads from writes.</summary>
    private readonly SemaphoreSlim _writing;
    private readonly SemaphoreSlim _reading;
    private Pool? _write;
    private Pool? _read;
    private bool _disposed;

    public ApplicationDatabase(BuildRunnerApplicationOptions options, WriteAddressSource addresses, ILogger<ApplicationDatabase> logger)
    {
        _options = options;
        (_writing, _reading) = (new(options.ConnectionsMax), new(options.ConnectionsMax));
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
        if (!await _writing.WaitAsync(_options.ConnectTimeout, cancel))
            throw new NpgsqlException($"All {_options.ConnectionsMax} connections to write are in use.", new TimeoutException());
        try
        {
            while (true)
            {
                var pool = Volatile.Read(ref _write);
                if (pool is null || pool.Epoch != epoch)
                    throw new WritesClosedException(epoch, _addresses.Current);
                try
                {
                    var connection = await pool.Source.OpenConnectionAsync(cancel);
                    connection.StateChange += Free;
                    return connection;
                }
                catch (ObjectDisposedException) when (!ReferenceEquals(pool, Volatile.Read(ref _write))) { }
            }
        }
        catch
        {
            _writing.Release();
            throw;
        }

        void Free(object sender, StateChangeEventArgs change)
        {
            if (change.CurrentState != ConnectionState.Closed)
                return;
            ((NpgsqlConnection)sender).StateChange -= Free;
            _writing.Release();
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
            if (!await _reading.WaitAsync(_options.ConnectTimeout, cancel))
                throw new NpgsqlException($"All {_options.ConnectionsMax} connections to read are in use.", new TimeoutException());
            try
            {
                await using var connection = await pool.Source.OpenConnectionAsync(cancel);
                return await read(connection, cancel);
            }
            catch (Exception error) when (!cancel.IsCancellationRequested && IsBroken(error))
            {
                last = error;
                if (IsLost(error))
                    pool.Source.Clear(); // those opened with it are likely dead too
            }
            finally { _reading.Release(); }
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

    /// <summary>
    /// Opens connections to this host's copy ahead of need, a quarter of what the pool may hold, so that the first requests do not wait for them. None to
    /// a primary elsewhere: whoever writes from here has them, and each costs it a process.
    /// </summary>
    public async Task<int> WarmAsync(CancellationToken cancel)
    {
        if (Volatile.Read(ref _read) is not { } pool)
            return 0;
        var opening = Enumerable.Range(0, Math.Max(1, _options.ConnectionsMax / 4)).Select(async _ => await pool.Source.OpenConnectionAsync(cancel)).ToArray();
        try { return (await Task.WhenAll(opening)).Length; }
        finally
        {
            foreach (var connection in opening.Where(task => task.IsCompletedSuccessfully))
                await connection.Result.DisposeAsync();
        }
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

        foreach (var source in Sources(write, read))
            await source.DisposeAsync();
    }

    /// <summary>The connection, not the statement: nothing was answered, or the server is going down.</summary>
    internal static bool IsBroken(Exception error) => error switch
    {
        PostgresException { SqlState: var state } => state.StartsWith("57P", StringComparison.Ordinal) || state.StartsWith("08", StringComparison.Ordinal) || state is "40001" or "53300",
        NpgsqlException => true,
        ObjectDisposedException or TimeoutException or IOException => true,
        _ => false,
    };

    /// <summary>The server ended or went away: not that it is slow, or that every connection is in use.</summary>
    private static bool IsLost(Exception error) => error switch
    {
        PostgresException { SqlState: var state } => state.StartsWith("57P", StringComparison.Ordinal),
        NpgsqlException { InnerException: IOException or System.Net.Sockets.SocketException } => true,
        _ => false,
    };

    private void Swap(WriteAddress address)
    {
        lock (_swapping)
        {
            if (_disposed)
                return;
            var (write, read) = (_write, _read);
            var password = Password(address);
            var identity = string.Join('\0', address.DatabaseName, address.User, password);
            Volatile.Write(ref _read, address.Read is { } copy ? Take(copy, null, read, write) : null);
            Volatile.Write(ref _write, address is { Open: true, Write: { } primary, Epoch: { } epoch } ? Take(primary, epoch, _read, write?.Epoch == epoch ? write : null) : null);

            foreach (var former in new[] { write, read }.OfType<Pool>())
            {
                if (Sources(_write, _read).Contains(former.Source))
                    continue;
                LogReplaced(former.Endpoint, former.Epoch);
                former.Source.Dispose(); // a second time does nothing
            }

            Pool Take(DatabaseEndpoint endpoint, long? epoch, params ReadOnlySpan<Pool?> open)
            {
                foreach (var pool in open)
                {
                    if (pool?.Leads(endpoint, identity) == true)
                        return new Pool(endpoint, epoch, identity, pool.Source);
                }
                return new Pool(endpoint, epoch, identity, Make(address, endpoint, password));
            }
        }
    }

    private static IEnumerable<NpgsqlDataSource> Sources(params Pool?[] pools) => pools.OfType<Pool>().Select(p => p.Source).Distinct();

    private string Password(WriteAddress address)
    {
        try { return address.PasswordFile.Length == 0 ? "" : File.ReadAllText(address.PasswordFile).Trim(); }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            LogNoPassword(address.PasswordFile, error.Message);
            return "";
        }
    }

    private NpgsqlDataSource Make(WriteAddress address, DatabaseEndpoint endpoint, string password)
    {
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
        settings.MaxPoolSize = endpoint == address.Read ? 2 * _options.ConnectionsMax : _options.ConnectionsMax; // reads, and writes once it is the primary
        settings.Timeout = Math.Max(1, (int)_options.ConnectTimeout.TotalSeconds);
        settings.CommandTimeout = Math.Max(1, (int)_options.CommandTimeout.TotalSeconds);

        // A wait for replication that is cancelled ends in success (FAILOVER.md 4): never cancel, and let no setting of a role hide the warning.
        settings.CancellationTimeout = -1;
        settings.Options = "-c client_min_messages=warning";
        return builder.Build();
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Connections to {Endpoint} (epoch {Epoch}) are replaced")]
    private partial void LogReplaced(DatabaseEndpoint endpoint, long? epoch);

    [LoggerMessage(Level = LogLevel.Error, Message = "The database's password cannot be read from {Path}: {Reason}")]
    private partial void LogNoPassword(string path, string reason);

    private sealed class Pool(DatabaseEndpoint endpoint, long? epoch, string identity, NpgsqlDataSource source)
    {
        public DatabaseEndpoint Endpoint => endpoint;

        /// <summary>Null for the copy that is read from: an epoch means nothing there.</summary>
        public long? Epoch => epoch;
        public NpgsqlDataSource Source => source;

        public bool Leads(DatabaseEndpoint to, string by) => endpoint == to && identity == by;
    }
}

/// <summary>Writes are not open on this host at the epoch that was asked for; nothing was sent.</summary>
public sealed class WritesClosedException(long epoch, WriteAddress address)
    : Exception($"Writes are not open here at epoch {epoch} (this host knows epoch {address.Epoch?.ToString(CultureInfo.InvariantCulture) ?? "none"}, {(address.Open ? "open" : "closed")}).");

/// <summary>No copy of the database answers a read.</summary>
public sealed class DatabaseUnreachableException(string message, Exception? inner) : Exception(message, inner);
