using System.Diagnostics;
using BuildRunner.Dev;
using BuildRunner.Tests.Checking;
using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>
/// Writes straight to one region's PostgreSQL, past gateways and applications, one write after the other: a unique row and a counter in one
/// statement. A copy refuses, which is a `fail`; whatever was sent and not answered is unknown.
/// </summary>
internal sealed class DirectClient : IAsyncDisposable
{
    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(40);
    private static readonly TimeSpan Away = TimeSpan.FromMilliseconds(300);
    private const string Marker = "select epoch, region from buildrunner.epoch order by epoch desc limit 1";
    private const string Write = $"""
        with c as (update counter set n = n + 1 returning n), i as (insert into direct (id) select $1 from c)
        select n, pg_current_xact_id()::text, m.epoch, m.region from c, ({Marker}) m
        """;
    private const int MarkerLooksMax = 100;
    private readonly string _connection;
    private readonly string _name;
    private readonly string _region;
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Operation> _operations = [];
    private readonly Task _running;

    public DirectClient(DevLayout layout, DevRegion region, string password)
    {
        (_name, _region) = ($"direct/{region.Code}", region.Code);
        _connection = Connection(layout, region, password);
        _running = Task.Run(RunAsync);
    }

    /// <summary>No cancellation is ever sent: PostgreSQL would answer success for a commit that waits.</summary>
    public static string Connection(DevLayout layout, DevRegion region, string password) =>
        $"Host={region.Host};Port={layout.Database};Database=shop;Username=app;Password={password};Pooling=false;Timeout=3;Command Timeout=6;Cancellation Timeout=-1";

    /// <summary>The tables that the clients write to.</summary>
    public static async Task MakeTablesAsync(DevLayout layout, DevRegion primary, string password, CancellationToken cancel)
    {
        await using var connection = new NpgsqlConnection(Connection(layout, primary, password));
        await connection.OpenAsync(cancel);
        await using var make = new NpgsqlCommand("create table if not exists direct (id uuid primary key); create table if not exists counter (n bigint not null); insert into counter select 0 where not exists (select from counter)", connection);
        await make.ExecuteNonQueryAsync(cancel);
    }

    public async Task<IReadOnlyList<Operation>> StopAsync()
    {
        await _stop.CancelAsync();
        await _running;
        return _operations;
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                await using var connection = new NpgsqlConnection(_connection);
                await connection.OpenAsync(CancellationToken.None);
                var cancelled = false;
                connection.Notice += (_, notice) => cancelled |= notice.Notice.SqlState == "01000";
                while (!_stop.IsCancellationRequested && await OnceAsync(connection, () => cancelled))
                    await Task.Delay(Pace, CancellationToken.None);
            }
            catch (Exception error) when (error is NpgsqlException or TimeoutException or IOException) { } // nobody there: nothing was sent
            await Task.Delay(Away, CancellationToken.None);
        }
    }

    /// <summary>False: the line is of no more use.</summary>
    private async Task<bool> OnceAsync(NpgsqlConnection connection, Func<bool> cancelled)
    {
        var id = Guid.NewGuid();
        var begun = Stopwatch.GetTimestamp();
        try
        {
            await using var command = new NpgsqlCommand(Write, connection) { Parameters = { new() { Value = id } } };
            await using var row = await command.ExecuteReaderAsync(CancellationToken.None);
            await row.ReadAsync(CancellationToken.None);
            var (number, transaction, epoch, marked) = (row.GetInt64(0), (uint)ulong.Parse(row.GetString(1), CultureInfo.InvariantCulture), row.GetInt64(2), row.GetString(3));
            await row.NextResultAsync(CancellationToken.None); // the commit's end, and what was said of it
            var completed = Stopwatch.GetTimestamp();
            await row.CloseAsync();
            var operation = new Operation(_name, id, begun, completed, cancelled() ? OrderOutcomeKind.Unknown : OrderOutcomeKind.Ok) { Number = number, Transaction = transaction };
            _operations.Add(operation with { Epoch = marked == _region ? epoch : await OwnEpochAsync(connection) });
            return true;
        }
        catch (PostgresException refused) when (refused.SqlState == PostgresErrorCodes.ReadOnlySqlTransaction)
        {
            _operations.Add(new(_name, id, begun, Stopwatch.GetTimestamp(), OrderOutcomeKind.Fail));
            return false; // a copy: looked at again a moment later
        }
        catch (Exception error) when (error is NpgsqlException or TimeoutException or IOException)
        {
            _operations.Add(new(_name, id, begun, Stopwatch.GetTimestamp(), OrderOutcomeKind.Unknown));
            return false;
        }
    }

    /// <summary>
    /// A session that was open on a copy may write between its promotion and its marker, some milliseconds later: the newest marker that it saw is another
    /// region's then, and its write belongs to the epoch whose marker comes. Null: it did not come while the line held.
    /// </summary>
    private async Task<long?> OwnEpochAsync(NpgsqlConnection connection)
    {
        try
        {
            for (var look = 0; look < MarkerLooksMax; look++)
            {
                await using var command = new NpgsqlCommand(Marker, connection);
                await using var row = await command.ExecuteReaderAsync(CancellationToken.None);
                if (await row.ReadAsync(CancellationToken.None) && row.GetString(1) == _region)
                    return row.GetInt64(0);
                await Task.Delay(Pace / 2, CancellationToken.None);
            }
        }
        catch (Exception error) when (error is NpgsqlException or TimeoutException or IOException) { } // it is known no better
        return null;
    }
}
