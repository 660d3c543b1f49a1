using BuildRunner.Application;
using BuildRunner.Client.Databases;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;

namespace BuildRunner.Tests.Application;

/// <summary>The commit helper against real servers: what is acknowledged, refused and unknown.</summary>
public sealed class WritesTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Fact(Timeout = 60_000)]
    public async Task Run_SameEpoch_CommitsWithItsTransaction()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var place = await Place.MakeAsync(postgres, epoch: 3);

        var outcome = await place.Writes.RunAsync(3, Place.InsertAsync, cancel);

        var committed = Assert.IsType<WriteOutcome<int>.Committed>(outcome);
        Assert.Equal((1, 3L), (committed.Value, committed.Epoch));
        Assert.NotNull(committed.Transaction);
        Assert.Equal(1, await place.CountAsync());
    }

    [Theory(Timeout = 60_000)]
    [InlineData(2, 3, 3)] // the request is older than the host
    [InlineData(5, 4, 4)] // newer
    [InlineData(3, 3, 4)] // the file is behind the database's marker
    [InlineData(3, 3, 2)] // the file is ahead of it
    public async Task Run_AnotherEpoch_IsRefusedAndWritesNothing(long asked, long file, long marker)
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var place = await Place.MakeAsync(postgres, epoch: marker, file);

        Assert.IsType<WriteOutcome<int>.Refused>(await place.Writes.RunAsync(asked, Place.InsertAsync, cancel));
        Assert.Equal(0, await place.CountAsync());
    }

    [Theory(Timeout = 60_000)]
    [InlineData("off")]
    [InlineData("local")]
    public async Task Run_RoleThatNothingConfirms_IsRefused(string setting)
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var place = await Place.MakeAsync(postgres, epoch: 1, synchronousCommit: setting);

        var refused = Assert.IsType<WriteOutcome<int>.Refused>(await place.Writes.RunAsync(1, Place.InsertAsync, cancel));
        Assert.Contains("synchronous_commit", refused.Reason, StringComparison.Ordinal);
    }

    [Fact(Timeout = 60_000)]
    public async Task Run_WorkThrows_IsRolledBackAndTheCallersException()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var place = await Place.MakeAsync(postgres, epoch: 1);

        await Assert.ThrowsAsync<InvalidOperationException>(() => place.Writes.RunAsync<int>(1, async (connection, token) =>
        {
            await Place.InsertAsync(connection, token);
            throw new InvalidOperationException("no");
        }, cancel));
        Assert.Equal(0, await place.CountAsync());
    }

    [Fact(Timeout = 60_000)]
    public async Task Run_WorkSwallowsAnError_IsNoSuccess()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var place = await Place.MakeAsync(postgres, epoch: 1);

        await Assert.ThrowsAsync<PostgresException>(() => place.Writes.RunAsync(1, async (connection, token) =>
        {
            await Place.InsertAsync(connection, token);
            try { await new NpgsqlCommand("SELECT 1/0", connection).ExecuteScalarAsync(token); }
            catch (PostgresException) { }
            return 1;
        }, cancel));
        Assert.Equal(0, await place.CountAsync());
    }

    [Fact(Timeout = 60_000)]
    public async Task Run_DeferredConstraintFailsAtCommit_IsSurelyNotDone()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var place = await Place.MakeAsync(postgres, epoch: 1);
        await postgres.Server.ExecuteAsync("ALTER TABLE t ADD CONSTRAINT one UNIQUE (n) DEFERRABLE INITIALLY DEFERRED; INSERT INTO t VALUES (1)", place.Database);

        var error = await Assert.ThrowsAsync<PostgresException>(() => place.Writes.RunAsync(1, Place.InsertAsync, cancel));
        Assert.Equal(PostgresErrorCodes.UniqueViolation, error.SqlState);
        Assert.Equal(1, await place.CountAsync());
    }

    [Fact(Timeout = 60_000)]
    public async Task Run_PooledConnectionsWereKilled_UsesAFreshOne()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var place = await Place.MakeAsync(postgres, epoch: 1);
        await place.Writes.RunAsync(1, Place.InsertAsync, cancel);
        await postgres.Server.ExecuteAsync($"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{place.Database}'");

        Assert.IsType<WriteOutcome<int>.Committed>(await place.Writes.RunAsync(1, Place.InsertAsync, cancel));
        Assert.Equal(2, await place.CountAsync());
    }

    /// <summary>The three ways in which a commit that waits for a standby ends without one: cancelled, terminated, and out of patience.</summary>
    [Theory(Timeout = 60_000)]
    [InlineData("pg_cancel_backend")]
    [InlineData("pg_terminate_backend")]
    [InlineData(null)]
    public async Task Run_WaitForReplicationIsCutShort_IsUnknown(string? how)
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var server = await PostgresServer.StartAsync("synchronous_standby_names=nobody", "synchronous_commit=local");
        await using var place = await Place.MakeAsync(server, "postgres", epoch: 1, file: 1, commandTimeout: how is null ? 1 : 20, synchronousCommit: "on");

        var writing = place.Writes.RunAsync(1, Place.InsertAsync, cancel);
        const string Waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        await Eventually.TrueAsync(async () => await server.ScalarAsync<long>($"SELECT count(*) {Waiting}") == 1, "the commit waits for a standby", cancel);
        Assert.False(writing.IsCompleted);
        if (how is not null)
            await server.ExecuteAsync($"SELECT {how}(pid) {Waiting}");

        Assert.IsType<WriteOutcome<int>.Unknown>(await writing);
        if (how is null) // our own timeout must not have cancelled the wait
            Assert.Equal(1, await server.ScalarAsync<long>($"SELECT count(*) {Waiting}"));
        else
            Assert.Equal(1, await place.CountAsync());
    }

    /// <summary>One pool for both where the copy is the primary: its places are not.</summary>
    [Fact(Timeout = 60_000)]
    public async Task Run_CommitsWaitOnEveryConnectionThatWrites_ReadsGoOn()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var server = await PostgresServer.StartAsync("synchronous_standby_names=nobody", "synchronous_commit=local");
        await using var place = await Place.MakeAsync(server, "postgres", epoch: 1, file: 1, commandTimeout: 1, synchronousCommit: "on", connectionsMax: 2);

        var writing = Enumerable.Range(0, 2).Select(_ => place.Writes.RunAsync(1, Place.InsertAsync, cancel)).ToList();
        foreach (var write in writing)
            Assert.IsType<WriteOutcome<int>.Unknown>(await write);
        await Assert.ThrowsAsync<NpgsqlException>(() => place.Writes.RunAsync(1, Place.InsertAsync, cancel)); // both still wait
        for (var read = 0; read < 3; read++)
            Assert.Equal(0, await place.ReadCountAsync(cancel));
    }

    [Fact(Timeout = 60_000)]
    public async Task Run_TheOnlyConnectionBreaksAgainAndAgain_ItsPlaceIsFreeAgain()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var place = await Place.MakeAsync(postgres.Server, await postgres.CreateDatabaseAsync(), epoch: 1, file: 1, connectionsMax: 1);
        for (var i = 0; i < 3; i++)
        {
            await Assert.ThrowsAnyAsync<NpgsqlException>(() => place.Writes.RunAsync<int>(1, async (connection, token) =>
            {
                await using var command = new NpgsqlCommand("SELECT pg_terminate_backend(pg_backend_pid())", connection);
                return await command.ExecuteNonQueryAsync(token);
            }, cancel));
        }
        Assert.IsType<WriteOutcome<int>.Committed>(await place.Writes.RunAsync(1, Place.InsertAsync, cancel));
    }

    /// <summary>A copy's sessions outlive its promotion: the first write finds one that a read had opened.</summary>
    [Fact(Timeout = 60_000)]
    public async Task Run_CopyBecomesThePrimary_WritesOnAConnectionThatReadsOpened()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var place = await Place.MakeAsync(postgres, epoch: 2);
        place.Point(epoch: 2, open: false);
        Assert.Equal(0, await place.ReadCountAsync(cancel));
        var before = await place.SessionsAsync();
        Assert.IsType<WriteOutcome<int>.Refused>(await place.Writes.RunAsync(2, Place.InsertAsync, cancel));
        place.Point(epoch: 2, open: true);

        Assert.IsType<WriteOutcome<int>.Committed>(await place.Writes.RunAsync(2, Place.InsertAsync, cancel));
        Assert.Equal(before, await place.SessionsAsync());
    }

    [Fact(Timeout = 60_000)]
    public async Task Run_CallerGivesUpDuringCommit_CommitGoesOn()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var server = await PostgresServer.StartAsync("synchronous_standby_names=nobody", "synchronous_commit=local");
        await using var place = await Place.MakeAsync(server, "postgres", epoch: 1, file: 1, synchronousCommit: "on");
        using var caller = CancellationTokenSource.CreateLinkedTokenSource(cancel);

        var writing = place.Writes.RunAsync(1, Place.InsertAsync, caller.Token);
        await Eventually.TrueAsync(async () => await server.ScalarAsync<long>("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == 1, "the commit waits", cancel);
        await caller.CancelAsync();
        Assert.False(writing.IsCompleted);
        await server.ExecuteAsync("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");

        Assert.IsType<WriteOutcome<int>.Unknown>(await writing);
    }

    /// <summary>A database with an epoch, an address file, and the helper on it.</summary>
    private sealed class Place : IAsyncDisposable
    {
        private readonly TestAddress _file = new();
        private PostgresServer _server = null!;
        private WriteAddressSource _addresses = null!;
        private ApplicationDatabase _connections = null!;

        public string Database { get; private set; } = "";
        public Writes Writes { get; private set; } = null!;

        public static async Task<Place> MakeAsync(PostgresFixture postgres, long epoch, long? file = null, string? synchronousCommit = null) =>
            await MakeAsync(postgres.Server, await postgres.CreateDatabaseAsync(), epoch, file ?? epoch, synchronousCommit: synchronousCommit);

        public static async Task<Place> MakeAsync(PostgresServer server, string database, long epoch, long file, int commandTimeout = 10, string? synchronousCommit = null, int connectionsMax = 16)
        {
            await TestAddress.MarkAsync(server, database, epoch);
            await server.ExecuteAsync("CREATE TABLE t (n int)", database);
            if (synchronousCommit is not null) // before any session is opened: those that are keep what they began with
                await server.ExecuteAsync($"ALTER DATABASE {database} SET synchronous_commit = {synchronousCommit}");
            var place = new Place { _server = server, Database = database };
            place._file.Write(TestAddress.At(server, server, file, database));
            var options = new BuildRunnerApplicationOptions { AddressFile = place._file.Path, CommandTimeout = TimeSpan.FromSeconds(commandTimeout), ConnectionsMax = connectionsMax };
            place._addresses = new WriteAddressSource(options, TimeProvider.System, NullLogger<WriteAddressSource>.Instance);
            place._connections = new ApplicationDatabase(options, place._addresses, NullLogger<ApplicationDatabase>.Instance);
            place.Writes = new Writes(place._connections, place._addresses, options, TimeProvider.System, NullLogger<Writes>.Instance);
            return place;
        }

        public static async Task<int> InsertAsync(NpgsqlConnection connection, CancellationToken cancel)
        {
            await using var command = new NpgsqlCommand("INSERT INTO t VALUES (1)", connection);
            return await command.ExecuteNonQueryAsync(cancel);
        }

        /// <summary>The agent's next address.</summary>
        public void Point(long epoch, bool open)
        {
            _file.Write(TestAddress.At(_server, _server, epoch, Database) with { Open = open });
            _addresses.Refresh();
        }

        public Task<long> ReadCountAsync(CancellationToken cancel) => _connections.ReadAsync(async (connection, token) =>
        {
            await using var command = new NpgsqlCommand("SELECT count(*) FROM t", connection);
            return (long)(await command.ExecuteScalarAsync(token))!;
        }, cancel);

        /// <summary>Numbers of the processes that serve the application.</summary>
        public Task<string> SessionsAsync() => _server.ScalarAsync<string>($"SELECT coalesce(string_agg(pid::text, ',' ORDER BY pid), '') FROM pg_stat_activity WHERE datname = '{Database}' AND application_name = 'buildrunner-application'");

        public Task<long> CountAsync() => _server.ScalarAsync<long>("SELECT count(*) FROM t", Database);

        public async ValueTask DisposeAsync()
        {
            await _connections.DisposeAsync();
            _addresses.Dispose();
            _file.Dispose();
        }
    }
}
