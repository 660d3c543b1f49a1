using Npgsql;

namespace BuildRunner.Server.Agent;

/// <summary>Short statements to a PostgreSQL, each on a connection of its own with a limit: a hung server costs a second, not the agent.</summary>
internal sealed class PostgresSql(string connection)
{
    /// <summary>Plain types only: the others cost time at every start, and reading a server's own would cost a query a connection.</summary>
    private readonly NpgsqlDataSource _source = new NpgsqlSlimDataSourceBuilder(connection).ConfigureTypeLoading(types => types.EnableTypeLoading(false)).Build();

    public static PostgresSql Local(string permitFolder, int port, string database, int timeoutSeconds = 5, string application = "buildrunner-agent", bool unconfirmed = false) => new(new NpgsqlConnectionStringBuilder
    {
        Host = permitFolder,
        Port = port,
        Username = "postgres",
        Database = database,
        Pooling = false,
        Timeout = Math.Min(timeoutSeconds, 2),
        CommandTimeout = timeoutSeconds,
        CancellationTimeout = -1,
        ApplicationName = application,
        // Nobody but this disk confirms: for what is written before there is anyone who could.
        Options = unconfirmed ? "-c synchronous_commit=local -c default_transaction_read_only=off" : null,
    }.ConnectionString);

    public static PostgresSql Primary(string host, int port, string password, string database) => new(new NpgsqlConnectionStringBuilder
    {
        Host = host,
        Port = port,
        Username = "br_replication",
        Password = password,
        Database = database,
        Pooling = false,
        Timeout = 3,
        CommandTimeout = 30,
        CancellationTimeout = -1,
        ApplicationName = "buildrunner-agent",
    }.ConnectionString);

    public ValueTask<NpgsqlConnection> OpenAsync(CancellationToken cancel) => _source.OpenConnectionAsync(cancel);

    public async Task ExecuteAsync(string sql, CancellationToken cancel)
    {
        await using var open = await OpenAsync(cancel);
        await open.ExecuteAsync(sql, cancel);
    }

    /// <summary>First column of the first row; null when there is none.</summary>
    public async Task<T?> ScalarAsync<T>(string sql, CancellationToken cancel)
    {
        await using var open = await OpenAsync(cancel);
        return await open.ScalarAsync<T>(sql, cancel);
    }

    public static string Quote(string text) => $"'{text.Replace("'", "''", StringComparison.Ordinal)}'";

    public static string Name(string name) => $"\"{name.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
}

/// <summary>Statements on a connection that is open already.</summary>
internal static class PostgresStatements
{
    public static async Task ExecuteAsync(this NpgsqlConnection connection, string sql, CancellationToken cancel)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(cancel);
    }

    /// <summary>First column of the first row; null when there is none.</summary>
    public static async Task<T?> ScalarAsync<T>(this NpgsqlConnection connection, string sql, CancellationToken cancel)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync(cancel) is T value ? value : default;
    }
}
