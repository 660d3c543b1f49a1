using BuildRunner.Core.Databases;

namespace BuildRunner.Core.Tests.Simulation;

/// <summary>An order of a run to an agent.</summary>
internal sealed record Order(int Id, OrderKind Kind, int To, int Epoch, int Token, int Run)
{
    /// <summary>Promote: how the former primary was proven silent.</summary>
    public FenceProofKind? Proof { get; init; }

    /// <summary>CatchUp: the copy that holds more, and up to where.</summary>
    public int From { get; init; }
    public int Until { get; init; }
}

internal enum OrderKind
{
    Fence,
    Refuse,
    Cut,
    Uncut,
    CatchUp,
    Promote,
    Restart,
}

/// <summary>Agent, guard and PostgreSQL of each region.</summary>
internal sealed partial class FailoverSimulation
{
    /// <summary>How long an agent waits for its guard.</summary>
    private const long GuardPatience = 6 * Second;
    private static readonly TimeSpan Pass = TimeSpan.FromMilliseconds(700);
    private static readonly TimeSpan StuckMax = TimeSpan.FromSeconds(5);
    private int _promotions;

    /// <summary>Where each epoch was promoted; an epoch that is started again where it was is no second promotion.</summary>
    private readonly Dictionary<int, int> _promoted = new() { [1] = 0 };

    // ---- agent: the keeper

    private void AgentPass(SimulatedHost host)
    {
        After(Took(host.Number, Pass), Agent(host.Number), Op.AgentPass, 0, _incarnation[Agent(host.Number)]);
        Send(Agent(host.Number), Server, Op.Report, body: new HostReport
        {
            Host = host.Number,
            State = host.Busy ? DatabaseState.Promoting : host.Running ? host.Primary ? DatabaseState.Primary : DatabaseState.Standby
                : host.FencedEpoch > 0 && host.FencedEpoch >= host.PrimaryEpoch && host.PrimaryEpoch > 0 ? DatabaseState.Fenced : DatabaseState.Unknown,
            Accepts = Answers(host),
            Marker = host.MarkerEpoch,
            Fenced = host.FencedEpoch,
            Position = host.Primary ? host.Inserted : host.Flushed,
            Ask = host.StartAsk,
            Guarded = host.Guarded,
            Token = host.SeenToken,
        });
        if (!host.Busy)
            Keep(host);
    }

    private void Assign(SimulatedHost host, EpochRecord record, int version, int ask, int token)
    {
        if (version < host.AssignedVersion && !Without(Tooth.EpochRefusal))
            return;
        (host.Assigned, host.AssignedVersion, host.ConfirmedAsk) = (record, version, ask);
        if (token > host.SeenToken)
            host.SeenToken = token;
    }

    private bool Answers(SimulatedHost host) => host.Running && !host.PostmasterFrozen && _frozen[Postgres(host.Number)] == 0;

    /// <summary>One step towards the assignment, as the agent's planner has it.</summary>
    private void Keep(SimulatedHost host)
    {
        if (host.Assigned is not { } record || (record.Epoch < host.SeenEpoch && !Without(Tooth.EpochRefusal)))
            return;
        var (me, open, epoch) = (host.Number, record.State == EpochState.Open, (int)record.Epoch);
        var primary = Array.IndexOf(Codes, record.Primary);
        if (open && primary == me)
        {
            if (host.Running || (host.FencedEpoch >= epoch && !Without(Tooth.EpochRefusal)))
                return;
            if (host.StandbySignal)
                Begin(host, "starts as a standby", _random.Between(100 * Ms, 300 * Ms), () => StartPostgres(host, primary: false));
            else if (host.PrimaryEpoch != epoch)
                return;
            else if (host.StartAsk != 0 && host.ConfirmedAsk == host.StartAsk)
                Begin(host, $"starts as the primary of epoch {epoch}", _random.Between(100 * Ms, 400 * Ms), () =>
                {
                    host.StartAsk = 0;
                    StartPostgres(host, primary: true);
                });
            else if (host.StartAsk == 0)
                host.StartAsk = 1 + (int)(_random.Next() % 1_000_000);
        }
        else if (open)
        {
            var source = _hosts[primary];
            if (host is { Running: true, Primary: true })
            {
                if (host.PrimaryEpoch < epoch)
                    FenceHere(host, host.PrimaryEpoch, null);
                return;
            }
            if (host.Running)
            {
                if (host.CutEpoch >= epoch)
                    return;
                if (host.Following != primary)
                {
                    (host.Following, host.CutEpoch, host.StuckSince) = (primary, 0, Local(me));
                    return;
                }
                if (!Reaches(host, source))
                {
                    host.StuckSince = Local(me); // nobody is there: rejoining would find nobody either
                    return;
                }
                if (host.CommonWith(source) == host.Inserted && host.Inserted <= source.Flushed)
                    host.StuckSince = Local(me);
                if (Local(me) - host.StuckSince > StuckMax)
                    Rejoin(host, source, epoch);
                else
                    Ship(source, me);
            }
            else if (host.StandbySignal && host.PrimaryEpoch == 0)
            {
                Begin(host, "starts as a standby", _random.Between(100 * Ms, 300 * Ms), () =>
                {
                    if (host.CutEpoch < epoch)
                        (host.Following, host.CutEpoch) = (primary, 0);
                    StartPostgres(host, primary: false);
                });
            }
            else
            {
                Rejoin(host, source, epoch);
            }
        }
        else if (!host.Running && host is { StandbySignal: true, PrimaryEpoch: 0 })
        {
            Begin(host, "starts as a standby", _random.Between(100 * Ms, 300 * Ms), () => StartPostgres(host, primary: false));
        }
    }

