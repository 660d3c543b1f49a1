using BuildRunner.Core.Databases;
using BuildRunner.Core.Recovery;

namespace BuildRunner.Core.Tests.Simulation;

internal enum RunStep
{
    Close,
    Hold,
    Fence,
    Select,
    Move,
    Promote,
    Open,
    Resume,
    UndoSelect,
    UndoFence,
    UndoHold,
    UndoClose,
}

/// <summary>A run of the runbook `failover`. What stands first is in its journal; the rest goes with the server.</summary>
internal sealed class Run
{
    public int Id;
    public bool Automatic;
    public bool Accept;
    public int Target;
    public TimeSpan? KnownLag;
    public long Began;
    public RunStep Step;
    public bool Finished;
    public bool Succeeded;
    public FenceProof? Proof;
    public int End = -1;
    public TimeSpan? Unheard;
    public bool Heard;
    public int Fork;
    public int Attempts;

    public int Phase;
    public bool Waiting;
    public TimeSpan Since;
    public TimeSpan PromiseEnds;
}

/// <summary>The run of a failover, step by step as its actions take them; every step bears being begun again.</summary>
internal sealed partial class FailoverSimulation
{
    private const int Slots = Regions;
    private static readonly TimeSpan FenceStepMax = TimeSpan.FromSeconds(30);
    private Run? _run;
    private int _runs;
    private int _runPass;
    private int _orders;

    // One order under way for each region.
    private readonly Order?[] _pending = new Order?[Slots];
    private readonly bool?[] _done3 = new bool?[Slots];
    private readonly int[] _position = new int[Slots];
    private readonly long[] _left = new long[Slots];

    private void Wake(long ticks) => After(ticks, Server, Op.RunPass, ++_runPass, _incarnation[Server]);

    private void Give(int to, OrderKind kind, long epoch, long patience, FenceProofKind? proof = null, int from = 0, int until = 0)
    {
        var order = new Order(++_orders, kind, to, (int)epoch, _token, _run!.Id) { Proof = proof, From = from, Until = until };
        (_pending[to], _done3[to], _position[to], _left[to]) = (order, null, -1, 0);
        Send(Server, Agent(to), Op.OrderCame, body: order);
        After(patience, Server, Op.OrderTimeout, 0, _incarnation[Server], 0, order);
    }

    private void OrderAnswered(Order order, bool done, int position, long left)
    {
        if (_pending[order.To] is not { } pending || pending.Id != order.Id)
            return;
        (_pending[order.To], _done3[order.To], _position[order.To], _left[order.To]) = (null, done, position, left);
        Wake(0);
    }

    private void Next(RunStep step)
    {
        var run = _run!;
        (run.Step, run.Phase, run.Since, run.Waiting, run.Attempts) = (step, 0, Local(ServerSite), false, 0);
        Wake(2 * Ms); // the journal
    }

    private void Finish(bool succeeded)
    {
        var run = _run!;
        (run.Finished, run.Succeeded) = (true, succeeded);
        if (!succeeded)
            _counts = _counts with { RunsFailed = _counts.RunsFailed + 1 };
        if (_now - run.Began > 200 * Second)
            Violate("RunEnds", $"run {run.Id} took {(_now - run.Began) / Second} s");
        if (Tells)
            Say($"run {run.Id} {(succeeded ? "succeeded" : "failed")}");
    }

    private void Fail(string why)
    {
        if (Tells)
            Say($"run {_run!.Id} gives up: {why}");
        Next(_run!.Step is RunStep.Select or RunStep.Move ? RunStep.UndoSelect : _run.Step == RunStep.Fence ? RunStep.UndoFence : _run.Step == RunStep.Hold ? RunStep.UndoHold : RunStep.UndoClose);
    }

