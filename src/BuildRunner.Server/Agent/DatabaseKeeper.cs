using System.ComponentModel;
using System.Net.Sockets;
using System.Text.Json;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace BuildRunner.Server.Agent;

/// <summary>
/// Brings this host's PostgreSQL to what the assignment says, one step a pass. An order of a run goes before: it cancels the step
/// under way, because a fence must not wait for a base backup.
/// </summary>
internal sealed partial class DatabaseKeeper(
    AgentStateFile state, PostgresHome home, PostgresDriver driver, GuardClient guard, DatabaseRejoin rejoin, Adoption.AdoptionWork adoption, AssignmentBook book,
    TimeProvider time, ILogger<DatabaseKeeper> logger) : IAsyncDisposable
{
    private static readonly TimeSpan ReadMax = TimeSpan.FromSeconds(2);
    private readonly SemaphoreSlim _gate = new(1, 1);
    private readonly TimeProvider _time = time;
    private readonly PostgresReader _reader = new(time);
    private readonly StreamWatch _stream = new(time);
    private readonly Damper _failures = new(time);
    private readonly Damper _slots = new(time);
    private string? _detail;
    private (string Database, PostgresSql Sql)? _sql;
    private CancellationTokenSource? _step;
    private CancellationTokenSource? _order;
    private string? _decided;
    private int _orders;
    private int _startFailures;

    /// <summary>What is being done, for the readings; null: nothing that hides what PostgreSQL says itself.</summary>
    public DatabaseState? Activity { get; private set; }

    /// <summary>Why it does what it does, or what went wrong last.</summary>
    public string? Detail => book.Refusal ?? rejoin.Doing ?? _detail;

    /// <summary>The ask of this start, see <see cref="AgentReport.StartAsk"/>.</summary>
    public string? StartAsk { get; private set; }

    /// <summary>True once this host's PostgreSQL has answered this agent.</summary>
    public bool HasAnswered { get; private set; }

    /// <summary>Something changed that the server waits for.</summary>
    public event Action? Changed;

    public FenceFile? Fence => home.FenceFile is var path && File.Exists(path) ? JsonSerializer.Deserialize(File.ReadAllBytes(path), GuardJson.Default.FenceFile) : null;

    public async ValueTask DisposeAsync()
    {
        await _reader.DisposeAsync();
        _gate.Dispose();
        _step?.Dispose();
        _order?.Dispose();
    }

    /// <summary>One look, one step.</summary>
    public async Task ReconcileAsync(CancellationToken cancel)
    {
        if (book.Current?.Database is not { Patroni: null } assignment || Volatile.Read(ref _orders) > 0 || IsBroken())
            return;
        try { await home.PrepareAsync(cancel); }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or Win32Exception)
        {
            NotDone(error);
            return;
        }
        await _gate.WaitAsync(cancel);
        using var step = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Volatile.Write(ref _step, step);
        try
        {
            if (Volatile.Read(ref _orders) > 0)
                return; // it came while we waited
            adoption.Forget();
            var facts = await LookAsync(assignment, step.Token);
            if (facts is { State.Initialising: true, Reading: { State: DatabaseState.Primary, MarkerEpoch: { } made } })
            {
                // It was made whole, and only that was not written down any more.
                state.Change(s => s with { Initialising = false, Rebuilding = false, PrimaryEpoch = made, Following = null, CutEpoch = null, CutRun = null });
                facts = facts with { State = state.Current };
            }
            var decided = DatabasePlanner.Decide(assignment, facts);
            if (decided.Reason != _decided)
                LogStep(logger, decided.GetType().Name, decided.Reason);
            _decided = decided.Reason;
            if (decided is DatabaseStep.Wait)
                _detail = decided.Reason;
            await TakeAsync(decided, facts, assignment, step.Token);
            _detail = decided.Reason;
            if (decided is not DatabaseStep.Wait)
                _failures.Reset();
        }
        catch (OperationCanceledException) when (step.IsCancellationRequested && !cancel.IsCancellationRequested) { } // an order goes before
        catch (Exception error) when (error is NpgsqlException or TimeoutException or InvalidOperationException or IOException or SocketException or Win32Exception or UnauthorizedAccessException)
        {
            NotDone(error); // the world, not a bug: a primary that is not up yet, a tool that failed
        }
        finally
        {
            Volatile.Write(ref _step, null);
            Activity = null;
            _gate.Release();
        }
    }

    /// <summary>Something may have changed that only a look shows.</summary>
    public void Look() => Changed?.Invoke();

    /// <summary>A drill keeps it broken; past its limit it is mended here.</summary>
    private bool IsBroken()
    {
        if (state.Current.Fault is not { } fault || fault.Kind.IsHeld())
            return false;
        if (fault.Until <= _time.GetUtcNow())
        {
            state.Change(s => s with { Fault = null });
            return false;
        }
        _detail = $"a drill keeps it broken: {fault}, until {fault.Until:HH:mm:ss} UTC at the latest";
        return true;
    }

    /// <summary>Said in the reading and, not too often, in the log; the next pass tries again.</summary>
    private void NotDone(Exception error)
    {
        _detail = ErrorClause.Of(error);
        if (_failures.Lets(_detail))
            LogNotDone(logger, _detail);
    }

    /// <summary>Runs an order alone: the step under way is cancelled first.</summary>
    public async Task<T> ExclusiveAsync<T>(DatabaseState activity, Func<CancellationToken, Task<T>> order, CancellationToken cancel, bool urgent = false)
    {
        Interlocked.Increment(ref _orders);
        try
        {
            Cancel(Volatile.Read(ref _step));
            if (urgent)
                Cancel(Volatile.Read(ref _order)); // a fence does not wait for a promotion
            await home.PrepareAsync(cancel);
            await _gate.WaitAsync(cancel);
            using var own = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            try
            {
                Volatile.Write(ref _order, urgent ? null : own);
                Activity = activity;
                return await order(own.Token);
            }
            catch (OperationCanceledException) when (!cancel.IsCancellationRequested) { throw new InvalidOperationException("a fence went before"); }
            finally
            {
                Volatile.Write(ref _order, null);
                Activity = null;
                _gate.Release();
            }
        }
        finally
        {
            Interlocked.Decrement(ref _orders);
            Changed?.Invoke();
        }
    }

    /// <summary>The epoch is another's: ends PostgreSQL here for good at that epoch, whatever is being done.</summary>
    public Task FenceAsync(long epoch, string why, CancellationToken cancel) =>
        ExclusiveAsync(DatabaseState.Fenced, token => guard.FenceAsync(epoch, why, token), cancel, urgent: true);

    private static void Cancel(CancellationTokenSource? work)
    {
        try { work?.Cancel(); }
        catch (ObjectDisposedException) { } // it has just ended
    }

    private async Task<DatabaseFacts> LookAsync(DatabaseAssignment assignment, CancellationToken cancel)
    {
        var running = await guard.StatusAsync(cancel) is { Running: true };
        DatabaseReading? reading = null;
        var noDatabase = false;
        if (running)
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            limit.CancelAfter(ReadMax);
            try { reading = await _reader.ReadAsync(assignment.Name, Local(assignment), limit.Token); }
            catch (PostgresException error) when (error.SqlState == PostgresErrorCodes.InvalidCatalogName) { noDatabase = true; }
            catch (Exception) when (!cancel.IsCancellationRequested) { } // unknown, and said so by the null
        }
        if (reading is not null)
            _startFailures = 0;
        if (reading is not null && !HasAnswered)
        {
            HasAnswered = true;
            Changed?.Invoke();
        }
        var stuck = _stream.Look(reading, assignment.Epoch, reading is null ? null : _reader.ReceiverAge);
        if (stuck == TimeSpan.Zero && reading is { Streaming: true })
            rejoin.Healthy();
        return new DatabaseFacts
        {
            State = state.Current,
            Region = book.Current?.Region ?? "this region",
            HasData = home.HasData,
            StandbySignal = home.IsStandby,
            Running = running,
            Reading = reading,
            NoDatabase = noDatabase,
            FencedEpoch = Fence?.Epoch,
            Unfenced = adoption.IsPending ? $"the PostgreSQL in {adoption.Folder} is not adopted yet" : null,
            AdoptionCut = running || adoption.IsDown,
            Confirmed = StartAsk is not null && assignment.ConfirmedAsk == StartAsk,
            Stuck = stuck,
            StartFailures = _startFailures,
        };
    }

    /// <summary>Kept while PostgreSQL lies in the same place, and so the connection too.</summary>
    private PostgresSql Local(DatabaseAssignment assignment)
    {
        var place = $"{home.PermitFolder()} {assignment.DatabaseName}";
        if (_sql?.Database != place)
            _sql = (place, driver.Local(assignment.DatabaseName, 1));
        return _sql.Value.Sql;
    }

    private async Task TakeAsync(DatabaseStep step, DatabaseFacts facts, DatabaseAssignment assignment, CancellationToken cancel)
    {
        if (step is not (DatabaseStep.Ask or DatabaseStep.Wait))
            StartAsk = null;
        switch (step)
        {
            case DatabaseStep.Ask:
                if (StartAsk is null)
                {
                    StartAsk = Guid.NewGuid().ToString("N");
                    Changed?.Invoke();
                }
                break;
            case DatabaseStep.Initialise:
                Activity = DatabaseState.Starting;
                _detail = "initdb runs";
                state.Change(s => s with { Initialising = true });
                await driver.InitialiseAsync(cancel);
                _detail = "the new database is furnished";
                driver.Follow(null);
                await driver.StartAsync(standby: false, cancel);
                await driver.FurnishAsync(assignment, cancel);
                state.Change(s => s with { Initialising = false, Rebuilding = false, PrimaryEpoch = assignment.Epoch, Following = null, CutEpoch = null, CutRun = null });
                Changed?.Invoke();
                break;
            case DatabaseStep.Adopt:
                Activity = DatabaseState.Starting;
                await adoption.TakeAsync(order: null, cancel);
                Changed?.Invoke();
                break;
            case DatabaseStep.StopUnfinished:
                await driver.StopAsync(cancel);
                break;
            case DatabaseStep.StartPrimary:
                await StartPrimaryAsync(assignment, cancel);
                break;
            case DatabaseStep.StartStandby standby:
                Activity = DatabaseState.Starting;
                if (standby.Anew)
                    await SetFollowingAsync(assignment, cancel);
                await StartStandbyAsync(cancel);
                break;
            case DatabaseStep.Copy:
                Activity = state.Current.PrimaryEpoch is null ? DatabaseState.Starting : DatabaseState.Rejoining;
                await rejoin.CopyAsync(assignment, cancel);
                await StartStandbyAsync(cancel);
                break;
            case DatabaseStep.Follow:
                await SetFollowingAsync(assignment, cancel);
                await driver.ReloadAsync(cancel);
                _stream.Begin();
                break;
            case DatabaseStep.Rejoin:
                if (state.Current.PrimaryEpoch is not null)
                    Activity = DatabaseState.Rejoining;
                if (await rejoin.RejoinAsync(assignment, facts.Reading?.Replayed, cancel))
                    await StartStandbyAsync(cancel);
                _stream.Begin();
                break;
            case DatabaseStep.StopStale stale:
                Activity = DatabaseState.Fenced;
                await guard.FenceAsync(stale.Epoch, $"epoch {assignment.Epoch} is open elsewhere", cancel);
                Changed?.Invoke();
                break;
        }
    }

    private async Task StartPrimaryAsync(DatabaseAssignment assignment, CancellationToken cancel)
    {
        Activity = DatabaseState.Starting;
        _detail = "PostgreSQL starts as the primary";
        await driver.StartAsync(standby: false, cancel);
        var marker = await driver.Local(assignment.DatabaseName).ScalarAsync<long>("select max(epoch) from buildrunner.epoch", cancel);
        if (marker != assignment.Epoch)
        {
            await driver.StopAsync(cancel);
            throw new InvalidOperationException($"The data here bears the marker of epoch {marker}, not of {assignment.Epoch}: it was stopped again.");
        }
        Changed?.Invoke();
    }

    public async Task StartStandbyAsync(CancellationToken cancel)
    {
        Activity ??= DatabaseState.Starting;
        _detail = "PostgreSQL starts as a standby";
        _startFailures++;
        await driver.StartAsync(standby: true, cancel);
        _startFailures = 0;
        _stream.Begin();
        Changed?.Invoke();
    }

    private async Task SetFollowingAsync(DatabaseAssignment assignment, CancellationToken cancel)
    {
        // A primary that is away is no reason not to start: the slot is made as soon as it answers, and the stream begins then.
        try { await driver.MakeSlotAsync(assignment, cancel); }
        catch (NpgsqlException error)
        {
            if (_slots.Lets(ErrorClause.Of(error)))
                LogNoSlot(logger, assignment.Primary, ErrorClause.Of(error));
        }
        driver.Follow(assignment);
        state.Change(s => s with { Following = DatabasePlanner.Target(assignment), CutEpoch = null, CutRun = null });
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Database: {Step}: {Reason}.")]
    private static partial void LogStep(ILogger logger, string step, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Database: not done, tried again: {Reason}")]
    private static partial void LogNotDone(ILogger logger, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "No slot was made on {Primary}: {Reason}")]
    private static partial void LogNoSlot(ILogger logger, string? primary, string reason);
}