    private bool Reaches(SimulatedHost host, SimulatedHost source) =>
        source is { Running: true, Primary: true } && source.PrimaryEpoch >= host.MarkerEpoch && _frozen[Postgres(source.Number)] == 0 && OpenBoth(host.Number, source.Number);

    /// <summary>Copies what lies past the fork to salvage, takes it back, and follows.</summary>
    private void Rejoin(SimulatedHost host, SimulatedHost source, int epoch)
    {
        if (!Reaches(host, source) || source.PrimaryEpoch != epoch)
            return;
        Begin(host, $"rejoins {Codes[source.Number]}", _random.Between(300 * Ms, 1500 * Ms), () =>
        {
            if (!Reaches(host, source) || source.PrimaryEpoch != epoch || host is { Running: true, Primary: true })
                return;
            var common = Math.Min(host.CommonWith(source), source.Flushed);
            if (host.PrimaryEpoch != 0 || host.PromotingEpoch != 0)
            {
                for (var i = common; i < host.Flushed; i++)
                {
                    if (host.Wal[i] > 0)
                        _writes[host.Wal[i]].Salvaged = true;
                }
            }
            if (host.Running)
                End(host);
            host.CopyFrom(source, common, source.Flushed);
            (host.PrimaryEpoch, host.PromotingEpoch, host.StandbySignal, host.Following, host.CutEpoch) = (0, 0, true, source.Number, 0);
            host.StuckSince = Local(host.Number);
            StartPostgres(host, primary: false);
        });
    }

    /// <summary>Begins a step that takes a while; a fence cancels it, and so does the agent's end.</summary>
    private void Begin(SimulatedHost host, string what, long takes, Action done)
    {
        host.Busy = true;
        var step = ++host.Step;
        if (Tells)
            Say($"{Codes[host.Number]} {what}");
        After(takes, Agent(host.Number), Op.StepDone, 0, _incarnation[Agent(host.Number)], 0, (Action)(() =>
        {
            if (step != host.Step)
                return;
            host.Busy = false;
            done();
        }));
    }

    private void KillAgent(SimulatedHost host) => Die(Agent(host.Number));

    private void StartAgent(SimulatedHost host)
    {
        var process = Agent(host.Number);
        if (_alive[process])
            return;
        _alive[process] = true;
        host.Promised = Promises.Begin(_terms.Ttl, Local(host.Number));
        (host.Busy, host.Received, host.LeaseEpoch, host.Enforced, host.Asking, host.StartAsk) = (false, null, 0, false, 0, 0);
        host.Step++;
        After(300 * Ms, process, Op.AgentPass, 0, _incarnation[process]);
        After(350 * Ms, process, Op.RenewPass, 0, _incarnation[process]);
    }

    // ---- agent: the lease

