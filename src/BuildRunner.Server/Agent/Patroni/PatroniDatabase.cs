using System.Diagnostics;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace BuildRunner.Server.Agent.Patroni;

/// <summary>
/// The driver for a region whose PostgreSQL is a Patroni cluster: Patroni starts, stops and promotes, and this tells it by its dynamic configuration whether
/// the region is a standby cluster. Positions and markers are read by SQL at the region's entry point (--host, --database-port), which leads to the
/// cluster's leader, as the role `br_replication`.
/// </summary>
internal sealed partial class PatroniDatabase(
    AgentOptions options, AgentStateFile state, AssignmentBook book, PatroniApi api, PatroniFence fence, AddressWriter address, INetwork network, TimeProvider time,
    ILogger<PatroniDatabase> logger) : IDatabaseDriver, IAsyncDisposable
{
    private const string Manager = "Patroni";

    private const string TakeWrites = """{"standby_cluster":null}""";
    private const int CheckpointMaxSeconds = 300;

    /// <summary>Just under what runs wait for the orders, so that what is late is said by whom it waits for.</summary>
    private static readonly TimeSpan ChangeMax = TimeSpan.FromSeconds(9);
    private static readonly TimeSpan ReadMax = TimeSpan.FromSeconds(1.5);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(50);

    private readonly SemaphoreSlim _gate = new(1, 1);
    private readonly PostgresReader _reader = new(time);
    private readonly Damper _failures = new(time);
    private readonly PatroniSql _sql = new(options, network);
    private DatabaseReading? _last;
    private DatabaseState? _activity;
    private string? _decided;
    private CancellationTokenSource? _order;
    private int _orders;

    public DatabaseReading? Last => Volatile.Read(ref _last);

    public string? StartAsk { get; private set; }

    /// <summary>Something changed that the server waits for.</summary>
    public event Action? Changed;

    public async ValueTask DisposeAsync()
    {
        await _reader.DisposeAsync();
        _gate.Dispose();
    }

    /// <summary>One look, one step; while an order is carried out only a look.</summary>
    public async Task ReconcileAsync(CancellationToken cancel)
    {
        if (book.Current?.Database is not { Patroni: { } addresses } assignment)
            return;
        address.Write();
        var cluster = await api.ReadAsync(addresses, cancel);
        if (cluster is not null && PatroniMembers.Remember(state.Current.Members, cluster, time.GetUtcNow()) is var members && !ReferenceEquals(members, state.Current.Members))
            state.Change(s => s with { Members = members });
        var reading = await ReadAsync(assignment, cancel);
        var facts = new PatroniFacts(cluster, reading, fence.Current?.Epoch, Upstream(assignment)) { Confirmed = StartAsk is { } ask && assignment.ConfirmedAsk == ask };
        if (PatroniPlanner.NeedsTimelines(assignment, state.Current, facts))
            facts = facts with { Timelines = await _sql.TimelinesAsync(assignment, Math.Max(reading!.Timeline ?? 0, state.Current.Stale ?? 0), facts.Upstream!.Value, cancel) };
        var step = PatroniPlanner.Decide(assignment, state.Current, facts);
        if (step is not (PatroniStep.Ask or PatroniStep.Restore))
            StartAsk = null;
        Volatile.Write(ref _last, Reading(assignment, cluster, reading, book.Refusal ?? step.Reason));
        if (Volatile.Read(ref _orders) > 0 || book.Refusal is not null || !await _gate.WaitAsync(TimeSpan.Zero, cancel))
            return;
        try
        {
            // What was decided on may have been overtaken by an order since.
            if (fence.Current?.Epoch != facts.Fenced || !ReferenceEquals(book.Current?.Database, assignment))
                return;
            if (step.Reason != _decided)
                LogStep(logger, step.GetType().Name, step.Reason);
            _decided = step.Reason;
            await TakeAsync(step, assignment, cluster, cancel);
        }
        catch (Exception error) when (error is NpgsqlException or TimeoutException or InvalidOperationException or IOException)
        {
            if (_failures.Lets(ErrorClause.Of(error)))
                LogNotDone(logger, ErrorClause.Of(error)); // the next pass tries again
        }
        finally { _gate.Release(); }
        address.Write();
    }

    /// <summary>
    /// Demotes. In a planned move it comes back only when every copy that streamed from here holds all that was ever written here: a demoted leader goes on
    /// serving its WAL. When they do not come, the run takes it back and this region goes on as the next epoch.
    /// </summary>
    public Task<FenceResult> FenceAsync(FenceOrder order, CancellationToken cancel)
    {
        var arrived = Stopwatch.GetTimestamp();
        return AloneAsync(DatabaseState.Fenced, token => FenceAsync(order, arrived, token), cancel, urgent: true);
    }

    private async Task<FenceResult> FenceAsync(FenceOrder order, long arrived, CancellationToken token)
    {
        var before = fence.Current is { } last && last.Epoch >= order.Epoch ? last : null;
        // Kept before Patroni is told: whoever comes back to this knows that it was we who demoted, and for whom it was to wait.
        if (before is null && ((await ClusterAsync(token)).Upstream is null || state.Current.Demotion?.Epoch != order.Epoch))
        {
            var streaming = order.EndKnown ? await _sql.StreamingAsync(Assignment, default, token) : null;
            state.Change(s => s with { Demotion = new(order.Epoch, streaming) });
        }
        var copies = !order.EndKnown ? [] : (state.Current.Demotion is { } demotion && demotion.Epoch == order.Epoch ? demotion.Copies : null)
            ?? throw new InvalidOperationException($"{options.Region} was demoted at epoch {order.Epoch} by an order that did not note which copies streamed from it: whether they hold all of it is not known.");
        var (evidence, end) = await DemoteAsync(token);
        // A run that has given up may have opened the epoch again, and one that is fenced takes no writes any more.
        if (before is null && Stopwatch.GetElapsedTime(arrived) > ChangeMax)
            throw new TimeoutException($"{options.Region} was demoted only after {Stopwatch.GetElapsedTime(arrived).TotalSeconds:0.0} s, for which no run waits: it gave no proof.");
        var written = before ?? fence.Write(order.Epoch, order.Run, evidence, time.GetUtcNow());
        if (before is null)
            LogDemoted(logger, order.Epoch, evidence);
        address.Write();
        if (copies.Count > 0)
            await HeldAsync(copies, end.Replayed, token);
        return new FenceResult(Proof(written), before is null, end.Replayed);
    }

    public Task<CutResult> CutAsync(CutOrder order, CancellationToken cancel) => AloneAsync(DatabaseState.Standby, async token =>
    {
        var cluster = await ClusterAsync(token);
        if (cluster.Upstream is null)
            throw new InvalidOperationException($"The cluster in {options.Region} is no standby cluster: there is nothing to cut off.");
        var effect = state.Current.CutEpoch is not { } before || before < order.Epoch;
        state.Change(s => s with { CutEpoch = Math.Max(s.CutEpoch ?? 0, order.Epoch), CutRun = order.Run, RefusedEpoch = Math.Max(s.RefusedEpoch ?? 0, order.Epoch), RefusedRun = order.Run, Following = null });
        var timeline = await _sql.At(Assignment).ScalarAsync<int?>("select received_tli from pg_stat_wal_receiver", token);
        if (cluster.Upstream.Host is not null)
            await api.ChangeAsync(Leader(cluster), cluster.Receiving(null), token);
        return await EndAsync(timeline, effect, token);
    }, cancel);

    public Task<CutResult> UncutAsync(CutOrder order, CancellationToken cancel) => AloneAsync(DatabaseState.Standby, async token =>
    {
        var effect = state.LiftCut(order.Run); // the next pass sets whom to follow
        try { return await _sql.WhereAsync(Assignment, effect, token); }
        catch (Exception error) when (error is NpgsqlException or TimeoutException) { return new CutResult(0, default, default, null, effect); }
    }, cancel);

    public Task<CutResult> CatchUpAsync(CatchUpOrder order, CancellationToken cancel) =>
        throw new InvalidOperationException($"{options.Region} runs under Patroni and takes nothing from another copy than its primary.");

    public Task<PromoteResult> PromoteAsync(PromoteOrder order, CancellationToken cancel) => AloneAsync(DatabaseState.Promoting, async token =>
    {
        Require(order.Epoch, "promote");
        var cluster = await ClusterAsync(token);
        if (cluster.Upstream is null && state.Current.Promoting != order.Epoch && state.Current.PrimaryEpoch != order.Epoch)
            throw new InvalidOperationException($"The cluster in {options.Region} is no standby cluster: it takes writes already, at epoch {state.Current.PrimaryEpoch?.ToString(CultureInfo.InvariantCulture) ?? "unknown"}.");
        state.Change(s => s with { Promoting = order.Epoch });
        return await BecomePrimaryAsync(cluster, order, counts: true, token);
    }, cancel);

    /// <summary>A demoted primary that nobody replaced goes on at the next epoch.</summary>
    public Task<PromoteResult> RestartAsync(PromoteOrder order, CancellationToken cancel) => AloneAsync(DatabaseState.Starting, async token =>
    {
        Require(order.Epoch, "start");
        if (state.Current.PrimaryEpoch is null)
            throw new InvalidOperationException($"{options.Region} holds no demoted primary to take writes again.");
        return await BecomePrimaryAsync(await ClusterAsync(token), order, counts: false, token);
    }, cancel);

    public async Task<InspectResult> InspectAsync(SwitchOrder order, CancellationToken cancel)
    {
        await using var connection = await _sql.At(Assignment).OpenAsync(cancel);
        return await SwitchoverDesk.InspectAsync(connection, cancel);
    }

    public async Task<PrepareResult> PrepareAsync(SwitchOrder order, CancellationToken cancel)
    {
        await using var connection = await _sql.At(Assignment).OpenAsync(cancel);
        var found = await SwitchoverDesk.InspectAsync(connection, cancel);
        var started = Stopwatch.GetTimestamp();
        for (var checkpoint = 0; checkpoint < 2; checkpoint++)
        {
            await using var command = new NpgsqlCommand("checkpoint", connection) { CommandTimeout = CheckpointMaxSeconds };
            await command.ExecuteNonQueryAsync(cancel);
        }
        var took = Stopwatch.GetElapsedTime(started);
        var ended = order.CutOlderMs is { } limit && !found.InRecovery ? await SwitchoverDesk.EndOlderAsync(connection, limit, cancel) : 0;
        return new PrepareResult(took.TotalMilliseconds, ended, ended > 0 ? await SwitchoverDesk.InspectAsync(connection, cancel) : found);
    }

    /// <summary>
    /// Patroni owns whom commits wait for, so none is held back: this is where it stands while the gateways hold the writes, for the copies to reach before the
    /// demotion. What is written past the gateways meanwhile is seen to by the fence.
    /// </summary>
    public async Task<SealResult> SealAsync(SwitchOrder order, CancellationToken cancel)
    {
        var started = Stopwatch.GetTimestamp();
        if (state.Current.PrimaryEpoch != order.Epoch || fence.Current?.Epoch >= order.Epoch)
            throw new OrderRefusedException($"{options.Region} is not the primary of epoch {order.Epoch} (it is that of {state.Current.PrimaryEpoch?.ToString(CultureInfo.InvariantCulture) ?? "none"}) and seals nothing.");
        await AskUnlistedAsync(await ClusterAsync(cancel), cancel); // what could not be demoted is said before writes wait long
        var at = Lsn.Parse(await _sql.At(Assignment).ScalarAsync<string>("select pg_current_wal_flush_lsn()::text", cancel) ?? "0/0");
        return new SealResult(at, (await _sql.ForkAsync(Assignment, cancel)).Timeline, false, Stopwatch.GetElapsedTime(started).TotalMilliseconds);
    }

    /// <summary>Nothing is sealed and nothing was set.</summary>
    public Task<SealResult> UnsealAsync(SwitchOrder order, CancellationToken cancel) => Task.FromResult(new SealResult(default, 0, false, 0));

    public async Task<ReachResult> ReachAsync(ReachOrder order, CancellationToken cancel)
    {
        var started = Stopwatch.GetTimestamp();
        var limit = TimeSpan.FromMilliseconds(order.LimitMs);
        using var pace = new PeriodicTimer(Look);
        while (true)
        {
            var replayed = Lsn.Parse(await _sql.At(Assignment).ScalarAsync<string>("select pg_last_wal_replay_lsn()::text", cancel) ?? "0/0");
            if (replayed >= order.Until)
                return new ReachResult(replayed, Stopwatch.GetElapsedTime(started).TotalMilliseconds);
            if (Stopwatch.GetElapsedTime(started) > limit)
                throw new InvalidOperationException($"The copy in {options.Region} has replayed only {replayed} of {order.Until} after {limit.TotalMilliseconds:F0} ms.");
            await pace.WaitForNextTickAsync(cancel);
        }
    }

    private DatabaseAssignment Assignment => book.Current?.Database ?? throw new InvalidOperationException($"{options.Region} has no database assigned.");

    private async Task TakeAsync(PatroniStep step, DatabaseAssignment assignment, PatroniCluster? cluster, CancellationToken cancel)
    {
        switch (step)
        {
            case PatroniStep.Adopt adopt:
                if (adopt.Mark)
                    await _sql.WriteMarkerAsync(Assignment, assignment.Epoch, null, cancel);
                state.Change(s => s with { Demotion = null, Stale = null, PrimaryEpoch = assignment.Epoch, Promoting = null, CutEpoch = null, CutRun = null, Following = null });
                Changed?.Invoke();
                break;
            case PatroniStep.Silence:
                await SilenceAsync(cluster!, _last?.Timeline, cancel);
                break;
            case PatroniStep.Follow follow:
                await api.ChangeAsync(Leader(cluster!), cluster!.Receiving((follow.Host, follow.Port)), cancel);
                state.Change(s => s with { Following = follow.Region, CutEpoch = null, CutRun = null, Stale = null });
                Changed?.Invoke();
                break;
            case PatroniStep.Part:
                await TakeWritesAsync(await UntilAsync(c => c.IsDemoted, "has not demoted every member", cancel), cancel);
                await SilenceAsync(await ClusterAsync(cancel), (await _sql.ForkAsync(assignment, cancel)).Timeline, cancel);
                break;
            case PatroniStep.Ask:
                if (StartAsk is null)
                {
                    StartAsk = Guid.NewGuid().ToString("N");
                    Changed?.Invoke();
                }
                break;
            case PatroniStep.Restore:
                StartAsk = null; // what was confirmed was confirmed for this once
                await TakeWritesAsync(cluster!, cancel);
                Changed?.Invoke();
                break;
            case PatroniStep.Followed:
                state.Change(s => s with { Demotion = null, Stale = null, PrimaryEpoch = null, Promoting = null, CutEpoch = null, CutRun = null, Following = assignment.Primary });
                Changed?.Invoke();
                break;
        }
    }

    /// <summary>The timeline is kept: a demoted cluster's control file may lag behind it, and nothing else tells the number after a restart of this agent.</summary>
    private async Task SilenceAsync(PatroniCluster cluster, int? timeline, CancellationToken cancel)
    {
        state.Change(s => s with { Stale = Math.Max(s.Stale ?? 0, timeline ?? 0) });
        if (cluster.Upstream is null)
            await api.ChangeAsync(Leader(cluster), cluster.Receiving(null), cancel);
    }

    /// <summary>Runs an order alone, and tells at once what became of it.</summary>
    private async Task<T> AloneAsync<T>(DatabaseState activity, Func<CancellationToken, Task<T>> order, CancellationToken cancel, bool urgent = false)
    {
        Interlocked.Increment(ref _orders);
        try
        {
            if (urgent && Volatile.Read(ref _order) is { } before)
                await before.CancelAsync(); // nobody waits for it any more
            await _gate.WaitAsync(cancel);
            var own = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            try
            {
                Volatile.Write(ref _order, own);
                _activity = activity;
                return await order(own.Token);
            }
            catch (OperationCanceledException) when (!cancel.IsCancellationRequested) { throw new InvalidOperationException("another order went before"); }
            finally
            {
                Volatile.Write(ref _order, null);
                _activity = null;
                _gate.Release();
            }
        }
        finally
        {
            Interlocked.Decrement(ref _orders);
            Changed?.Invoke();
        }
    }

    /// <summary>No member of the cluster takes writes any more, as each of them says itself, and where its WAL ends.</summary>
    private async Task<(string Evidence, CutResult End)> DemoteAsync(CancellationToken cancel)
    {
        var cluster = await ClusterAsync(cancel);
        if (cluster.Upstream is null)
            await api.ChangeAsync(Leader(cluster), cluster.Receiving(null), cancel);
        cluster = await UntilAsync(c => c.IsDemoted, "has not demoted every member", cancel);
        await AskUnlistedAsync(cluster, cancel);
        return ($"{cluster} in {options.Region}; none takes writes", await EndAsync(null, true, cancel));
    }

    private async Task AskUnlistedAsync(PatroniCluster cluster, CancellationToken cancel)
    {
        foreach (var member in PatroniMembers.Unlisted(state.Current.Members, cluster, time.GetUtcNow()))
        {
            if (await _sql.WhyNotSilentAsync(Assignment, member, cancel) is { } why)
                throw new InvalidOperationException($"{member.Name} was a member of the cluster in {options.Region} and is listed no more, and {why}: it may go on taking writes. Start its Patroni, so that it is listed; one that is gone for good counts no more {PatroniMembers.Kept.TotalHours:0} h after it was listed last.");
        }
    }

    private async Task HeldAsync(IReadOnlyList<string> copies, Lsn end, CancellationToken cancel)
    {
        var started = Stopwatch.GetTimestamp();
        using var pace = new PeriodicTimer(Look);
        while (true)
        {
            var missing = copies.Except(await PatientlyAsync(() => _sql.StreamingAsync(Assignment, end, cancel), cancel)).ToList();
            if (missing.Count == 0)
                return;
            if (Stopwatch.GetElapsedTime(started) > ChangeMax)
                throw new TimeoutException($"{options.Region} was demoted at {end}, and {string.Join(", ", missing)} has not taken all of it within {ChangeMax.TotalSeconds:F0} s.");
            await pace.WaitForNextTickAsync(cancel);
        }
    }

    private async Task<PromoteResult> BecomePrimaryAsync(PatroniCluster cluster, PromoteOrder order, bool counts, CancellationToken cancel)
    {
        var started = Stopwatch.GetTimestamp();
        await TakeWritesAsync(cluster, cancel);
        var (timeline, fork) = await PatientlyAsync(async () =>
        {
            await _sql.WriteMarkerAsync(Assignment, order.Epoch, order.Run, cancel);
            return await _sql.ForkAsync(Assignment, cancel);
        }, cancel);
        var effect = state.Current.PrimaryEpoch != order.Epoch;
        if (effect)
            state.Change(s => s with { Demotion = null, Stale = null, PrimaryEpoch = order.Epoch, Promoting = null, CutEpoch = null, CutRun = null, Following = null, Promotions = s.Promotions + (counts ? 1 : 0) });
        address.Write();
        LogPromoted(logger, order.Epoch, timeline, fork);
        return new PromoteResult(timeline, fork, effect, Stopwatch.GetElapsedTime(started).TotalMilliseconds);
    }

    private async Task TakeWritesAsync(PatroniCluster cluster, CancellationToken cancel)
    {
        if (cluster.Upstream is not null)
            await api.ChangeAsync(Leader(cluster), TakeWrites, cancel);
        await UntilAsync(c => c.Leader is { IsPrimary: true, State: PatroniMember.Running }, "has not promoted its leader", cancel);
    }

    private async Task<PatroniCluster> ClusterAsync(CancellationToken cancel)
    {
        var cluster = await api.ReadAsync(Assignment.Patroni ?? [], cancel) ?? throw new InvalidOperationException($"Patroni in {options.Region} does not answer at {string.Join(", ", Assignment.Patroni ?? [])}.");
        return cluster.Paused ? throw new InvalidOperationException($"Patroni in {options.Region} is paused and would carry nothing out: `patronictl resume`.") : cluster;
    }

    private async Task<PatroniCluster> UntilAsync(Func<PatroniCluster, bool> condition, string late, CancellationToken cancel)
    {
        var started = Stopwatch.GetTimestamp();
        using var pace = new PeriodicTimer(Look);
        while (true)
        {
            var cluster = await ClusterAsync(cancel);
            if (condition(cluster))
                return cluster;
            if (Stopwatch.GetElapsedTime(started) > ChangeMax)
                throw new TimeoutException($"The cluster in {options.Region} {late} after {ChangeMax.TotalSeconds:F0} s: {cluster}.");
            await pace.WaitForNextTickAsync(cancel);
        }
    }

    /// <summary>The region's entry point may lead nowhere for a moment while its leader starts.</summary>
    private static async Task<T> PatientlyAsync<T>(Func<Task<T>> ask, CancellationToken cancel)
    {
        var started = Stopwatch.GetTimestamp();
        using var pace = new PeriodicTimer(Look);
        while (true)
        {
            try { return await ask(); }
            catch (NpgsqlException) when (Stopwatch.GetElapsedTime(started) < ChangeMax) { } // and again
            await pace.WaitForNextTickAsync(cancel);
        }
    }

    private PatroniMember Leader(PatroniCluster cluster) =>
        cluster.Leader ?? throw new InvalidOperationException($"The cluster in {options.Region} has no leader now: {cluster}. Nothing can be told to it until it has one.");

    private (string Host, int Port)? Upstream(DatabaseAssignment assignment) =>
        assignment.PrimaryHost is { } host ? network.Map(host, assignment.PrimaryPort) is var to ? (to.Host, to.Port) : null : null;

    /// <summary>Where replay stands once it waits for WAL that does not come: also what lay in the files of a server that was ended in an instant has been replayed by then.</summary>
    private async Task<CutResult> EndAsync(int? timeline, bool effect, CancellationToken cancel)
    {
        const string waits = """
            select not exists (select from pg_stat_wal_receiver)
                and exists (select from pg_stat_activity where backend_type = 'startup' and wait_event in ('RecoveryWalStream', 'RecoveryRetrieveRetryInterval'))
            """;
        var started = Stopwatch.GetTimestamp();
        using var pace = new PeriodicTimer(Look);
        while (true)
        {
            if (await PatientlyAsync(() => _sql.At(Assignment).ScalarAsync<bool>(waits, cancel), cancel))
                return await _sql.WhereAsync(Assignment, effect, cancel) is var end && timeline is { } known ? end with { Timeline = known } : end;
            if (Stopwatch.GetElapsedTime(started) > ChangeMax)
                throw new TimeoutException($"The copy in {options.Region} has not come to the end of its WAL after {ChangeMax.TotalSeconds:F0} s.");
            await pace.WaitForNextTickAsync(cancel);
        }
    }

    private void Require(long epoch, string what)
    {
        if (fence.Current is { } ended && ended.Epoch >= epoch)
            throw new OrderRefusedException($"{options.Region} is fenced at epoch {ended.Epoch} and does not {what} at epoch {epoch}.");
        if (state.Current.SeenEpoch > epoch)
            throw new OrderRefusedException($"{options.Region} has seen epoch {state.Current.SeenEpoch} and does not {what} at epoch {epoch}.");
    }

    private FenceProof Proof(FenceFile file) => new() { Kind = FenceProofKind.Demoted, Epoch = file.Epoch, Region = options.Region, Evidence = file.Evidence, At = file.At };

    private async Task<DatabaseReading?> ReadAsync(DatabaseAssignment assignment, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(ReadMax);
        try { return await _reader.ReadAsync(assignment.Name, _sql.At(assignment), limit.Token); }
        catch (Exception error) when (!cancel.IsCancellationRequested)
        {
            if (_failures.Lets(ErrorClause.Of(error)))
                LogUnread(logger, options.Host, options.DatabasePort, ErrorClause.Of(error));
            return null;
        }
    }

    private DatabaseReading Reading(DatabaseAssignment assignment, PatroniCluster? cluster, DatabaseReading? read, string reason)
    {
        var current = state.Current;
        var ended = fence.Current;
        // Patroni's word stands where PostgreSQL gives none; without both nothing is known.
        var reading = read ?? new DatabaseReading { Database = assignment.Name, State = DatabaseState.Unknown, Detail = cluster is null ? null : $"PostgreSQL does not answer at {options.Host}:{options.DatabasePort} as br_replication; {cluster}" };
        var shown = _activity is DatabaseState.Promoting ? DatabaseState.Promoting
            : _activity is { } activity && reading.State is DatabaseState.Unknown ? activity
            : reading.State == DatabaseState.Standby && current.PrimaryEpoch is { } own && ended?.Epoch >= own ? DatabaseState.Fenced
            : reading.State;
        return reading with
        {
            State = shown,
            Manager = Manager,
            Guarded = cluster is { Paused: false },
            Detail = reading.Detail ?? (cluster is null ? $"Patroni does not answer at {string.Join(", ", assignment.Patroni ?? [])}" : $"{reason}; {cluster}"),
            SeenEpoch = current.SeenEpoch,
            FencedEpoch = ended?.Epoch,
            CutEpoch = current.CutEpoch,
            CutRun = current.CutRun,
            RefusedEpoch = current.RefusedEpoch,
            RefusedRun = current.RefusedRun,
            Following = reading.State == DatabaseState.Standby ? current.Following : null,
            Effects = new(current.Promotions, ended?.Fences ?? 0),
        };
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Patroni: {Step}: {Reason}.")]
    private static partial void LogStep(ILogger logger, string step, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Patroni: not done, tried again: {Reason}")]
    private static partial void LogNotDone(ILogger logger, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "PostgreSQL does not answer at {Host}:{Port} as br_replication: {Reason}")]
    private static partial void LogUnread(ILogger logger, string host, int port, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "Demoted at epoch {Epoch}: {Evidence}.")]
    private static partial void LogDemoted(ILogger logger, long epoch, string evidence);

    [LoggerMessage(Level = LogLevel.Information, Message = "Promoted to epoch {Epoch}: timeline {Timeline} from {Fork}.")]
    private static partial void LogPromoted(ILogger logger, long epoch, int timeline, Lsn fork);
}
