using System.Diagnostics;
using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Bench;

/// <summary>The 20 ms writer over SQL: a pool of connections, one row in one statement, and new connections after any error.</summary>
internal static class SqlWriter
{
    private const string Insert = "insert into orders (id, product_id, quantity) values ($1, 1, 1) returning host(inet_server_addr())";

    public static PacedWriter Start(NpgsqlDataSource source, string target, TimeSpan interval, int inFlightMax) =>
        PacedWriter.Start(target, interval, inFlightMax, id => WriteAsync(source, id));

    private static async Task<OrderRecord> WriteAsync(NpgsqlDataSource source, Guid id)
    {
        var invoked = Stopwatch.GetTimestamp();
        var sent = false;
        try
        {
            await using var connection = await source.OpenConnectionAsync(CancellationToken.None);
            await using var command = new NpgsqlCommand(Insert, connection) { Parameters = { new() { Value = id } } };
            sent = true;
            var host = (string?)await command.ExecuteScalarAsync(CancellationToken.None);
            return new(id, invoked, Stopwatch.GetTimestamp(), OrderOutcomeKind.Ok, null, host, null, null);
        }
        catch (Exception error) when (error is NpgsqlException or TimeoutException or IOException)
        {
            source.Clear();
            var refused = !sent || error is PostgresException { SqlState: PostgresErrorCodes.ReadOnlySqlTransaction };
            return new(id, invoked, Stopwatch.GetTimestamp(), refused ? OrderOutcomeKind.Fail : OrderOutcomeKind.Unknown, null, null, null, error.Message);
        }
    }
}
