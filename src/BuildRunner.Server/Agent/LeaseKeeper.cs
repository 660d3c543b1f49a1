using System.Net.Http.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Agent;

/// <summary>
/// Keeps the lease of the primary on this host: renews it with the arbiter, carries it by the candidates' promises while the arbiter is silent
/// (FAILOVER.md 3 and 7), and gives the deadline to the guard, which ends PostgreSQL there; then commits may wait for whom the server says. It never ends the lease by itself, except when the
/// arbiter says that the epoch is another's.
/// </summary>
internal sealed partial class LeaseKeeper : ReconcileLoop
{
    private static readonly TimeSpan Pass = TimeSpan.FromMilliseconds(100);

    /// <summary>A setting that is not in force yet is looked at again.</summary>
    private static readonly TimeSpan Soonest = TimeSpan.FromMilliseconds(200);
    private readonly AgentOptions _options;
    private readonly AgentStateFile _state;
    private readonly AssignmentBook _book;
    private readonly PostgresHome _home;
    private readonly Adoption.AdoptionWork _adoption;
    private readonly SyncKeeper _sync;
    private readonly GuardClient _guard;
    private readonly DatabaseKeeper _keeper;
    private readonly PeerCalls _peers;
    private readonly ServerLine _line;
    private readonly ILogger<LeaseKeeper> _logger;
    private TimeSpan _due;
    private string? _received;
    private long _epoch;
    private string _said = "";
    private bool _woken;
    private Held? _held;

    public LeaseKeeper(
        AgentOptions options, ServerLine line, AgentStateFile state, AssignmentBook book, PostgresHome home, Adoption.AdoptionWork adoption, SyncKeeper sync, GuardClient guard, DatabaseKeeper keeper,
        PeerCalls peers, TimeProvider time, ILogger<LeaseKeeper> logger)
        : base(Pass, time, logger)
    {
        (_options, _line, _state, _book, _home, _adoption, _sync, _guard, _keeper, _peers, _logger) = (options, line, state, book, home, adoption, sync, guard, keeper, peers, logger);
        keeper.Changed += Soon;
        book.Changed += Soon;
    }

