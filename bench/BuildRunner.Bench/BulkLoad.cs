using System.Diagnostics;
using Npgsql;

namespace BuildRunner.Bench;

/// <summary>
/// Four clients that load rows straight into PostgreSQL, each in one transaction after the other of about 100 ms; who loses the line looks for the
/// server that takes writes.
/// </summary>
internal sealed class BulkLoad : IAsyncDisposable
{
    public const int Clients = 4;
    public static readonly TimeSpan TransactionTime = TimeSpan.FromMilliseconds(100);

    private const string Make = "create table if not exists bulk (id bigint generated always as identity, client int not null, filler text not null)";
    private const string Insert = "insert into bulk (client, filler) select $1, repeat('x', 200) from generate_series(1, 50)";
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    private readonly NpgsqlMultiHostDataSource _databases;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _running;
    private int _transactions;
    private long _longest;

    private BulkLoad(NpgsqlMultiHostDataSource databases)
    {
        _databases = databases;
        _running = Task.WhenAll(Enumerable.Range(1, Clients).Select(client => Task.Run(() => RunAsync(client))));
    }

    public int Transactions => _transactions;
    public TimeSpan Longest => Stopwatch.GetElapsedTime(0, _longest);

    public static async Task<BulkLoad> StartAsync(NpgsqlMultiHostDataSource databases, CancellationToken cancel)
    {
        await using var connection = await databases.OpenConnectionAsync(TargetSessionAttributes.ReadWrite, cancel);
        foreach (var sql in new[] { Make, "truncate bulk" })
        {
            await using var command = new NpgsqlCommand(sql, connection);
            await command.ExecuteNonQueryAsync(cancel);
        }
        return new(databases);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running;
        _stop.Dispose();
    }

    private async Task RunAsync(int client)
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                await using var connection = await _databases.OpenConnectionAsync(TargetSessionAttributes.ReadWrite, CancellationToken.None);
                while (!_stop.IsCancellationRequested)
                    await TransactionAsync(connection, client);
            }
            catch (Exception error) when (error is NpgsqlException or TimeoutException or IOException)
            {
                await Task.Delay(Pause);
            }
        }
    }

    private async Task TransactionAsync(NpgsqlConnection connection, int client)
    {
        var begun = Stopwatch.GetTimestamp();
        await using var transaction = await connection.BeginTransactionAsync(CancellationToken.None);
        do
        {
            await using var insert = new NpgsqlCommand(Insert, connection, transaction) { Parameters = { new() { Value = client } } };
            await insert.ExecuteNonQueryAsync(CancellationToken.None);
        }
        while (Stopwatch.GetElapsedTime(begun) < TransactionTime);
        await transaction.CommitAsync(CancellationToken.None);
        Interlocked.Increment(ref _transactions);
        var took = Stopwatch.GetTimestamp() - begun;
        for (var longest = Volatile.Read(ref _longest); took > longest && Interlocked.CompareExchange(ref _longest, took, longest) != longest; longest = Volatile.Read(ref _longest)) { }
    }
}