    private void RenewPass(SimulatedHost host)
    {
        var process = Agent(host.Number);
        After(Took(host.Number, _terms.Pace), process, Op.RenewPass, 0, _incarnation[process]);
        // A guard that does not answer is asked in vain.
        var epoch = host is { Running: true, Guarded: true } && _frozen[Guard(host.Number)] == 0 ? host.PrimaryEpoch : 0;
        if (epoch == 0)
        {
            host.Enforced = false;
            return;
        }
        if (host.Asking != 0)
            return; // the pass before is not done yet
        if (host.LeaseEpoch != epoch)
            (host.LeaseEpoch, host.Received) = (epoch, null);
        host.Ask++;
        host.Asking = 1;
        host.AskedAt = Local(host.Number);
        var ask = new LeaseAsk { Database = "main", Epoch = epoch, Region = Codes[host.Number], Received = host.Received, Enforced = host.Enforced };
        var sent = Send(process, Server, Op.LeaseAsked, host.Number, host.Ask, 0, ask);
        After(sent ? Took(host.Number, _terms.Pace) : Ms, process, Op.RenewTimeout, host.Ask, _incarnation[process], 1);
    }

    private void LeaseAnswered(SimulatedHost host, LeaseAnswer answer, int ask, int incarnation)
    {
        if (host.Asking != 1 || host.Ask != ask || incarnation != _incarnation[Agent(host.Number)] || answer.FencingToken < host.SeenToken)
            return;
        host.Asking = 0;
        host.Received = answer.Id;
        Take(host, LeaseHolder.OfArbiter(_terms, answer, Without(Tooth.AskedBefore) ? Local(host.Number) : host.AskedAt));
    }

    private void RenewTimeout(SimulatedHost host, int ask, int stage)
    {
        if (host.Ask != ask || host.Asking != stage)
            return;
        var process = Agent(host.Number);
        if (stage == 2)
        {
            host.Asking = 0;
            Judge(host);
            return;
        }
        // The arbiter is silent: the candidates are asked.
        host.Asking = 2;
        host.AskedAt = Local(host.Number);
        Array.Clear(host.Said);
        var question = new PromiseAsk { Database = "main", Epoch = host.LeaseEpoch, Region = Codes[host.Number] };
        for (var peer = 0; peer < Regions; peer++)
        {
            if (peer != host.Number)
                Send(process, Agent(peer), Op.PromiseAsked, host.Number, ask, 0, question);
        }
        After(Took(host.Number, _terms.Pace), process, Op.RenewTimeout, ask, _incarnation[process], 2);
    }

    private void PromiseAsked(SimulatedHost host, PromiseAsk ask, int from, int number)
    {
        var own = host.PromotingEpoch != 0 ? host.PromotingEpoch : host.PrimaryEpoch;
        var (book, answer) = Promises.Give(host.Promised, ask, host.SeenEpoch, Without(Tooth.TargetPromise) || host.RefusedEpoch == 0 ? null : host.RefusedEpoch, own == 0 ? null : own, _terms.Ttl, Local(host.Number));
        host.Promised = book;
        Send(Agent(host.Number), Agent(from), Op.PromiseAnswered, host.Number, number, 0, answer);
    }

    private void PromiseAnswered(SimulatedHost host, PromiseAnswer answer, int from, int ask)
    {
        if (host.Asking != 2 || host.Ask != ask)
            return;
        host.Said[from] = answer;
        for (var peer = 0; peer < Regions; peer++)
        {
            if (peer != host.Number && host.Said[peer] is null)
                return;
        }
        host.Asking = 0;
        Judge(host);
    }

    private void Judge(SimulatedHost host)
    {
        var answers = new Dictionary<string, PromiseAnswer?>(2);
        for (var peer = 0; peer < Regions; peer++)
        {
            if (peer != host.Number)
                answers[Codes[peer]] = host.Said[peer];
        }
        Take(host, LeaseHolder.OfCandidates(_terms, answers, host.AskedAt));
    }

    private void Take(SimulatedHost host, LeaseStep step)
    {
        if (host.LeaseEpoch != host.PrimaryEpoch)
            return; // it was ended meanwhile
        if (step is LeaseStep.Extend extend && extend.Deadline > Local(host.Number))
        {
            if (extend.ByFailsafe)
                _counts = _counts with { Failsafe = _counts.Failsafe + 1 };
            After(_random.Between(Ms / 10, 2 * Ms), Guard(host.Number), Op.GuardExtend, 0, _incarnation[Agent(host.Number)], extend.Deadline.Ticks);
        }
        else if (step is LeaseStep.End)
        {
            if (Tells)
                Say($"{Codes[host.Number]}: the lease of epoch {host.LeaseEpoch} was refused: {step.Reason}");
            FenceHere(host, host.LeaseEpoch, null);
        }
    }

