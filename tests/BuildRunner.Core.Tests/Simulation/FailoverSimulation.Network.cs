namespace BuildRunner.Core.Tests.Simulation;

/// <summary>The wires, the processes, and what breaks them.</summary>
internal sealed partial class FailoverSimulation
{
    private const int FaultsMax = 7;

    /// <summary>[from, to]: how many faults refuse or silence it now.</summary>
    private readonly int[,] _refusing = new int[4, 4];
    private readonly int[,] _silent = new int[4, 4];

    /// <summary>What was under way on a silent wire and goes on when it is mended.</summary>
    private readonly List<(SimulationEvent Event, int From, int To)> _stash = [];

    private static int Site(int process) => process switch { < 12 => process % 3, _ => ServerSite };

    private bool Open(int from, int to) => from == to || (_refusing[from, to] == 0 && _silent[from, to] == 0);

    private bool OpenBoth(int a, int b) => Open(a, b) && Open(b, a);

    /// <summary>Hands something to a process elsewhere: late, twice or never, as the schedule has it. False: refused, and the sender knows.</summary>
    private bool Send(int from, int to, Op op, int a = 0, int b = 0, long c = 0, object? body = null)
    {
        var (here, there) = (Site(from), Site(to));
        var item = new SimulationEvent { Process = to, Op = op, A = a, B = b, C = c, Body = body };
        if (here == there)
        {
            item.At = _now + _random.Between(Ms / 10, Ms);
            _queue.Add(item);
            return _alive[to];
        }
        if (_refusing[here, there] > 0 || _refusing[there, here] > 0 || !_alive[to])
            return false;
        if (_silent[here, there] > 0)
        {
            if (_random.Chance(0.3))
                _stash.Add((item, here, there));
            return true;
        }
        if (_random.Chance(_lossShare))
            return true;
        item.At = _now + Delay();
        _queue.Add(item);
        if (_random.Chance(_doubleShare))
        {
            item.At = _now + Delay();
            _queue.Add(item);
        }
        return true;
    }

    private long Delay() => _random.Chance(_lateShare) ? _random.Between(100 * Ms, _random.Chance(0.3) ? 15 * Second : 2 * Second) : _random.Between(5 * Ms, 60 * Ms);

    private void Freeze(int process) => _frozen[process]++;

    private void Thaw(int process)
    {
        if (_frozen[process] == 0 || --_frozen[process] > 0)
            return;
        if (process == Server && _now - _serverFrozen > Second)
            _awake = true;
        if (_backlog[process] is not { Count: > 0 } waiting)
            return;
        var at = _now;
        foreach (var item in waiting)
        {
            var later = item;
            later.At = at += _random.Between(Ms / 100, Ms / 5);
            _queue.Add(later);
        }
        waiting.Clear();
    }

    private void Die(int process)
    {
        _alive[process] = false;
        _frozen[process] = 0;
        _incarnation[process]++;
        _backlog[process]?.Clear();
    }

    private void MakeFaults()
    {
        if (_options.StallsOnly)
        {
            MakeStalls();
        }
        else
        {
            var window = _random.Between(15 * Second, 45 * Second);
            var count = 1 + _random.Below(FaultsMax);
            for (var i = 0; i < count; i++)
            {
                var kind = (FaultKind)_random.Below((int)FaultKind.Order + 1);
                var region = _random.Chance(0.55) ? 0 : _random.Below(Regions);
                var other = (region + 1 + _random.Below(3)) % 4;
                var length = _random.Chance(0.3) ? _random.Between(200 * Ms, 3 * Second) : _random.Between(2 * Second, 25 * Second);
                if (kind is FaultKind.RestartServer or FaultKind.KillAgent)
                    length = _random.Between(200 * Ms, 3 * Second);
                var at = _random.Between(2 * Second, window);
                _faults.Add(new Fault(new(at), new(Math.Min(length, window + (5 * Second) - at)), kind, region, other));
                // What meets a run half way is rarer than its share of bugs: the server goes while a loss is being dealt with, or a person steps in.
                if (kind is <= FaultKind.SilenceOutOfRegion or FaultKind.FreezeRegion && _random.Chance(0.3))
                {
                    var next = at + _random.Between(Second, 9 * Second);
                    var what = _random.Chance(0.6) ? FaultKind.RestartServer : FaultKind.Order;
                    _faults.Add(new Fault(new(next), new(_random.Between(100 * Ms, Second)), what, (region + 1 + _random.Below(2)) % Regions, other));
                }
            }
            _healed = window + (5 * Second);
        }
        for (var i = 0; i < _faults.Count; i++)
        {
            if ((_options.Faults >> i & 1) == 0)
                continue;
            At(_faults[i].At.Ticks, World, Op.FaultBegins, i);
            At(_faults[i].At.Ticks + _faults[i].For.Ticks, World, Op.FaultEnds, i);
        }
        _end = _healed + (240 * Second);
        At(_healed + (6 * Second), World, Op.Judge);
        At(_healed + (30 * Second), World, Op.PersonLooks);
    }

