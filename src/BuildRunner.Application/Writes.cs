using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace BuildRunner.Application;

/// <summary>
/// The commit helper (FAILOVER.md 4): a transaction on the request's epoch or none. Its commit takes no cancellation token, and a commit
/// whose end is not certain is said to be unknown, never a success and never a failure.
/// </summary>
public sealed partial class Writes(ApplicationDatabase database, WriteAddressSource addresses, BuildRunnerApplicationOptions options, TimeProvider time, ILogger<Writes> logger)
{
    /// <summary>A pooled connection may have died unseen: nothing was sent on it, so a few are tried.</summary>
    private const int ConnectionsTried = 3;

    /// <summary>Runs work for a request, at the epoch under which the gateway dispatched it.</summary>
    public Task<WriteOutcome<T>> RunAsync<T>(HttpContext context, Func<NpgsqlConnection, CancellationToken, Task<T>> work) =>
        RunAsync(context.Features.Get<RequestEpoch>()?.Epoch, work, context.RequestAborted);

    /// <summary>
    /// Runs work in a transaction at an epoch (null: the one this host knows) and commits it; the transaction is open already, and work
    /// neither begins nor ends one. Work that throws is rolled back, and the exception is the caller's. Work that finds its effect done already must lock what it found (FOR UPDATE), so that the
    /// commit waits until that, too, is confirmed.
    /// </summary>
    public async Task<WriteOutcome<T>> RunAsync<T>(long? epoch, Func<NpgsqlConnection, CancellationToken, Task<T>> work, CancellationToken cancel)
    {
        var address = addresses.Current;
        if (address is not { Open: true, Epoch: { } known })
            return new WriteOutcome<T>.Refused($"Writes are closed on this host (epoch {Name(address.Epoch)}).");
        if (epoch is { } asked && asked != known)
            return new WriteOutcome<T>.Refused($"The request is of epoch {asked}; this host is at epoch {known}.");

        var unconfirmed = false;
        void Listen(object sender, NpgsqlNoticeEventArgs notice)
        {
            // Routine, not SQLSTATE: a cancelled wait warns with 01000, a terminated one with 57P01; both committed here and perhaps nowhere else.
            if (notice.Notice.Routine == "SyncRepWaitForLSN")
                unconfirmed = true;
        }

        var (connection, refusal) = await BeginAsync(known, cancel);
        if (connection is null)
            return new WriteOutcome<T>.Refused(refusal!);
        var owned = true;
        connection.Notice += Listen;
        try
        {
            var value = await work(connection, cancel);
            var transaction = await TransactionIdAsync(connection, cancel);
            var commit = CommitAsync(connection);
            try { await commit.WaitAsync(options.CommandTimeout, time, CancellationToken.None); }
            catch (TimeoutException) when (!commit.IsCompleted)
            {
                owned = false;
                _ = LeaveAsync(commit, connection);
                return Unknown<T>(known, transaction, $"not answered within {options.CommandTimeout.TotalSeconds:0.#} s");
            }
            catch (PostgresException error) when (IsSurelyRolledBack(error)) { throw; }
            catch (Exception error) { return Unknown<T>(known, transaction, $"not answered: {error.Message}"); }
            return unconfirmed
                ? Unknown<T>(known, transaction, "done on the primary, but its wait for replication was cut short")
                : new WriteOutcome<T>.Committed(value, known, transaction);
        }
        finally
        {
            if (owned)
            {
                connection.Notice -= Listen;
                await connection.DisposeAsync(); // rolls back what was not committed
            }
        }
    }

    /// <summary>
    /// Neither a token nor a timeout of Npgsql's: both send a cancel request, and a cancelled wait for replication shows the write to
    /// everyone before any standby holds it. Our own patience ends outside, and leaves the wait alone.
    /// </summary>
    private static async Task CommitAsync(NpgsqlConnection connection)
    {
        await using var command = new NpgsqlCommand("COMMIT", connection) { CommandTimeout = 0 };
        await command.ExecuteNonQueryAsync(CancellationToken.None);
    }