    // ---- agent: orders

    private void OrderCame(SimulatedHost host, Order order)
    {
        if ((order.Epoch < host.SeenEpoch || order.Token < host.SeenToken) && !Without(Tooth.EpochRefusal))
        {
            Answer(order, false);
            return;
        }
        if (order.Epoch < host.SeenEpoch)
            Violate("EpochMonotone", $"{Codes[host.Number]} carries out {order.Kind} of epoch {order.Epoch} after one of epoch {host.SeenEpoch}");
        host.SeenEpoch = Math.Max(host.SeenEpoch, order.Epoch);
        host.SeenToken = Math.Max(host.SeenToken, order.Token);
        if (host.Busy && order.Kind is not (OrderKind.Fence or OrderKind.Refuse))
        {
            After(20 * Ms, Agent(host.Number), Op.OrderCame, body: order); // after the step under way
            return;
        }
        if (Tells)
            Say($"{Codes[host.Number]} carries out {order.Kind} of epoch {order.Epoch}, run {order.Run}");
        switch (order.Kind)
        {
            case OrderKind.Fence:
                FenceHere(host, order.Epoch, order);
                break;
            case OrderKind.Refuse:
                host.RefusedEpoch = Math.Max(host.RefusedEpoch, order.Epoch);
                Answer(order, true, left: Promises.Left(host.Promised, Local(host.Number)).Ticks);
                break;
            case OrderKind.Cut:
                (host.CutEpoch, host.Following) = (Math.Max(host.CutEpoch, order.Epoch), -1);
                if (!host.Running || host.Primary || !Answers(host))
                    Answer(order, false);
                else
                    Begin(host, "is cut", _random.Between(20 * Ms, 100 * Ms), () => Answer(order, host is { Running: true, Primary: false }, host.Flushed));
                break;
            case OrderKind.CatchUp when host.CutEpoch < order.Epoch || !host.Running || host.Primary:
                Answer(order, false);
                break;
            case OrderKind.CatchUp:
                Begin(host, $"takes from {Codes[order.From]} what that holds more", _random.Between(30 * Ms, 150 * Ms), () =>
                {
                    var from = _hosts[order.From];
                    if (OpenBoth(host.Number, order.From) && from is { Running: true, Primary: false } && host is { Running: true, Primary: false } && host.CommonWith(from) == host.Inserted)
                        host.CopyFrom(from, host.Inserted, Math.Max(host.Inserted, Math.Min(order.Until, from.Flushed)));
                    Answer(order, host.Flushed >= order.Until, host.Flushed);
                });
                break;
            case OrderKind.Uncut:
                (host.CutEpoch, host.RefusedEpoch, host.Following) = (0, 0, -1);
                Answer(order, true);
                break;
            case OrderKind.Promote:
                Promote(host, order);
                break;
            case OrderKind.Restart:
                Restart(host, order);
                break;
        }
    }

    private void Answer(Order order, bool done, int position = -1, long left = 0) => Send(Agent(order.To), Server, Op.OrderAnswered, done ? 1 : 0, position, left, order);

    private bool Stale(SimulatedHost host, int epoch) => (host.FencedEpoch >= epoch || host.SeenEpoch > epoch) && !Without(Tooth.EpochRefusal);

    private void Promote(SimulatedHost host, Order order)
    {
        var epoch = order.Epoch;
        var promised = order.Proof is not (FenceProofKind.Stopped or FenceProofKind.PoweredOff) && host.PromotingEpoch != epoch && Promises.Left(host.Promised, Local(host.Number)) > TimeSpan.Zero;
        if (Stale(host, epoch) || (promised && !Without(Tooth.TargetPromise)) || host.PostmasterFrozen)
        {
            Answer(order, false);
            return;
        }
        if (!host.Running)
        {
            if (host.StandbySignal)
                Begin(host, "starts as a standby, to be promoted", _random.Between(100 * Ms, 300 * Ms), () => { StartPostgres(host, primary: false); Promote(host, order); });
            else if (host.PromotingEpoch == epoch || host.PrimaryEpoch == epoch)
                Begin(host, "starts again in its promotion", _random.Between(100 * Ms, 300 * Ms), () => { StartPostgres(host, primary: true); Promote(host, order); });
            else
                Answer(order, false);
            return;
        }
        if (!host.Primary)
        {
            host.PromotingEpoch = epoch;
            Begin(host, $"is promoted to epoch {epoch}", _random.Between(30 * Ms, 250 * Ms), () =>
            {
                if (!host.Running || host.Primary)
                {
                    Answer(order, host.PrimaryEpoch == epoch);
                    return;
                }
                (host.Primary, host.StandbySignal) = (true, false);
                Turn(host, epoch);
                Began(host, epoch);
                Begin(host, "writes its marker", _random.Between(2 * Ms, 20 * Ms), () => Mark(host, order));
            });
            return;
        }
        if (host.PromotingEpoch != epoch && host.PrimaryEpoch != epoch)
        {
            Answer(order, false);
            return;
        }
        Begin(host, "writes its marker", _random.Between(2 * Ms, 20 * Ms), () => Mark(host, order));
    }

