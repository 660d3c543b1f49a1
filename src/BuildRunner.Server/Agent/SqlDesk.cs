using System.Diagnostics;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using Npgsql;
using NpgsqlTypes;

namespace BuildRunner.Server.Agent;

/// <summary>
/// Runs one statement of a runbook on this host's primary, as the role that it names and with no more rights than that has: connected as the role itself,
/// so that there is nothing to reset. Bounds: two at a time, five minutes, a hundred rows.
/// </summary>
internal sealed class SqlDesk(AgentOptions options, PostgresDriver driver, AssignmentBook book, AgentStateFile state) : IDisposable
{
    private const int AtOnceMax = 2;
    private static readonly System.Buffers.SearchValues<char> OfRole = System.Buffers.SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789_-");
    private readonly SemaphoreSlim _places = new(AtOnceMax);

    public async Task<SqlResult> RunAsync(SqlOrder order, CancellationToken cancel)
    {
        if (order.TimeoutMs <= 0 || order.TimeoutMs > SqlOrders.TimeoutMax.TotalMilliseconds || order.RowsMax is < 0 or > SqlOrders.RowsMax || order.Parameters.Count > SqlOrders.ParametersMax)
            throw new OrderRefusedException($"The statement asks for more than is allowed: at most {SqlOrders.TimeoutMax.TotalMinutes:0} minutes, {SqlOrders.RowsMax} rows and {SqlOrders.ParametersMax} parameters.");
        if (state.Current.PrimaryEpoch is null || book.Current?.Database is not { } assignment)
            throw new OrderRefusedException($"{options.Region} is not the primary, and statements of runbooks run there only.");
        if (order.Role.Length == 0 || order.Role.AsSpan().ContainsAnyExcept(OfRole) || order.Role == "replication")
            throw new OrderRefusedException($"'{order.Role}' is no role for runbooks.");
        if (!SqlText.IsOne(order.Statement))
            throw new OrderRefusedException("It is more than one statement.");
        if (!await _places.WaitAsync(TimeSpan.FromMilliseconds(order.TimeoutMs), cancel))
            throw new InvalidOperationException($"{AtOnceMax} statements run here already, and none has ended in time.");
        try { return await ExecuteAsync(order, assignment, cancel); }
        finally { _places.Release(); }
    }

    public void Dispose() => _places.Dispose();

    private async Task<SqlResult> ExecuteAsync(SqlOrder order, DatabaseAssignment assignment, CancellationToken cancel)
    {
        var started = Stopwatch.GetTimestamp();
        await using var source = new NpgsqlSlimDataSourceBuilder(Connection(order.Role, assignment)).ConfigureTypeLoading(types => types.EnableTypeLoading(false)).Build();
        await using var connection = await source.OpenConnectionAsync(cancel);
        await DoAsync(connection, order.ReadOnly ? "begin read only" : "begin", cancel);
        await DoAsync(connection, string.Create(CultureInfo.InvariantCulture, $"set local statement_timeout = {order.TimeoutMs}"), cancel);
        var result = await AskAsync(connection, order, cancel);
        // A commit has no timeout: one that was cut off while it waited for a copy would be neither done nor undone.
        await DoAsync(connection, "set local statement_timeout = 0", cancel);
        await DoAsync(connection, "commit", CancellationToken.None);
        return result with { Milliseconds = Stopwatch.GetElapsedTime(started).TotalMilliseconds };
    }

    private string Connection(string role, DatabaseAssignment assignment) => new NpgsqlConnectionStringBuilder
    {
        Host = options.Host,
        Port = options.DatabasePort,
        Username = role,
        Password = driver.Secret(role == assignment.User ? "app" : role),
        Database = assignment.DatabaseName,
        Pooling = false,
        Timeout = 3,
        CommandTimeout = 0,
        CancellationTimeout = -1,
        ApplicationName = "buildrunner-runbook",
    }.ConnectionString;

    private static async Task DoAsync(NpgsqlConnection connection, string statement, CancellationToken cancel)
    {
        await using var command = new NpgsqlCommand(statement, connection);
        await command.ExecuteNonQueryAsync(cancel);
    }

    private static async Task<SqlResult> AskAsync(NpgsqlConnection connection, SqlOrder order, CancellationToken cancel)
    {
        await using var command = new NpgsqlCommand(order.Statement, connection) { AllResultTypesAreUnknown = true };
        // Positional and of unknown type: PostgreSQL itself says what each is, and takes one statement only.
        foreach (var value in order.Parameters)
            command.Parameters.Add(new NpgsqlParameter { Value = value, NpgsqlDbType = NpgsqlDbType.Unknown });
        await using var reader = await command.ExecuteReaderAsync(cancel);
        var columns = Enumerable.Range(0, Math.Min(reader.FieldCount, SqlOrders.ColumnsMax)).Select(reader.GetName).ToList();
        var rows = new List<IReadOnlyList<string?>>();
        var (cut, left) = (reader.FieldCount > SqlOrders.ColumnsMax, SqlOrders.TextMax);
        while (await reader.ReadAsync(cancel))
        {
            if (rows.Count == order.RowsMax || left <= 0)
            {
                cut = true;
                break;
            }
            var row = new List<string?>();
            for (var i = 0; i < columns.Count; i++)
            {
                var value = await reader.IsDBNullAsync(i, cancel) ? null : reader.GetString(i);
                var kept = value is null ? null : value[..Math.Min(value.Length, Math.Min(SqlOrders.ValueMax, Math.Max(0, left)))];
                cut |= kept?.Length < value?.Length;
                left -= kept?.Length ?? 0;
                row.Add(kept);
            }
            rows.Add(row);
        }
        await reader.CloseAsync();
        return new SqlResult(reader.RecordsAffected, columns, rows, cut, 0);
    }
}