    private void Advance()
    {
        if (_run is not { Finished: false } run)
            return;
        var target = Codes[run.Target];
        var id = run.Id.ToString(CultureInfo.InvariantCulture);
        if (run.Phase == 0)
            run.Since = Local(ServerSite);
        switch (run.Step)
        {
            case RunStep.Close:
                if ((_record.State == EpochState.Moving && _record.Primary != target) || Moves(_record.State == EpochState.Moving
                    ? EpochTransitions.Adopt(_record, id, default)
                    : EpochTransitions.Close(_record, id, default, _record is { State: EpochState.Closing, Run: { } former } && former != id ? former : null)))
                    Next(RunStep.Hold);
                else
                    Finish(false);
                break;
            case RunStep.Hold:
                _holding = run.Id;
                Publish();
                Next(RunStep.Fence);
                break;
            case RunStep.Fence:
                Fence(run, target);
                break;
            case RunStep.Select:
                Select(run, target);
                break;
            case RunStep.Move:
                if ((_record.State == EpochState.Moving && _record.Run == id && _record.Primary == target) || Moves(EpochTransitions.Move(_record, target, run.Proof, id, default)))
                    Next(RunStep.Promote);
                else
                    Fail("the epoch does not move");
                break;
            case RunStep.Promote:
                if (run.Phase == 0)
                {
                    run.Phase = 1;
                    Give(run.Target, OrderKind.Promote, _record.Epoch, 10 * Second, run.Proof?.Kind ?? _record.Former?.Proof?.Kind);
                }
                else if (_done3[run.Target] is { } promoted)
                {
                    run.Fork = _position[run.Target];
                    if (promoted)
                    {
                        Next(RunStep.Open);
                    }
                    else if (++run.Attempts > 5)
                    {
                        _holding = 0; // it calls a person
                        Finish(false);
                    }
                    else
                    {
                        run.Phase = 0;
                        Wake(200 * Ms);
                    }
                }
                break;
            case RunStep.Open:
                if (Moves(EpochTransitions.Open(_record, id, new Lsn((ulong)Math.Max(0, run.Fork)), null, default)))
                    Next(RunStep.Resume);
                else
                    Finish(false);
                break;
            case RunStep.Resume:
                _holding = 0;
                Publish();
                Finish(true);
                break;
            case RunStep.UndoSelect:
                if (run.Phase == 0)
                {
                    run.Phase = 1;
                    for (var copy = 0; copy < Regions; copy++)
                    {
                        _done3[copy] = true;
                        if (_record.State == EpochState.Closing && Codes[copy] != _record.Primary && Reports(copy))
                            Give(copy, OrderKind.Uncut, _record.Epoch, 10 * Second);
                    }
                }
                if (Array.TrueForAll(_done3, d => d is not null))
                    Next(RunStep.UndoFence);
                break;
            case RunStep.UndoFence:
                UndoFence(run, id);
                break;
            case RunStep.UndoHold:
                _holding = 0;
                Publish();
                Next(RunStep.UndoClose);
                break;
            case RunStep.UndoClose:
                if (_record.State == EpochState.Closing && _record.Run == id)
                    Moves(EpochTransitions.Reopen(_record, id, default));
                Finish(false);
                break;
        }
    }

    private void Fence(Run run, string target)
    {
        var primary = Array.IndexOf(Codes, _record.Primary);
        var now = Local(ServerSite);
        if (now - run.Since > FenceStepMax)
        {
            Fail("no proof in time");
            return;
        }
        if (run.Phase == 0)
        {
            if (_record.State == EpochState.Moving && _record.Primary == target)
            {
                Prove(run, _record.Former?.Proof);
                return;
            }
            if (!Reports(primary))
            {
                // One that has had no time to call in yet gets it.
                if (now - _started < Reachable && _reports[primary] is null)
                {
                    run.Waiting = true;
                    Wake(100 * Ms);
                    return;
                }
                run.Phase = 2;
            }
            else
            {
                run.Phase = 1;
                Give(primary, OrderKind.Fence, _record.Epoch, Enforced ? 1500 * Ms : 10 * Second);
                return;
            }
        }
        if (run.Phase == 1)
        {
            if (_done3[primary] is not { } stopped)
                return;
            if (stopped)
            {
                run.End = _position[primary];
                _counts = _counts with { Stopped = _counts.Stopped + 1 };
                Prove(run, Proof(FenceProofKind.Stopped));
                return;
            }
            run.Phase = 2;
        }
        if (run.Phase == 2)
        {
            if (!Enforced)
            {
                Fail("its lease is not enforced");
                return;
            }
            _lease = _lease! with { WithheldBy = "run" };
            _book = LeaseArbiter.Withhold(Book(), _record.Epoch);
            run.Phase = 3;
            if (Without(Tooth.TargetPromise))
            {
                run.PromiseEnds = now;
                run.Phase = 4;
            }
            else
            {
                Give(run.Target, OrderKind.Refuse, _record.Epoch, 3 * Second);
                return;
            }
        }
        if (run.Phase == 3)
        {
            if (_done3[run.Target] is not { } refused)
                return;
            if (!refused)
            {
                _lease = _lease! with { WithheldBy = null };
                _book = LeaseArbiter.Restore(Book(), _record.Epoch);
                Fail("the target does not refuse");
                return;
            }
            run.PromiseEnds = now + new TimeSpan(_left[run.Target]);
            run.Phase = 4;
        }
        var end = LeaseArbiter.End(Book(), _record, _terms, now);
        if ((end is LeaseEnd.RunOut && now >= run.PromiseEnds) || Without(Tooth.ProofWait))
        {
            run.Heard = true;
            run.Unheard = _reports[primary] is null ? null : now - _reportedAt[primary];
            _counts = _counts with { Expired = _counts.Expired + 1 };
            Prove(run, Proof(FenceProofKind.Expired));
            return;
        }
        Wake(100 * Ms);
    }