    private void Mark(SimulatedHost host, Order order)
    {
        if (!host.Running || !host.Primary || Stale(host, order.Epoch))
        {
            Answer(order, false);
            return;
        }
        if (host.MarkerEpoch != order.Epoch)
            Turn(host, order.Epoch);
        (host.PrimaryEpoch, host.PromotingEpoch, host.CutEpoch, host.Following) = (order.Epoch, 0, 0, -1);
        Answer(order, true, host.Segments[^1].Start);
    }

    /// <summary>A new timeline; its first record is on the disk.</summary>
    private void Turn(SimulatedHost host, int epoch)
    {
        host.Segments.Add(new WalSegment(++_promotions, epoch, host.Inserted));
        host.Append(-epoch);
        host.Flushed = host.Inserted;
    }

    private void Restart(SimulatedHost host, Order order)
    {
        if (Stale(host, order.Epoch) || (!host.Running && (host.StandbySignal || host.PrimaryEpoch == 0)) || (host.Running && !host.Primary))
        {
            Answer(order, false);
            return;
        }
        if (host.Running)
        {
            Mark(host, order);
            return;
        }
        Begin(host, $"starts again, as epoch {order.Epoch}", _random.Between(100 * Ms, 300 * Ms), () =>
        {
            StartPostgres(host, primary: true, order.Epoch);
            Began(host, order.Epoch);
            Mark(host, order);
        });
    }

    /// <summary>A copy becomes a primary: what must be so at this moment, whoever ordered it.</summary>
    private void Began(SimulatedHost host, int epoch)
    {
        _counts = _counts with { Promotions = _counts.Promotions + 1 };
        if (!_promoted.TryAdd(epoch, host.Number) && _promoted[epoch] != host.Number)
            Violate("OnePromotionPerEpoch", $"epoch {epoch} begins in {Codes[host.Number]} and began in {Codes[_promoted[epoch]]}");
        if (host.FencedEpoch >= epoch)
            Violate("FencedStaysDown", $"{Codes[host.Number]} becomes the primary of epoch {epoch} and was fenced at {host.FencedEpoch}");
        if (_record.Epoch < epoch || (_record.Epoch == epoch && _record.Former?.Proof is not { } proof) || (_record.Epoch == epoch && _record.Former?.Proof?.Epoch < epoch - 1))
            Violate("ProofBeforePromotion", $"{Codes[host.Number]} becomes the primary of epoch {epoch}, and the record holds no proof about epoch {epoch - 1}");
    }

    // ---- guard

    private void FenceHere(SimulatedHost host, int epoch, Order? order)
    {
        var step = ++host.Step; // whatever is under way is cancelled
        host.Busy = true;
        var agent = _incarnation[Agent(host.Number)];
        if (host.Guarded)
        {
            After(_random.Between(Ms / 10, 2 * Ms), Guard(host.Number), Op.GuardStop, epoch, agent, step, order);
            After(GuardPatience, Agent(host.Number), Op.StepDone, 0, agent, 0, (Action)(() => Rest(host, step)));
            return;
        }
        // Without a guard the agent ends what works in the data folder itself.
        After(_random.Between(5 * Ms, 30 * Ms), Agent(host.Number), Op.StepDone, 0, agent, 0, (Action)(() =>
        {
            if (host.Running)
                End(host);
            Fenced(host, epoch);
            FenceDone(host, step, order);
        }));
    }

    private static void Rest(SimulatedHost host, int step)
    {
        if (host.Step == step)
            host.Busy = false;
    }