    /// <summary>A commit that nobody waits for any more keeps its connection until it ends; the pool's size bounds their number.</summary>
    private static async Task LeaveAsync(Task commit, NpgsqlConnection connection)
    {
        await commit.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await connection.DisposeAsync();
    }

    private WriteOutcome<T>.Unknown Unknown<T>(long epoch, uint? transaction, string reason)
    {
        LogUnknown(epoch, transaction, reason);
        return new($"The commit at epoch {epoch} was sent; it was {reason}.");
    }

    /// <summary>A connection with a transaction that was seen to run at the epoch; or why there is none.</summary>
    private async Task<(NpgsqlConnection? Connection, string? Refusal)> BeginAsync(long epoch, CancellationToken cancel)
    {
        for (var tried = 1; ; tried++)
        {
            NpgsqlConnection? connection = null;
            try
            {
                connection = await database.OpenPrimaryAsync(epoch, cancel);
                if (await RefusalAsync(connection, epoch, cancel) is not { } refusal)
                    return (connection, null);
                await connection.DisposeAsync();
                return (null, refusal);
            }
            catch (WritesClosedException closed) { return (null, closed.Message); }
            catch (Exception error)
            {
                if (connection is not null)
                    await connection.DisposeAsync();
                if (tried == ConnectionsTried || connection is null || cancel.IsCancellationRequested || !ApplicationDatabase.IsBroken(error))
                    throw;
                database.ForgetIdle();
            }
        }
    }

    /// <summary>The marker names the timeline that this connection reached, whatever a file says; it shares BEGIN's round trip.</summary>
    private static async Task<string?> RefusalAsync(NpgsqlConnection connection, long epoch, CancellationToken cancel)
    {
        await using var batch = new NpgsqlBatch(connection)
        {
            BatchCommands =
            {
                new("BEGIN"),
                new("SELECT max(epoch), pg_is_in_recovery(), current_setting('synchronous_commit') FROM buildrunner.epoch"),
            },
        };
        await using var reader = await batch.ExecuteReaderAsync(cancel);
        await reader.ReadAsync(cancel);
        long? marker = await reader.IsDBNullAsync(0, cancel) ? null : reader.GetInt64(0);
        if (reader.GetBoolean(1))
            return $"The database at {connection.Host}:{connection.Port} is a standby; epoch {epoch} cannot be written there.";
        if (marker != epoch)
            return $"The database is at epoch {Name(marker)}; the request is of epoch {epoch}.";
        // Such a session is answered before any standby has the write; no fence covers it.
        var setting = reader.GetString(2);
        return setting is "off" or "local"
            ? $"The database's user commits with synchronous_commit={setting}, which nothing confirms: set it to on."
            : null;
    }

    /// <summary>Also fails when the work swallowed an error: a COMMIT there would roll back and still look like success.</summary>
    private static async Task<uint?> TransactionIdAsync(NpgsqlConnection connection, CancellationToken cancel)
    {
        await using var command = new NpgsqlCommand("SELECT pg_current_xact_id_if_assigned()::xid::text", connection);
        return await command.ExecuteScalarAsync(cancel) is string text ? uint.Parse(text, CultureInfo.InvariantCulture) : null;
    }

    /// <summary>Constraints and serialisation are checked before anything is committed; all else might come after.</summary>
    private static bool IsSurelyRolledBack(PostgresException error) =>
        error.InvariantSeverity == "ERROR" && (error.SqlState.StartsWith("23", StringComparison.Ordinal) || error.SqlState is "40001" or "40P01" or "40002");

    private static string Name(long? epoch) => epoch?.ToString(CultureInfo.InvariantCulture) ?? "unknown";

    [LoggerMessage(Level = LogLevel.Warning, Message = "A commit's outcome is unknown (epoch {Epoch}, transaction {Transaction}): {Reason}")]
    private partial void LogUnknown(long epoch, uint? transaction, string reason);
}
