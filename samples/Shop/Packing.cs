using BuildRunner.Application;
using Npgsql;

namespace Shop;

/// <summary>
/// Takes orders from the queue and marks them packed, a batch a transaction; only where writes go to its own region. An unknown commit needs
/// nothing: the queue row and the mark are one transaction, so the next pass finds either both or neither.
/// </summary>
internal sealed partial class Packing(WriteAddressSource addresses, ApplicationDatabase database, Writes writes, Schema schema, TimeProvider time, ILogger<Packing> logger)
    : BackgroundService
{
    public const int BatchMax = 20;

    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(100);

    public void Map(IEndpointRouteBuilder app)
    {
        RequestDelegate queue = QueueAsync;
        app.MapGet("/metrics/queue", queue);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(s_interval, time);
        var failing = false;
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                try
                {
                    while (await RunOnceAsync(stoppingToken) == BatchMax) { }
                    failing = false;
                }
                catch (Exception error) when (!stoppingToken.IsCancellationRequested) // the next pass is the retry
                {
                    if (!failing)
                        LogPassFailed(error.Message);
                    failing = true;
                }
            }
        }
        catch (OperationCanceledException) { }
    }

    /// <summary>Packs one batch; how many orders that were, as far as is known.</summary>
    public async Task<int> RunOnceAsync(CancellationToken cancel)
    {
        if (!addresses.Current.IsPrimaryHere || schema.Missing is not null)
            return 0;
        var outcome = await writes.RunAsync(epoch: null, async (connection, token) =>
        {
            await using var pack = new NpgsqlCommand(
                """
                WITH taken AS (DELETE FROM packing_queue WHERE order_id IN
                                  (SELECT order_id FROM packing_queue ORDER BY queued_at LIMIT @batch FOR UPDATE SKIP LOCKED) RETURNING order_id)
                UPDATE orders SET status = 'packed', packed_at = clock_timestamp() FROM taken WHERE orders.id = taken.order_id
                """, connection);
            pack.Parameters.Add(new NpgsqlParameter<int>("batch", BatchMax));
            return await pack.ExecuteNonQueryAsync(token);
        }, cancel);
        return outcome is WriteOutcome<int>.Committed packed ? packed.Value : 0;
    }

    private async Task QueueAsync(HttpContext context)
    {
        long? depth;
        try
        {
            depth = await database.ReadAsync<long?>(async (connection, cancel) =>
            {
                await using var command = new NpgsqlCommand("SELECT count(*) FROM packing_queue", connection);
                return await command.ExecuteScalarAsync(cancel) as long?;
            }, context.RequestAborted);
        }
        catch (Exception error) when (error is DatabaseUnreachableException or NpgsqlException) { depth = null; }

        context.Response.Headers.CacheControl = "no-store";
        await context.Response.WriteAsJsonAsync(new QueueReading(depth), MetricsJson.Default.QueueReading);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Packing fails, and is tried again ten times a second: {Reason}")]
    private partial void LogPassFailed(string reason);
}
