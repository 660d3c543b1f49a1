using Npgsql;

namespace BuildRunner.Server.Agent;

/// <summary>
/// A connection to this host's PostgreSQL that is opened ahead of need: to open one takes several milliseconds, and during a move writes wait
/// for each of them. One is kept, for a minute at most; whoever finds none, or a dead one, opens its own.
/// </summary>
internal sealed class ReadySession(PostgresDriver driver, string application, int timeoutSeconds) : IAsyncDisposable
{
    private static readonly TimeSpan KeptMax = TimeSpan.FromMinutes(1);

    private readonly Lock _gate = new();
    private Kept? _kept;

    private sealed record Kept(string Database, NpgsqlConnection Connection, CancellationTokenSource Expiry);

    /// <summary>Opens the connection that the next <see cref="TakeAsync"/> gets.</summary>
    public async Task OpenAsync(string database, CancellationToken cancel) => Keep(database, await driver.Local(database, timeoutSeconds, application).OpenAsync(cancel));

    /// <summary>A connection that answers; it is the caller's to dispose, or to give back by <see cref="Keep"/>.</summary>
    public async Task<NpgsqlConnection> TakeAsync(string database, CancellationToken cancel)
    {
        if (Exchange(null) is { } kept)
        {
            await kept.Expiry.CancelAsync();
            kept.Expiry.Dispose();
            if (kept.Database == database && await AnswersAsync(kept.Connection, cancel))
                return kept.Connection;
            await kept.Connection.DisposeAsync();
        }
        return await driver.Local(database, timeoutSeconds, application).OpenAsync(cancel);
    }

    /// <summary>Keeps a connection for the next one; what was kept before is closed.</summary>
    public void Keep(string database, NpgsqlConnection connection)
    {
        var kept = new Kept(database, connection, new CancellationTokenSource(KeptMax));
        var before = Exchange(kept);
        kept.Expiry.Token.Register(() => Drop(Exchange(null, kept)));
        Drop(before);
    }

    public async ValueTask DisposeAsync()
    {
        if (Exchange(null) is { } kept)
        {
            kept.Expiry.Dispose();
            await kept.Connection.DisposeAsync();
        }
    }

    /// <summary>Puts another in its place, when what is kept is what was expected; what was kept, when it was exchanged.</summary>
    private Kept? Exchange(Kept? next, Kept? expected = null)
    {
        lock (_gate)
        {
            if (expected is not null && _kept != expected)
                return null;
            var before = _kept;
            _kept = next;
            return before;
        }
    }

    private static void Drop(Kept? kept)
    {
        if (kept is null)
            return;
        kept.Expiry.Dispose();
        kept.Connection.Dispose();
    }

    private static async Task<bool> AnswersAsync(NpgsqlConnection connection, CancellationToken cancel)
    {
        try
        {
            await using var command = new NpgsqlCommand("select 1", connection);
            return await command.ExecuteScalarAsync(cancel) is 1;
        }
        catch (Exception error) when (error is NpgsqlException or InvalidOperationException or TimeoutException && !cancel.IsCancellationRequested) { return false; }
    }
}
