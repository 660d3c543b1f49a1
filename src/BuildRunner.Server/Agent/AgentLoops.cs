using BuildRunner.Core.Databases;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Agent;

/// <summary>Brings the database nearer to the assignment, a step a pass.</summary>
internal sealed class DatabaseLoop : ReconcileLoop
{
    private readonly DatabaseKeeper _keeper;
    private readonly AddressWriter _address;

    public DatabaseLoop(DatabaseKeeper keeper, AddressWriter address, AssignmentBook book, TimeProvider time, ILogger<DatabaseLoop> logger)
        : base(TimeSpan.FromMilliseconds(500), time, logger)
    {
        (_keeper, _address) = (keeper, address);
        book.Changed += Wake;
        keeper.Changed += Wake;
    }

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        _address.Write();
        try { await _keeper.ReconcileAsync(cancel); }
        finally { _address.Write(); }
    }
}

/// <summary>Reads the database twice a second, whatever else is being done with it: a hung PostgreSQL gives "unknown" and no hung agent.</summary>
internal sealed class ReadingLoop : ReconcileLoop, IAsyncDisposable
{
    private static readonly TimeSpan ReadMax = TimeSpan.FromSeconds(1.5);
    private readonly AgentOptions _options;
    private readonly AgentStateFile _state;
    private readonly PostgresHome _home;
    private readonly PostgresDriver _driver;
    private readonly GuardClient _guard;
    private readonly DatabaseKeeper _keeper;
    private readonly AssignmentBook _book;
    private readonly LeaseKeeper _lease;
    private readonly SyncKeeper _sync;
    private readonly PostgresReader _reader;
    private DatabaseReading? _last;
    private PostgresSql? _sql;

    public ReadingLoop(AgentOptions options, AgentStateFile state, PostgresHome home, PostgresDriver driver, GuardClient guard, DatabaseKeeper keeper, AssignmentBook book, LeaseKeeper lease, SyncKeeper sync, TimeProvider time, ILogger<ReadingLoop> logger)
        : base(TimeSpan.FromMilliseconds(450), time, logger)
    {
        (_options, _state, _home, _driver, _guard, _keeper, _book, _lease, _sync) = (options, state, home, driver, guard, keeper, book, lease, sync);
        _reader = new(time);
        keeper.Changed += Wake;
    }

    /// <summary>The newest reading; null before the first and where there is no database.</summary>
    public DatabaseReading? Last => Volatile.Read(ref _last);

    public ValueTask DisposeAsync() => _reader.DisposeAsync();

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        if (_options.DatabasePort == 0 || _book.Current?.Database is not { Patroni: null } assignment)
            return;
        if (!_home.IsPrepared)
        {
            // Nothing can be asked yet; what keeps it from that is news all the same.
            Volatile.Write(ref _last, _keeper.Detail is { } why ? new DatabaseReading { Database = assignment.Name, State = DatabaseState.Unknown, Detail = why } : null);
            return;
        }
        var guard = await _guard.StatusAsync(cancel);
        var state = _state.Current;
        var fence = _keeper.Fence;
        var sync = _sync.Reading; // before the positions are read: what a copy has flushed may only be newer
        var reading = new DatabaseReading { Database = assignment.Name, State = Still(state, fence?.Epoch) };
        if (guard is { Running: true })
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            limit.CancelAfter(ReadMax);
            try { reading = await _reader.ReadAsync(assignment.Name, _sql ??= _driver.Local(assignment.DatabaseName, 1), limit.Token); }
            catch (Exception error) when (!cancel.IsCancellationRequested)
            {
                reading = reading with { State = DatabaseState.Unknown, Detail = $"PostgreSQL runs and does not answer: {ErrorClause.Of(error)}" };
            }
        }
        else
        {
            _sql = null; // the next one may lie elsewhere
        }
        Volatile.Write(ref _last, reading with
        {
            State = _keeper.Activity is { } activity && reading.State is not (DatabaseState.Primary or DatabaseState.Sealed or DatabaseState.Standby) ? activity
                : _keeper.Activity is DatabaseState.Promoting ? DatabaseState.Promoting
                : reading.State,
            Detail = reading.Detail ?? _keeper.Detail,
            SeenEpoch = state.SeenEpoch,
            FencedEpoch = fence?.Epoch,
            Following = reading.State == DatabaseState.Standby ? state.Following?.Split(' ')[0] : null,
            Guarded = guard is { Running: true },
            Lease = _lease.Reading,
            Sync = sync,
            CutEpoch = state.CutEpoch,
            CutRun = state.CutRun,
            RefusedEpoch = state.RefusedEpoch,
            RefusedRun = state.RefusedRun,
            Fault = state.Fault?.ToString(),
            Salvage = state.Salvage,
            Effects = new(state.Promotions, fence?.Fences ?? 0),
        });
    }

    private DatabaseState Still(AgentState state, long? fenced) =>
        !_home.HasData || state.Initialising ? DatabaseState.Absent
        : state.PrimaryEpoch is { } epoch && fenced >= epoch ? DatabaseState.Fenced
        : DatabaseState.Unknown;
}
