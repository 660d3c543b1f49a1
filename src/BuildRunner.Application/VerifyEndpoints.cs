using System.Diagnostics;
using Microsoft.AspNetCore.Http;
using Npgsql;

namespace BuildRunner.Application;

/// <summary>
/// The endpoints by which a run proves, through a gateway, that an application writes, reads and is warm. Table `buildrunner_verify`, in
/// the database user's own schema, keeps the newest <see cref="RowsKept"/> rows.
/// </summary>
internal sealed class VerifyEndpoints(ApplicationDatabase database, Writes writes, IEnumerable<Warmer> warmers)
{
    internal const int RowsKept = 1000;

    private static readonly TimeSpan WarmLimit = TimeSpan.FromSeconds(2);

    public async Task WriteAsync(HttpContext context)
    {
        var id = Guid.CreateVersion7();
        var epoch = context.Features.Get<RequestEpoch>()?.Epoch;
        WriteOutcome<int> outcome;
        try
        {
            outcome = await writes.RunAsync(context, async (connection, cancel) =>
            {
                await MakeTableAsync(connection, cancel);
                await using var command = new NpgsqlCommand(
                    """
                    WITH old AS (DELETE FROM buildrunner_verify WHERE at < (SELECT at FROM buildrunner_verify ORDER BY at DESC OFFSET @kept LIMIT 1))
                    INSERT INTO buildrunner_verify (id, epoch) VALUES (@id, @epoch)
                    """, connection);
                command.Parameters.Add(new NpgsqlParameter<int>("kept", RowsKept - 2));
                command.Parameters.Add(new NpgsqlParameter<Guid>("id", id));
                command.Parameters.Add(new NpgsqlParameter<long>("epoch", epoch ?? 0));
                return await command.ExecuteNonQueryAsync(cancel);
            });
        }
        catch (Exception error) when (error is NpgsqlException)
        {
            await Unreachable(error.Message).ExecuteAsync(context);
            return;
        }

        await outcome.Answer(_ => Results.Json(new VerifyDocument(epoch, id.ToString()), ApplicationJson.Default.VerifyDocument, statusCode: StatusCodes.Status201Created)).ExecuteAsync(context);
    }

    public async Task ReadAsync(HttpContext context)
    {
        if (!Guid.TryParse(context.Request.Query["id"], out var id))
        {
            await Problem.Of(StatusCodes.Status400BadRequest, "application.verify-id", "`id` is the id that POST /br/verify answered.").ExecuteAsync(context);
            return;
        }

        try
        {
            // The copy first; a row that has not come there yet is looked for where it was written.
            var (epoch, from) = (await database.ReadAsync((connection, cancel) => FindAsync(connection, id, cancel), context.RequestAborted), "copy");
            if (epoch is null && context.Features.Get<RequestEpoch>()?.Epoch is { } current)
            {
                await using var primary = await database.OpenPrimaryAsync(current, context.RequestAborted);
                (epoch, from) = (await FindAsync(primary, id, context.RequestAborted), "primary");
            }

            context.Response.Headers.CacheControl = "no-store";
            await (epoch is { } found
                ? Results.Json(new VerifyDocument(found, id.ToString(), from), ApplicationJson.Default.VerifyDocument)
                : (IResult)NotFound(id)).ExecuteAsync(context);
        }
        catch (WritesClosedException) { await NotFound(id).ExecuteAsync(context); }
        catch (Exception error) when (error is DatabaseUnreachableException or NpgsqlException) { await Unreachable(error.Message).ExecuteAsync(context); }
    }

    /// <summary>Opens connections and runs the application's warmers side by side; a warmer that fails is named and fails nothing else.</summary>
    public async Task WarmAsync(HttpContext context)
    {
        var start = Stopwatch.GetTimestamp();
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        limit.CancelAfter(WarmLimit);
        var failures = new List<string>();
        var connections = 0;
        async Task RunAsync(string name, Func<Task> warm)
        {
            try { await warm(); }
            catch (Exception error)
            {
                lock (failures)
                    failures.Add($"{name}: {error.Message}");
            }
        }

        var all = warmers.ToArray();
        await RunAsync("connections", async () => connections = await database.WarmAsync(limit.Token));
        await Task.WhenAll(all.Select(warmer => RunAsync(warmer.Name, () => warmer.Warm(limit.Token))));

        context.Response.StatusCode = failures.Count == 0 ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable;
        context.Response.Headers.CacheControl = "no-store";
        await context.Response.WriteAsJsonAsync(new WarmDocument(all.Length, connections, Stopwatch.GetElapsedTime(start).TotalMilliseconds, failures), ApplicationJson.Default.WarmDocument);
    }

    private static async Task MakeTableAsync(NpgsqlConnection connection, CancellationToken cancel)
    {
        await using var look = new NpgsqlCommand("SELECT to_regclass('buildrunner_verify') IS NOT NULL", connection);
        if (await look.ExecuteScalarAsync(cancel) is true)
            return;
        await using var make = new NpgsqlCommand(
            """
            SELECT pg_advisory_xact_lock(6822541130217);
            CREATE TABLE IF NOT EXISTS buildrunner_verify (id uuid PRIMARY KEY, epoch bigint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
            CREATE INDEX IF NOT EXISTS buildrunner_verify_at ON buildrunner_verify (at);
            """, connection);
        await make.ExecuteNonQueryAsync(cancel);
    }

    private static async Task<long?> FindAsync(NpgsqlConnection connection, Guid id, CancellationToken cancel)
    {
        await using var command = new NpgsqlCommand("SELECT epoch FROM buildrunner_verify WHERE id = @id", connection);
        command.Parameters.Add(new NpgsqlParameter<Guid>("id", id));
        try { return await command.ExecuteScalarAsync(cancel) is long epoch ? epoch : null; }
        catch (PostgresException missing) when (missing.SqlState == PostgresErrorCodes.UndefinedTable) { return null; }
    }

    private static Problem NotFound(Guid id) => Problem.Of(StatusCodes.Status404NotFound, "application.verify-not-found", $"No verification row {id}.");

    private static Problem Unreachable(string reason) =>
        Problem.Of(StatusCodes.Status503ServiceUnavailable, "application.database-unreachable", $"The database does not answer: {reason}");
}