    /// <summary>The lease as it stands; null: none is kept here.</summary>
    public LeaseReading? Reading => Volatile.Read(ref _held) is { } held ? new LeaseReading(held.Deadline - Now, held.Enforced, held.ByFailsafe, held.Detail) : null;

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        if (_options.DatabasePort == 0 || !_home.IsPrepared || !_home.HasData || _adoption.IsPending || _book.Current is not { Database: { Patroni: null } assignment } current)
            return;
        if (!Interlocked.Exchange(ref _woken, false) && Now < _due)
            return;
        _due = Now + (assignment.Lease?.Terms.Pace ?? TimeSpan.FromSeconds(1));
        var guard = await _guard.StatusAsync(cancel);
        var epoch = guard is { Running: true } ? _state.Current.PrimaryEpoch : null;
        if (assignment.Lease is not { } lease)
            await LiftAsync(guard, cancel);
        else if (epoch is { } held)
            await RenewAsync(assignment, lease, held, cancel);
        else
            Volatile.Write(ref _held, null);
        // A deadline first, then the gate: nothing would let commits through it. A copy has it beforehand.
        var gated = assignment.Sync is { } names && SyncSetting.Parse(names).IsGate;
        if ((gated && epoch is not null && Volatile.Read(ref _held) is null) || await _sync.ApplyAsync(assignment.Sync, current.Version, guard is { Running: true }, epoch is not null, cancel))
            return;
        var soon = Now + Soonest;
        _due = _due < soon ? _due : soon;
    }

    private static TimeSpan Now => TimeSpan.FromMilliseconds(AgentNative.BootMilliseconds());

    private void Soon()
    {
        Volatile.Write(ref _woken, true);
        Wake();
    }

    private async Task RenewAsync(DatabaseAssignment assignment, LeaseAssignment lease, long epoch, CancellationToken cancel)
    {
        if (_epoch != epoch)
            (_epoch, _received) = (epoch, null);
        var asked = Now;
        var answer = await AskArbiterAsync(assignment.Name, epoch, lease, cancel);
        _received = answer?.Id ?? _received;
        var step = LeaseHolder.OfArbiter(lease.Terms, answer, asked);
        if (answer is null)
            step = await FailsafeAsync(assignment, lease, epoch, cancel);
        switch (step)
        {
            case LeaseStep.Extend extend when extend.Deadline > Now:
                await ExtendAsync(extend, cancel);
                break;
            case LeaseStep.End end:
                LogEnded(_logger, epoch, end.Reason);
                Volatile.Write(ref _held, null);
                await _keeper.FenceAsync(epoch, end.Reason, cancel);
                break;
            default:
                if (Volatile.Read(ref _held) is { } held)
                    Volatile.Write(ref _held, held with { Detail = step.Reason });
                break;
        }
        if (_said != step.Reason)
            LogStep(_logger, epoch, step.Reason);
        _said = step.Reason;
    }

    /// <summary>The arbiter's answer; null: silent, or it may not answer now.</summary>
    private async Task<LeaseAnswer?> AskArbiterAsync(string database, long epoch, LeaseAssignment lease, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(lease.Terms.Pace);
        try
        {
            var ask = new LeaseAsk { Database = database, Epoch = epoch, Region = _options.Region, Ttl = lease.Ttl, Received = _received, Enforced = Volatile.Read(ref _held) is { Enforced: true } };
            using var said = await _line.PostAsync($"/v1/agents/{Uri.EscapeDataString(_options.Region)}/lease", JsonContent.Create(ask, WireJson.Default.LeaseAsk), limit.Token);
            if (!said.IsSuccessStatusCode || await said.Content.ReadFromJsonAsync(WireJson.Default.LeaseAnswer, limit.Token) is not { } answer)
                return null;
            return answer.FencingToken < _state.Current.SeenToken ? null : answer; // a former leader's word
        }
        catch (Exception error) when (error is HttpRequestException or IOException or System.Text.Json.JsonException || (error is OperationCanceledException && !cancel.IsCancellationRequested)) { return null; }
    }

    private async Task<LeaseStep> FailsafeAsync(DatabaseAssignment assignment, LeaseAssignment lease, long epoch, CancellationToken cancel)
    {
        var asked = Now;
        var ask = new PromiseAsk { Database = assignment.Name, Epoch = epoch, Region = _options.Region, Lineage = assignment.Lineage, Ttl = lease.Ttl };
        var answers = await Task.WhenAll(lease.Candidates.Select(async peer => (peer.Region, Answer: await _peers.AskAsync(peer, ask, lease.Terms.Pace, cancel))));
        return LeaseHolder.OfCandidates(lease.Terms, answers.ToDictionary(a => a.Region, a => a.Answer, StringComparer.Ordinal), asked);
    }

    private async Task ExtendAsync(LeaseStep.Extend extend, CancellationToken cancel)
    {
        var deadline = (long)extend.Deadline.TotalMilliseconds;
        if (await _guard.ExtendAsync(deadline, cancel) is not { Ok: true, DeadlineMs: { } inForce } guard)
            return; // it is gone, and PostgreSQL with it
        // Seen in force, not only told: only then may the lease be said to run out by itself. Where copies are waited for, that they were cut off is the proof.
        var enforced = guard.Gate && inForce <= deadline && _sync.Reading is { } seen && SyncSetting.Parse(seen.Names).IsGate;
        Volatile.Write(ref _held, new Held(extend.Deadline, enforced, extend.ByFailsafe, extend.Reason));
    }

    /// <summary>The policy fences by lease no more: the deadline goes, and the gate with the assignment that says so.</summary>
    private async Task LiftAsync(GuardAnswer? guard, CancellationToken cancel)
    {
        Volatile.Write(ref _held, null);
        if (guard is { Running: true, DeadlineMs: not (null or GateName.NoDeadline) })
            await _guard.ExtendAsync(GateName.NoDeadline, cancel);
    }

    private sealed record Held(TimeSpan Deadline, bool Enforced, bool ByFailsafe, string Detail);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The lease of epoch {Epoch} was refused, PostgreSQL is ended: {Reason}.")]
    private static partial void LogEnded(ILogger logger, long epoch, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "Lease of epoch {Epoch}: {Reason}.")]
    private static partial void LogStep(ILogger logger, long epoch, string reason);
}