    private void GuardExtend(SimulatedHost host, long deadline, int agent)
    {
        if (!host.Guarded || !host.Running)
            return;
        if (host.Deadline is null || deadline > host.Deadline)
            host.Deadline = deadline;
        if (!host.Timed && !Without(Tooth.GuardDeadline))
        {
            host.Timed = true;
            At(Math.Max(_now, When(host.Number, new(host.Deadline.Value))), Guard(host.Number), Op.GuardTimer, 0, _incarnation[Guard(host.Number)]);
        }
        if (host.Held > 0)
            GateLook(host, host.Held);
        After(Ms, Agent(host.Number), Op.LeaseExtended, 0, agent);
    }

    private void GuardTimer(SimulatedHost host)
    {
        host.Timed = false;
        if (!host.Guarded || host.Deadline is not { } deadline)
            return;
        if (Local(host.Number).Ticks >= deadline)
        {
            if (Tells)
                Say($"{Codes[host.Number]}: the deadline has come");
            Stop(host);
            return;
        }
        host.Timed = true;
        // It looks every 50 ms, so it may be so much late.
        At(When(host.Number, new(deadline)) + _random.Between(0, 50 * Ms), Guard(host.Number), Op.GuardTimer, 0, _incarnation[Guard(host.Number)]);
    }

    private void GuardStop(SimulatedHost host, int epoch, int agent, int step, Order? order)
    {
        var took = Stop(host);
        After(took + Ms, World, Op.StepDone, 0, 0, 0, (Action)(() =>
        {
            Fenced(host, epoch);
            After(Ms, Agent(host.Number), Op.FenceDone, 0, agent, step, order);
        }));
    }

    /// <summary>Immediate stop, and SIGKILL after 200 ms to what a frozen postmaster left; returns how long it takes.</summary>
    private long Stop(SimulatedHost host)
    {
        var took = host.PostmasterFrozen || _frozen[Postgres(host.Number)] > 0 ? 200 * Ms + _random.Between(Ms, 20 * Ms) : _random.Between(3 * Ms, 25 * Ms);
        if (host.Running)
            After(took, World, Op.Ended, host.Number, host.Postgres);
        return took;
    }

    private void Fenced(SimulatedHost host, int epoch)
    {
        if (host.FencedEpoch >= epoch)
            return;
        host.FencedEpoch = epoch;
        _counts = _counts with { Fences = _counts.Fences + 1 };
        if (Tells)
            Say($"{Codes[host.Number]} is fenced at epoch {epoch}");
        if (_options.StallsOnly)
            Violate("NoFalseAlarm", $"{Codes[host.Number]} was fenced at epoch {epoch}, and there were stalls only");
    }

    private void FenceDone(SimulatedHost host, int step, Order? order)
    {
        Rest(host, step);
        if (order is not null)
            Answer(order, true, host.PrimaryEpoch != 0 ? host.Flushed : -1);
    }

    private void KillGuard(SimulatedHost host)
    {
        if (!host.Guarded)
            return;
        Die(Guard(host.Number));
        _alive[Guard(host.Number)] = true;
        (host.Guarded, host.Deadline, host.Timed, host.Held) = (false, null, false, 0);
        if (!host.PostmasterFrozen)
            After(5 * Ms, World, Op.Ended, host.Number, host.Postgres);
    }

    private void GateLook(SimulatedHost host, int position)
    {
        if (!host.Guarded)
            return;
        if (Without(Tooth.GuardDeadline) || (host.Deadline is { } deadline && Local(host.Number).Ticks < deadline))
        {
            host.Held = 0;
            // Between the look at the clock and the word to PostgreSQL the guard may be frozen.
            After(Ms / 20, Guard(host.Number), Op.GateSend, position, _incarnation[Guard(host.Number)]);
            return;
        }
        host.Held = Math.Max(host.Held, position);
    }

    // ---- PostgreSQL

    private void StartPostgres(SimulatedHost host, bool primary, int epoch = 0)
    {
        if (host.Running)
            return;
        if (primary && host.FencedEpoch >= Math.Max(epoch, host.PrimaryEpoch) && host.FencedEpoch > 0)
            Violate("FencedStaysDown", $"{Codes[host.Number]} starts as the primary of epoch {host.PrimaryEpoch} and is fenced at {host.FencedEpoch}");
        (host.Running, host.Primary, host.Guarded, host.PostmasterFrozen, host.Deadline, host.Timed, host.Held) = (true, primary, true, false, null, false, 0);
        host.Postgres++;
        _incarnation[Guard(host.Number)]++;
        _frozen[Postgres(host.Number)] = _frozen[Guard(host.Number)] = 0;
        host.StuckSince = Local(host.Number);
    }

