using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Hosting;
using Npgsql;

namespace BuildRunner.Server.Agent.Patroni;

/// <summary>What is asked of PostgreSQL by SQL where Patroni drives it: at the region's entry point, at another region's, and at single members.</summary>
internal sealed class PatroniSql(AgentOptions options, INetwork network)
{
    private static readonly TimeSpan AnswerMax = TimeSpan.FromSeconds(1.5);
    private static readonly TimeSpan FarMax = TimeSpan.FromSeconds(5);
    private (string Database, string Secret, PostgresSql Sql)? _kept;

    /// <summary>The same as long as database and password are, and so the reader's connection too.</summary>
    public PostgresSql At(DatabaseAssignment assignment)
    {
        var secret = Secret();
        if (_kept is not { } kept || kept.Database != assignment.DatabaseName || kept.Secret != secret)
            _kept = kept = (assignment.DatabaseName, secret, PostgresSql.Primary(options.Host, options.DatabasePort, secret, assignment.DatabaseName));
        return kept.Sql;
    }

    private string Secret() => File.ReadAllText(Path.Combine(options.SecretsFolder ?? throw new InvalidOperationException("The agent has no folder of secrets (--secrets)."), "replication")).Trim();

    /// <summary>Asks a member's PostgreSQL itself; null: it says that it is a copy. A connection that is refused says nothing: a firewall refuses too.</summary>
    public async Task<string?> WhyNotSilentAsync(DatabaseAssignment assignment, MemberNote member, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(AnswerMax);
        var at = network.Map(member.Host, member.Port);
        try { return await PostgresSql.Primary(at.Host, at.Port, Secret(), assignment.DatabaseName).ScalarAsync<bool>("select pg_is_in_recovery()", limit.Token) ? null : $"its PostgreSQL at {member.Host}:{member.Port} is a primary"; }
        catch (Exception error) when (error is NpgsqlException or TimeoutException || (error is OperationCanceledException && !cancel.IsCancellationRequested)) { return $"its PostgreSQL at {member.Host}:{member.Port} does not say what it is ({ErrorClause.Of(error)})"; }
    }

    /// <summary>Name and address of each copy that streams from here and holds everything up to a position, members of this cluster among them: names are unique only within a cluster.</summary>
    public async Task<string[]> StreamingAsync(DatabaseAssignment assignment, Lsn holding, CancellationToken cancel) => (await At(assignment).ScalarAsync<string>(
        $"select coalesce(string_agg(application_name || ' at ' || coalesce(host(client_addr), 'its socket'), chr(10)), '') from pg_stat_replication where state = 'streaming' and flush_lsn >= '{holding}' and application_name not in ('pg_basebackup', 'pg_receivewal', 'pg_rewind')", cancel) ?? "")
        .Split('\n', StringSplitOptions.RemoveEmptyEntries);

    public async Task<CutResult> WhereAsync(DatabaseAssignment assignment, bool effect, CancellationToken cancel)
    {
        var replayed = Lsn.Parse(await At(assignment).ScalarAsync<string>("select pg_last_wal_replay_lsn()::text", cancel) ?? "0/0");
        var timeline = await At(assignment).ScalarAsync<int?>("select timeline_id from pg_control_checkpoint()", cancel) ?? 0;
        return new CutResult(timeline, replayed, replayed, await At(assignment).ScalarAsync<long?>("select max(epoch) from buildrunner.epoch", cancel), effect);
    }

    public async Task<(int Timeline, Lsn Fork)> ForkAsync(DatabaseAssignment assignment, CancellationToken cancel)
    {
        await using var connection = await At(assignment).OpenAsync(cancel);
        var (number, history) = await PrimaryTimelineAsync(connection, cancel) ?? throw new InvalidOperationException("PostgreSQL is no primary and named no WAL file.");
        return (number, history is null ? default : TimelineHistory.Began(history) ?? default);
    }

    /// <summary>Null: the other does not say, or is no primary. It may be far: a connection takes some six ways there and back.</summary>
    public async Task<(PatroniTimeline Here, PatroniTimeline There)?> TimelinesAsync(DatabaseAssignment assignment, int here, (string Host, int Port) upstream, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(FarMax);
        try
        {
            await using var far = await PostgresSql.Primary(upstream.Host, upstream.Port, Secret(), assignment.DatabaseName).OpenAsync(limit.Token);
            if (here == 0 || await PrimaryTimelineAsync(far, limit.Token) is not { } there)
                return null;
            await using var near = await At(assignment).OpenAsync(limit.Token);
            return (new(here, await HistoryAsync(near, here, limit.Token)), there);
        }
        catch (Exception error) when (error is NpgsqlException or TimeoutException || (error is OperationCanceledException && !cancel.IsCancellationRequested)) { return null; }
    }

    /// <summary>Null: it is no primary.</summary>
    private static async Task<PatroniTimeline?> PrimaryTimelineAsync(NpgsqlConnection connection, CancellationToken cancel)
    {
        if (await connection.ScalarAsync<string>("select case when not pg_is_in_recovery() then pg_walfile_name(pg_current_wal_insert_lsn()) end", cancel) is not { } name)
            return null;
        var number = TimelineHistory.NumberOf(name);
        return new(number, await HistoryAsync(connection, number, cancel));
    }

    /// <summary>Null: it may not be read, which keeps nobody from writing.</summary>
    private static async Task<string?> HistoryAsync(NpgsqlConnection connection, int timeline, CancellationToken cancel)
    {
        try { return timeline == 1 ? "" : await connection.ScalarAsync<string>($"select convert_from(pg_read_binary_file('pg_wal/{TimelineHistory.FileName(timeline)}'), 'UTF8')", cancel); }
        catch (PostgresException error) when (error.SqlState == PostgresErrorCodes.InsufficientPrivilege) { return null; }
    }

    /// <summary>The epoch's first transaction.</summary>
    public Task WriteMarkerAsync(DatabaseAssignment assignment, long epoch, string? run, CancellationToken cancel) => At(assignment).ExecuteAsync(string.Create(CultureInfo.InvariantCulture,
        $"insert into buildrunner.epoch (epoch, run, region) values ({epoch}, {(run is null ? "null" : PostgresSql.Quote(run))}, {PostgresSql.Quote(options.Region)}) on conflict (epoch) do nothing"), cancel);
}
