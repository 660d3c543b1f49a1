using BuildRunner.Core.Databases;

namespace BuildRunner.Core.Tests.Simulation;

/// <summary>The agent: it keeps its PostgreSQL as assigned, and the lease of a primary.</summary>
internal sealed partial class FailoverSimulation
{
    /// <summary>How long an agent waits for its guard.</summary>
    private const long GuardPatience = 6 * Second;
    private static readonly TimeSpan Pass = TimeSpan.FromMilliseconds(700);
    private static readonly TimeSpan StuckMax = TimeSpan.FromSeconds(5);

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
}