    /// <summary>Every process of it is gone; what was not flushed is lost.</summary>
    private void End(SimulatedHost host)
    {
        if (!host.Running)
            return;
        if (Tells)
            Say($"{Codes[host.Number]}: PostgreSQL ended, {host.Inserted - host.Flushed} records unflushed");
        (host.Running, host.Primary, host.Guarded, host.PostmasterFrozen, host.Deadline, host.Timed, host.Held) = (false, false, false, false, null, false, 0);
        host.Enforced = false;
        host.Inserted = host.Flushed;
        while (host.Segments.Count > 1 && host.Segments[^1].Start >= host.Inserted)
            host.Segments.RemoveAt(host.Segments.Count - 1);
        host.Postgres++;
        _incarnation[Guard(host.Number)]++;
        _frozen[Postgres(host.Number)] = 0;
        _backlog[Postgres(host.Number)]?.Clear();
        host.Waiting.Clear(); // their clients learn nothing
    }

    private void Write(SimulatedHost host, int write, int epoch)
    {
        ref var w = ref _writes[write];
        if (w.Arrived)
            return; // a stream gives nothing twice
        w.Arrived = true;
        if (!host.Running || !host.Primary || (epoch != 0 && epoch != host.PrimaryEpoch))
        {
            Reply(host, write, Outcome.Fail);
            return;
        }
        w.Inserted = _now;
        w.Epoch = host.MarkerEpoch;
        FirstOf(w.Epoch);
        host.Append(write);
        After(_random.Between(Ms, 8 * Ms), Postgres(host.Number), Op.Flush, host.Inserted, host.Postgres);
    }

    private void Flush(SimulatedHost host, int position)
    {
        var from = host.Flushed;
        host.Flushed = Math.Max(host.Flushed, position);
        for (var i = from; i < host.Flushed; i++)
            host.Waiting.Add((i + 1, host.Wal[i]));
        for (var copy = 0; copy < Regions; copy++)
        {
            if (copy != host.Number && _hosts[copy].Following == host.Number)
                Ship(host, copy);
        }
        if (Without(Tooth.Gate))
            Confirm(host, position);
        else if (host.Guarded)
            After(_random.Between(Ms / 10, Ms), Guard(host.Number), Op.GateLook, position, _incarnation[Guard(host.Number)]);
    }

    private void Confirm(SimulatedHost host, int position)
    {
        var left = 0;
        for (var i = 0; i < host.Waiting.Count; i++)
        {
            var (at, write) = host.Waiting[i];
            if (at > position)
                host.Waiting[left++] = host.Waiting[i];
            else if (write > 0)
                Acknowledge(host, write);
        }
        host.Waiting.RemoveRange(left, host.Waiting.Count - left);
    }

    private void Acknowledge(SimulatedHost host, int write)
    {
        if (host.FencedEpoch >= host.PrimaryEpoch && host.PrimaryEpoch > 0)
            Violate("FencedStaysDown", $"{Codes[host.Number]} acknowledges a write at epoch {host.PrimaryEpoch} and is fenced at {host.FencedEpoch}");
        Reply(host, write, Outcome.Ok);
    }

    private void Reply(SimulatedHost host, int write, Outcome outcome)
    {
        var client = _writes[write].Client;
        if (client < Regions)
            After(_random.Between(Ms / 10, Ms), World, Op.ClientDone, write, (int)outcome);
        else
            Send(Postgres(host.Number), Gateway(client - Regions), Op.GatewayAnswer, write, _writes[write].Epoch, (long)outcome);
    }

    /// <summary>Sends what is flushed; a lost message is made up for by the next, or by the copy's own look.</summary>
    private void Ship(SimulatedHost source, int copy)
    {
        if (source is { Running: true, Primary: true })
            Send(Postgres(source.Number), Postgres(copy), Op.WalCame, source.Number, source.Postgres, source.Flushed);
    }

    private static void WalCame(SimulatedHost host, SimulatedHost source, int postgres, int end)
    {
        if (!host.Running || host.Primary || host.Following != source.Number || source.Postgres != postgres || !source.Primary || end > source.Flushed)
            return;
        if (host.Inserted >= end || host.CommonWith(source) != host.Inserted)
            return;
        host.CopyFrom(source, host.Inserted, end);
    }
}
