using BuildRunner.Core.Databases;

namespace BuildRunner.Core.Tests.Simulation;

/// <summary>The guard with its gate, and PostgreSQL.</summary>
internal sealed partial class FailoverSimulation
{
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