    /// <summary>Stalls of 2 s every 10 s, sometimes one of another part right after.</summary>
    private void MakeStalls()
    {
        FaultKind[] parts = [FaultKind.FreezeServer, FaultKind.FreezeAgent, FaultKind.FreezeGuard, FaultKind.SilenceRegion];
        for (var round = 0; round < 4; round++)
        {
            var at = (10 * Second * round) + _random.Between(2 * Second, 6 * Second);
            var part = _random.Below(parts.Length);
            _faults.Add(new Fault(new(at), TimeSpan.FromSeconds(2), parts[part], 0, 1));
            if (_random.Chance(0.5))
                _faults.Add(new Fault(new(at + (2 * Second)), TimeSpan.FromSeconds(2), parts[(part + 1 + _random.Below(parts.Length - 1)) % parts.Length], 0, 1));
        }
        _healed = 42 * Second;
    }

    private void BeginFault(Fault fault)
    {
        if (Tells)
            Say($"FAULT {fault}");
        Wires(fault, 1);
        var (region, host) = (fault.Region, _hosts[fault.Region]);
        switch (fault.Kind)
        {
            case FaultKind.FreezeAgent: Freeze(Agent(region)); break;
            case FaultKind.FreezeGuard: Freeze(Guard(region)); break;
            case FaultKind.FreezeAgentAndGuard: Freeze(Agent(region)); Freeze(Guard(region)); break;
            case FaultKind.FreezePostmaster: host.PostmasterFrozen = host.Running; break;
            case FaultKind.FreezeGateway: Freeze(Gateway(region)); break;
            case FaultKind.FreezeRegion: EachOf(region, Freeze); break;
            case FaultKind.FreezeServer when _alive[Server]:
                if (_frozen[Server] == 0)
                    _serverFrozen = _now;
                Freeze(Server);
                break;
            case FaultKind.KillAgent: KillAgent(host); break;
            case FaultKind.KillGuard: KillGuard(host); break;
            case FaultKind.KillPostgres: End(host); break;
            case FaultKind.KillRegion:
                End(host);
                KillAgent(host);
                Die(Guard(region));
                Die(Gateway(region));
                EndParked(region);
                break;
            case FaultKind.RestartServer:
                Die(Server);
                break;
            case FaultKind.Order: Ask(automatic: false, region, accept: _random.Chance(0.5)); break;
        }
    }

    private void EndFault(Fault fault)
    {
        if (Tells)
            Say($"MENDED {fault}");
        Wires(fault, -1);
        var (region, host) = (fault.Region, _hosts[fault.Region]);
        switch (fault.Kind)
        {
            case FaultKind.FreezeAgent: Thaw(Agent(region)); break;
            case FaultKind.FreezeGuard: Thaw(Guard(region)); break;
            case FaultKind.FreezeAgentAndGuard: Thaw(Agent(region)); Thaw(Guard(region)); break;
            case FaultKind.FreezeGateway: Thaw(Gateway(region)); break;
            case FaultKind.FreezeRegion: EachOf(region, Thaw); break;
            case FaultKind.FreezeServer: Thaw(Server); break;
            case FaultKind.FreezePostmaster:
                host.PostmasterFrozen = false;
                if (host is { Running: true, Guarded: false })
                    After(5 * Ms, World, Op.Ended, region, host.Postgres); // the signal of its guard's death reaches it now
                break;
            case FaultKind.KillAgent: StartAgent(host); break;
            case FaultKind.KillRegion:
                StartAgent(host);
                _alive[Guard(region)] = true;
                if (!_alive[Gateway(region)])
                {
                    _alive[Gateway(region)] = true;
                    Array.Clear(_failures, region * Regions * 2, Regions * 2);
                    After(500 * Ms, Gateway(region), Op.Probe);
                }
                break;
            case FaultKind.RestartServer: StartServer(); break;
        }
    }

    private static void EachOf(int region, Action<int> act)
    {
        act(Agent(region));
        act(Guard(region));
        act(Postgres(region));
        act(Gateway(region));
    }

    private void Wires(Fault fault, int change)
    {
        switch (fault.Kind)
        {
            case FaultKind.RefuseRegion or FaultKind.SilenceRegion or FaultKind.SilenceIntoRegion or FaultKind.SilenceOutOfRegion:
                var wires = fault.Kind == FaultKind.RefuseRegion ? _refusing : _silent;
                for (var far = 0; far < 4; far++)
                {
                    if (far == fault.Region)
                        continue;
                    if (fault.Kind != FaultKind.SilenceIntoRegion)
                        wires[fault.Region, far] += change;
                    if (fault.Kind != FaultKind.SilenceOutOfRegion)
                        wires[far, fault.Region] += change;
                }
                break;
            case FaultKind.SilenceLink:
                _silent[fault.Region, fault.Other] += change;
                _silent[fault.Other, fault.Region] += change;
                break;
            case FaultKind.SilenceLinkOneWay:
                _silent[fault.Region, fault.Other] += change;
                break;
            default:
                return;
        }
        if (change > 0)
            return;
        for (var i = _stash.Count - 1; i >= 0; i--)
        {
            var (item, from, to) = _stash[i];
            if (!Open(from, to))
                continue;
            _stash.RemoveAt(i);
            item.At = _now + Delay();
            _queue.Add(item);
        }
    }
}
