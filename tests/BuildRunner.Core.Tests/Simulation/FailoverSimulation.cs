using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;

namespace BuildRunner.Core.Tests.Simulation;

/// <summary>
/// Three regions with a copy each, a server, gateways and clients in virtual time. Decisions are the shipped functions of Core; what carries them out
/// (agent, guard, gate, run) is modelled here after FAILOVER.md, and everything else (SQL, pages, HTTP) is left out. One object runs one schedule.
/// </summary>
internal sealed partial class FailoverSimulation
{
    private const int Regions = 3;
    private const int ServerSite = 3;
    private const long Ms = TimeSpan.TicksPerMillisecond;
    private const long Second = TimeSpan.TicksPerSecond;
    private const int Server = 12;
    private const int World = 13;
    private const int Processes = 14;
    private static readonly string[] Codes = ["east", "west", "europe"];

    private readonly SimulationOptions _options;
    private readonly EventQueue _queue = new();
    private readonly SimulatedHost[] _hosts = [new(0), new(1), new(2)];
    private readonly bool[] _alive = new bool[Processes];
    private readonly int[] _frozen = new int[Processes];
    private readonly List<SimulationEvent>?[] _backlog = new List<SimulationEvent>?[Processes];
    private readonly int[] _incarnation = new int[Processes];
    private readonly List<Fault> _faults = [];

    /// <summary>Local clock = offset + rate × time; one for each site.</summary>
    private readonly double[] _rate = new double[4];
    private readonly long[] _offset = new long[4];
    private SimulationRandom _random;
    private long _now;
    private long _healed;
    private long _end;
    private int _events;
    private string? _violated;
    private string _detail = "";
    private bool _done;
    private SimulationCounts _counts;

    // Lengths in force, and what the run of this schedule makes of the network.
    private readonly RecoveryRules _rules;
    private readonly LeaseTerms _terms;
    private readonly double _lossShare;
    private readonly double _doubleShare;
    private readonly double _lateShare;

    public FailoverSimulation(SimulationOptions options)
    {
        _options = options;
        _random = new SimulationRandom(options.Seed);
        // The kill time of the policy is used up by nothing here but the guard's last steps, so most schedules have a short one: that leaves least to hide in.
        var kill = _random.Chance(0.7) ? TimeSpan.FromMilliseconds(400) : TimeSpan.FromSeconds(1.5);
        var rate = _random.Below(3) switch { 0 => 0.001, 1 => 0.01, _ => 0.03 };
        var rules = new RecoveryRules { AutoFailover = true, Fencing = FencingMode.Lease, LeaseKill = kill, ClockRateError = rate };
        _rules = rules with { LeaseHold = options.StallsOnly ? TimeSpan.FromSeconds(8) : rules.HoldMax() };
        if (options.StallsOnly)
            _rules = _rules with { LeaseKill = TimeSpan.FromSeconds(1.5), ClockRateError = 0.001 };
        Assert.True(_rules.LeaseIsSafe());
        _terms = _rules.Lease()!;
        for (var site = 0; site < 4; site++)
        {
            _rate[site] = 1 + (((_random.Share() * 2) - 1) * _rules.ClockRateError * 0.999);
            _offset[site] = _random.Between(0, 1_000_000 * Second);
        }
        var bad = !options.StallsOnly && _random.Chance(0.5);
        _lossShare = bad ? _random.Share() * 0.05 : 0;
        _doubleShare = bad ? _random.Share() * 0.05 : 0;
        _lateShare = bad ? _random.Share() * 0.03 : 0;
    }

    public SimulationResult Run()
    {
        Begin();
        MakeFaults();
        while (_violated is null && !_done && _queue.Count > 0)
        {
            var item = _queue.Take();
            _now = item.At;
            if (_now > _end)
                break;
            _events++;
            if (!_alive[item.Process])
                continue;
            if (_frozen[item.Process] > 0)
            {
                (_backlog[item.Process] ??= []).Add(item);
                continue;
            }
            Happen(in item);
        }
        if (_violated is null && !_done)
            Violate(_run is { Finished: false } ? "RunEnds" : "Converges", Unfinished());
        return new SimulationResult(_options.Seed, _violated, _detail, _faults, _counts with { Events = _events });
    }