    private FenceProof Proof(FenceProofKind kind) => new() { Kind = kind, Epoch = _record.Epoch, Region = _record.Primary, Evidence = "", At = default };

    private void Prove(Run run, FenceProof? proof)
    {
        if (proof is null)
        {
            Fail("the record holds no proof");
            return;
        }
        run.Proof = proof;
        Next(RunStep.Select);
    }

    private void Select(Run run, string target)
    {
        if (_record.State == EpochState.Moving && _record.Primary == target)
        {
            Next(RunStep.Move);
            return;
        }
        if (run.Phase == 0)
        {
            run.Phase = 1;
            for (var copy = 0; copy < Regions; copy++)
            {
                (_done3[copy], _position[copy]) = (true, -1);
                if (Codes[copy] != _record.Primary && (copy == run.Target || Reports(copy)))
                    Give(copy, OrderKind.Cut, _record.Epoch, copy == run.Target ? 10 * Second : 1500 * Ms);
            }
            return;
        }
        if (!Array.TrueForAll(_done3, d => d is not null))
            return;
        if (run.Phase == 1)
        {
            if (_done3[run.Target] is not true || _position[run.Target] < 0)
            {
                Fail("the target is not cut");
                return;
            }
            var best = run.Target;
            for (var copy = 0; copy < Regions; copy++)
            {
                if (_position[copy] > _position[best] && _hosts[copy].MarkerEpoch == _hosts[run.Target].MarkerEpoch)
                    best = copy;
            }
            if (best != run.Target)
            {
                run.Phase = 2;
                Give(run.Target, OrderKind.CatchUp, _record.Epoch, 10 * Second, null, best, _position[best]);
                return;
            }
        }
        else if (_done3[run.Target] is not true && !run.Accept)
        {
            Fail("another copy holds more");
            return;
        }
        var held = _position[run.Target];
        TimeSpan? loss = run.End >= 0 && held >= run.End ? TimeSpan.Zero : !run.Heard ? run.KnownLag : run.KnownLag + run.Unheard;
        if (FailoverPlanner.JudgeLoss(loss, FailoverPlanner.LossMax(_rules, run.Automatic), run.Accept, target) is { } refusal)
        {
            Fail(refusal);
            return;
        }
        Next(RunStep.Move);
    }

    private void UndoFence(Run run, string id)
    {
        var primary = Array.IndexOf(Codes, _record.Primary);
        if (_record.Run != id || _record.State == EpochState.Open)
        {
            Next(RunStep.UndoHold);
            return;
        }
        if (run.Phase == 0 && _record.State == EpochState.Closing)
        {
            run.Phase = 1;
            if (Enforced)
            {
                Give(run.Target, OrderKind.Uncut, _record.Epoch, 3 * Second);
                return;
            }
            _done3[run.Target] = true;
        }
        if (run.Phase == 1)
        {
            if (_done3[run.Target] is null)
                return;
            _lease = _lease! with { WithheldBy = null };
            _book = LeaseArbiter.Restore(Book(), _record.Epoch);
            run.Since = Local(ServerSite);
            run.Phase = 2;
        }
        if (run.Phase == 2)
        {
            // The fence's answer may have been lost: what is reported from now on tells.
            if (run.Proof is null && Reports(primary) && _reportedAt[primary] <= run.Since && Local(ServerSite) - run.Since < Reachable)
            {
                run.Waiting = true;
                Wake(100 * Ms);
                return;
            }
            if (run.Proof is null && Reports(primary) && _reports[primary]!.Fenced >= _record.Epoch)
                run.Proof = Proof(FenceProofKind.Stopped);
            if (run.Proof is not { Kind: FenceProofKind.Stopped })
            {
                Next(RunStep.UndoHold);
                return;
            }
            if (!Moves(EpochTransitions.Move(_record, _record.Primary, run.Proof, id, default)))
            {
                Finish(false);
                return;
            }
            run.Phase = 3;
        }
        if (run.Phase == 0)
            run.Phase = 3; // begun again after the record had moved
        if (_record.Former?.Primary != _record.Primary)
        {
            _holding = 0;
            Finish(false);
            return;
        }
        if (run.Phase == 3)
        {
            run.Phase = 4;
            Give(primary, OrderKind.Restart, _record.Epoch, 20 * Second);
            return;
        }
        if (_done3[primary] is not { } restarted)
            return;
        if (restarted)
            Moves(EpochTransitions.Open(_record, id, new Lsn((ulong)Math.Max(0, _position[primary])), null, default));
        else if (Tells)
            Say($"{Codes[primary]} does not start again");
        Next(restarted ? RunStep.UndoHold : RunStep.UndoHold);
    }
}
