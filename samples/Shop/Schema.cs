using BuildRunner.Application;
using Npgsql;

namespace Shop;

/// <summary>
/// Makes the tables and the 100,000 products, once, on the primary: whichever api or worker instance of the primary's region comes first, under an
/// advisory lock. Every other instance waits until they have arrived at its copy.
/// </summary>
internal sealed partial class Schema(ShopOptions options, WriteAddressSource addresses, ApplicationDatabase database, Writes writes, TimeProvider time, ILogger<Schema> logger)
    : BackgroundService
{
    public const int ProductsMax = 100_000;

    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(50);

    private volatile string? _missing = "the tables have not been looked for yet";

    /// <summary>Null when the tables are here; otherwise why they are not.</summary>
    public string? Missing => _missing;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(s_interval, time);
        try
        {
            do
            {
                try { await RunOnceAsync(stoppingToken); }
                catch (Exception error) when (!stoppingToken.IsCancellationRequested) { _missing = error.Message; } // the next pass is the retry
            }
            while (_missing is not null && await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) { }
    }

    /// <summary>Looks for the tables and makes them if that is this instance's business.</summary>
    public async Task RunOnceAsync(CancellationToken cancel)
    {
        var address = addresses.Current;
        if (address.Epoch is null)
            _missing = "the agent has not said where the database is";
        else if (await database.ReadAsync(IsThereAsync, cancel))
            _missing = null;
        else if (address.IsPrimaryHere && options.Service is "api" or "worker")
            _missing = await MakeAsync(cancel);
        else
            _missing = "the tables have not arrived at this copy yet";
    }

    private async Task<string?> MakeAsync(CancellationToken cancel)
    {
        var start = time.GetTimestamp();
        var outcome = await writes.RunAsync(epoch: null, async (connection, token) =>
        {
            await using var wait = new NpgsqlCommand("SELECT pg_advisory_xact_lock(5823119041)", connection);
            await wait.ExecuteNonQueryAsync(token);
            if (await IsThereAsync(connection, token)) // another instance was first
                return false;

            await using var extension = new NpgsqlCommand("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm')", connection);
            var trigrams = await extension.ExecuteScalarAsync(token) is true;
            await using var make = new NpgsqlCommand(SchemaSql.Tables + SchemaSql.Products + (trigrams ? SchemaSql.Trigrams : "") + SchemaSql.Done, connection);
            await make.ExecuteNonQueryAsync(token);
            return true;
        }, cancel);

        switch (outcome)
        {
            case WriteOutcome<bool>.Committed done:
                var taken = time.GetElapsedTime(start);
                if (done.Value)
                    LogMade(ProductsMax, taken);
                return null;
            case WriteOutcome<bool>.Refused refused:
                return refused.Reason;
            default:
                return "the tables are being made"; // unknown: the next pass looks
        }
    }

    private static async Task<bool> IsThereAsync(NpgsqlConnection connection, CancellationToken cancel)
    {
        await using var command = new NpgsqlCommand("SELECT to_regclass('shop_schema') IS NOT NULL", connection);
        return await command.ExecuteScalarAsync(cancel) is true;
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Made the tables and {Products} products in {Taken}")]
    private partial void LogMade(int products, TimeSpan taken);
}