    private static int Agent(int host) => host;

    private static int Guard(int host) => 3 + host;

    private static int Postgres(int host) => 6 + host;

    private static int Gateway(int region) => 9 + region;

    private TimeSpan Local(int site) => new(_offset[site] + (long)(_now * _rate[site]));

    /// <summary>Virtual time at which a site's clock shows something, never before that.</summary>
    private long When(int site, TimeSpan local) => (long)Math.Ceiling((local.Ticks - _offset[site]) / _rate[site]) + 1;

    /// <summary>How long a wait of so much by a site's clock takes.</summary>
    private long Took(int site, TimeSpan local) => (long)(local.Ticks / _rate[site]);

    private void At(long when, int process, Op op, int a = 0, int b = 0, long c = 0, object? body = null) =>
        _queue.Add(new SimulationEvent { At = when, Process = process, Op = op, A = a, B = b, C = c, Body = body });

    private void After(long ticks, int process, Op op, int a = 0, int b = 0, long c = 0, object? body = null) => At(_now + ticks, process, op, a, b, c, body);

    private void Violate(string invariant, string detail)
    {
        if (_violated is not null)
            return;
        _violated = invariant;
        _detail = string.Create(CultureInfo.InvariantCulture, $"at {_now / (double)Second:0.000} s: {detail}");
        Say(_detail);
    }

    private bool Tells => _options.Trace is not null;

    private void Say(string what) => _options.Trace?.Invoke(string.Create(CultureInfo.InvariantCulture, $"{_now / (double)Second,9:0.0000}  {what}"));

    private bool Without(Tooth tooth) => (_options.Without & tooth) != 0;

    private void Begin()
    {
        Array.Fill(_alive, true);
        _record = EpochTransitions.First("main", Codes[0], Codes, default);
        foreach (var host in _hosts)
        {
            host.Segments.Add(new WalSegment(1, 1, 0));
            host.Append(-1);
            host.Flushed = 1;
            host.Running = host.Guarded = true;
            host.Assigned = _record;
            host.StandbySignal = host.Number != 0;
            host.Following = host.Number == 0 ? -1 : 0;
            After(_random.Between(0, 500 * Ms), Agent(host.Number), Op.AgentPass);
            After(_random.Between(0, 1000 * Ms), Agent(host.Number), Op.RenewPass);
        }
        _hosts[0].Primary = true;
        _hosts[0].PrimaryEpoch = 1;
        _promotions = 1;
        for (var region = 0; region < Regions; region++)
        {
            _tables[region] = new GatewayTable { Epoch = 1, Primary = 0 };
            After(_random.Between(0, 1000 * Ms), Gateway(region), Op.Probe);
        }
        BeginServer();
        After(_random.Between(0, 1000 * Ms), Server, Op.Probe, ServerSite);
        After(_random.Between(0, 500 * Ms), Server, Op.ServerPass);
        for (var client = 0; client < Clients; client++)
            After(_random.Between(500 * Ms, 1500 * Ms), World, Op.ClientNext, client);
    }

    private void Happen(in SimulationEvent e)
    {
        switch (e.Op)
        {
            case Op.FaultBegins: BeginFault(_faults[e.A]); break;
            case Op.FaultEnds: EndFault(_faults[e.A]); break;
            case Op.Judge: Judge(); break;
            case Op.PersonLooks: PersonLooks(); break;
            case Op.AgentPass when e.B == _incarnation[e.Process]: AgentPass(_hosts[e.Process]); break;
            case Op.Assigned: Assign(_hosts[e.Process], (EpochRecord)e.Body!, e.A, e.B, (int)e.C); break;
            case Op.RenewPass when e.B == _incarnation[e.Process]: RenewPass(_hosts[e.Process]); break;
            case Op.LeaseAnswered: LeaseAnswered(_hosts[e.Process], (LeaseAnswer)e.Body!, e.A, e.B); break;
            case Op.RenewTimeout when e.B == _incarnation[e.Process]: RenewTimeout(_hosts[e.Process], e.A, (int)e.C); break;
            case Op.PromiseAsked: PromiseAsked(_hosts[e.Process], (PromiseAsk)e.Body!, e.A, e.B); break;
            case Op.PromiseAnswered: PromiseAnswered(_hosts[e.Process], (PromiseAnswer)e.Body!, e.A, e.B); break;
            case Op.LeaseExtended when e.B == _incarnation[e.Process]: _hosts[e.Process].Enforced = _hosts[e.Process] is { Running: true, Primary: true }; break;
            case Op.OrderCame: OrderCame(_hosts[e.Process], (Order)e.Body!); break;
            case Op.StepDone when e.B == _incarnation[e.Process]: ((Action)e.Body!)(); break;
            case Op.FenceDone when e.B == _incarnation[e.Process]: FenceDone(_hosts[e.Process], (int)e.C, (Order?)e.Body); break;
            case Op.GuardExtend: GuardExtend(_hosts[e.Process - 3], e.C, e.B); break;
            case Op.GuardTimer when e.B == _incarnation[e.Process]: GuardTimer(_hosts[e.Process - 3]); break;
            case Op.GuardStop: GuardStop(_hosts[e.Process - 3], e.A, e.B, (int)e.C, (Order?)e.Body); break;
            case Op.GateLook when e.B == _incarnation[e.Process]: GateLook(_hosts[e.Process - 3], e.A); break;
            case Op.GateSend when e.B == _incarnation[e.Process]: After(_random.Between(Ms / 20, Ms / 2), Postgres(e.Process - 3), Op.Confirm, e.A, _hosts[e.Process - 3].Postgres); break;
            case Op.Write: Write(_hosts[e.Process - 6], e.A, e.B); break;
            case Op.Flush when e.B == _hosts[e.Process - 6].Postgres: Flush(_hosts[e.Process - 6], e.A); break;
            case Op.Confirm when e.B == _hosts[e.Process - 6].Postgres: Confirm(_hosts[e.Process - 6], e.A); break;
            case Op.Ended when e.B == _hosts[e.A].Postgres: End(_hosts[e.A]); break;
            case Op.WalCame: WalCame(_hosts[e.Process - 6], _hosts[e.A], e.B, (int)e.C); break;
            case Op.GatewayWrite: GatewayWrite(e.Process - 9, e.A); break;
            case Op.GatewayAnswer: GatewayAnswer(e.Process - 9, e.A, e.B, (Outcome)e.C); break;
            case Op.GatewayTable: TakeTable(e.Process - 9, (GatewayTable)e.Body!); break;
            case Op.GatewayHoldEnds: HoldEnds(e.Process - 9, e.A); break;
            case Op.Probe: Probe(e.Process, e.A); break;
            case Op.ServerPass when e.B == _incarnation[Server]: ServerPass(); break;
            case Op.Report: TakeReport((HostReport)e.Body!); break;
            case Op.Sightings: TakeSightings(e.A); break;
            case Op.LeaseAsked: LeaseAsked((LeaseAsk)e.Body!, e.A, e.B); break;
            case Op.OrderAnswered: OrderAnswered((Order)e.Body!, e.A != 0, e.B, e.C); break;
            case Op.OrderTimeout when e.B == _incarnation[Server]: OrderAnswered((Order)e.Body!, false, -1, 0); break;
            case Op.RunPass when e.B == _incarnation[Server] && e.A == _runPass: Advance(); break;
            case Op.ServerUp: ServerUp(); break;
            case Op.ClientNext: ClientNext(e.A); break;
            case Op.ClientTimeout: Complete(e.A, Outcome.Unknown); break;
            case Op.ClientDone: Complete(e.A, (Outcome)e.B); break;
        }
    }
}
