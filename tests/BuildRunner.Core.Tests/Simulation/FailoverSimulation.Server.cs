using BuildRunner.Core.Databases;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Tests.Simulation;

internal sealed class HostReport
{
    public int Host;
    public DatabaseState State;
    public bool Accepts;
    public int Marker;
    public int Fenced;
    public int Position;
    public int Ask;
    public bool Guarded;
    public int Token;
}

/// <summary>The server: its store, the arbiter, what it hears, and when it begins a failover. All but the store goes when it dies.</summary>
internal sealed partial class FailoverSimulation
{
    private static readonly TimeSpan Reachable = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan Again = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan StartGrace = TimeSpan.FromSeconds(20);

    // The store.
    private EpochRecord _record = null!;
    private LeaseRecord? _lease;
    private int _version = 1;
    private int _holding;
    private int _token;
    private int _wellStored;

    // Memory.
    private LeaseBook? _book;
    private bool _awake;
    private long _serverFrozen;
    private TimeSpan _started;
    private TimeSpan _tried;
    private int _well;
    private readonly HostReport?[] _reports = new HostReport?[Regions];
    private readonly TimeSpan[] _reportedAt = new TimeSpan[Regions];

    /// <summary>The newest report of the primary at which the copy held everything that had been told; null: never.</summary>
    private readonly TimeSpan?[] _equalAt = new TimeSpan?[Regions];

    // Observers 0 to 2 are the gateways, 3 the server; of each region its gateway and its database.
    private readonly int[] _failures = new int[4 * Regions * 2];
    private readonly bool[] _down = new bool[4 * Regions * 2];
    private readonly int[] _seen = new int[4 * Regions * 2];
    private readonly TimeSpan?[] _heard = new TimeSpan?[4];

    private void BeginServer()
    {
        _token = 1;
        _started = Local(ServerSite);
        _well = _wellStored = 1;
        _lease = LeaseRecord.For(null, "main", 1, enforced: false, _terms.Ttl);
    }

    private void StartServer()
    {
        if (_alive[Server])
            return;
        _alive[Server] = true;
        _token++;
        (_book, _awake, _well, _tried) = (null, false, 0, default);
        _started = Local(ServerSite);
        Array.Clear(_reports);
        Array.Clear(_equalAt);
        Array.Clear(_heard);
        Array.Clear(_failures, ServerSite * Regions * 2, Regions * 2);
        Array.Clear(_pending);
        After(200 * Ms, Server, Op.ServerUp);
        if (Tells)
            Say($"the server starts, token {_token}");
    }

    private void ServerUp()
    {
        After(0, Server, Op.ServerPass, 0, _incarnation[Server]);
        After(500 * Ms, Server, Op.Probe, ServerSite);
        if (_run is { Finished: false })
        {
            _run.Phase = 0;
            Wake(100 * Ms);
        }
    }

    private LeaseBook Book()
    {
        var now = Local(ServerSite);
        _book ??= LeaseArbiter.Begin(_token.ToString(CultureInfo.InvariantCulture), Without(Tooth.NewArbiterWait) ? TimeSpan.Zero : _terms.Ttl, now);
        if (_lease is { WithheldBy: not null } && _lease.Epoch >= _book.Epoch)
            _book = LeaseArbiter.Withhold(_book, _lease.Epoch);
        if (_awake)
            _book = LeaseArbiter.Awake(_book, _terms, now);
        _awake = false;
        return _book;
    }

    private bool Enforced => _lease is { Enforced: true } && _lease.Epoch == _record.Epoch;

    private void LeaseAsked(LeaseAsk ask, int host, int number)
    {
        if (_record.Epoch == ask.Epoch && _record.Primary == ask.Region)
            _lease = LeaseRecord.For(_lease, "main", ask.Epoch, ask.Enforced, _terms.Ttl);
        (_book, var answer) = LeaseArbiter.Renew(Book(), _record, ask, _terms, Local(ServerSite));
        Send(Server, Agent(host), Op.LeaseAnswered, number, _incarnation[Agent(host)], 0, answer with { FencingToken = _token });
    }

    /// <summary>The record as a transition leaves it; false: refused.</summary>
    private bool Moves(EpochMove move)
    {
        if (move is not EpochMove.Allowed { Record: var record })
        {
            if (Tells)
                Say($"{((EpochMove.Refused)move).Reason}");
            return false;
        }
        if (record == _record)
            return true;
        if (record.Epoch < _record.Epoch || record.Epoch > _record.Epoch + 1)
            Violate("EpochMonotone", $"the record goes from epoch {_record.Epoch} to {record.Epoch}");
        if (Tells)
            Say($"epoch {record.Epoch} is {record.State}: {record.Primary}");
        _record = record;
        Publish();
        return true;
    }

    private void Publish()
    {
        _version++;
        for (var region = 0; region < Regions; region++)
            SendTable(region);
    }

    private void SendTable(int region) => Send(Server, Gateway(region), Op.GatewayTable, body: new GatewayTable
    {
        Version = _version,
        // While the epoch moves there is no primary; the table keeps the last one and writes are held.
        Epoch = (int)_record.Epoch,
        Primary = Array.IndexOf(Codes, _record.Primary),
        Hold = _holding,
    });

    private void TakeReport(HostReport report)
    {
        var (host, now) = (report.Host, Local(ServerSite));
        var primary = Array.IndexOf(Codes, _record.Primary);
        _reports[host] = report;
        _reportedAt[host] = now;
        if (host == primary)
        {
            for (var copy = 0; copy < Regions; copy++)
            {
                if (copy != primary && _reports[copy] is { } other && other.Position >= report.Position)
                    _equalAt[copy] = now;
            }
        }
        else if (_reports[primary] is { } said && report.Position >= said.Position)
        {
            _equalAt[host] = _reportedAt[primary];
        }
        // What it is to do comes with the answer.
        var confirmed = _record.State == EpochState.Open && host == primary ? report.Ask : 0;
        Send(Server, Agent(host), Op.Assigned, _version, confirmed, _token, _record);
        if (_run is { Finished: false, Waiting: true })
            Wake(0);
    }

    private bool Reports(int host) => _reports[host] is not null && Local(ServerSite) - _reportedAt[host] <= Reachable;

    private void Probe(int process, int observer)
    {
        observer = process == Server ? ServerSite : Site(process);
        After(Took(observer, _terms.Pace), process, Op.Probe, observer);
        for (var region = 0; region < Regions; region++)
        {
            var open = OpenBoth(observer, region);
            Look((((observer * Regions) + region) * 2), open && _alive[Gateway(region)] && _frozen[Gateway(region)] == 0);
            Look((((observer * Regions) + region) * 2) + 1, open && Answers(_hosts[region]));
        }
        if (process == Server)
            TakeSightings(observer);
        else if (Send(process, Server, Op.Sightings, observer) && Open(ServerSite, observer) && _alive[Server] && _tables[observer].Version < _version)
            SendTable(observer);
    }

    /// <summary>A check that begins while nobody answers fails unless somebody does before its time is up.</summary>
    private void Look(int at, bool up)
    {
        _failures[at] = up ? 0 : _down[at] ? _failures[at] + 1 : _failures[at];
        _down[at] = !up;
    }

    private void TakeSightings(int observer)
    {
        Array.Copy(_failures, observer * Regions * 2, _seen, observer * Regions * 2, Regions * 2);
        _heard[observer] = Local(ServerSite);
    }

    private void ServerPass()
    {
        After(250 * Ms, Server, Op.ServerPass, 0, _incarnation[Server]);
        if (_run is { Finished: false } || _record.State == EpochState.Closing)
            return;
        var primary = Array.IndexOf(Codes, _record.Primary);
        var (suspect, heard) = (false, 0);
        for (var observer = 0; observer < 4; observer++)
        {
            if (_heard[observer] is null)
                continue;
            heard++;
            var at = ((observer * Regions) + primary) * 2;
            suspect |= _seen[at] > FailoverVerdict.FailuresMax || _seen[at + 1] > FailoverVerdict.FailuresMax;
        }
        var unasked = Enforced ? LeaseArbiter.Silence(Book(), _record, _terms, Local(ServerSite)) : null;
        if (!suspect && unasked is null)
        {
            _tried = default;
            if (heard >= FailoverVerdict.ObserversMin && _record.State == EpochState.Open && _hosts[primary].Primary)
                _well = _wellStored = (int)_record.Epoch;
            return;
        }
        var now = Local(ServerSite);
        var verdict = FailoverVerdict.Decide(_record.Primary, Observers(now), unasked: unasked);
        if (!verdict.Lost)
            return;
        var news = _well == _record.Epoch || (now - _started > StartGrace && (_record.State == EpochState.Moving || _wellStored >= _record.Epoch - 1));
        if (!news || (_tried != default && now - _tried < Again))
            return;
        _tried = now;
        Ask(automatic: true, null, accept: false);
    }

    private List<Observer> Observers(TimeSpan now)
    {
        var observers = new List<Observer>(4);
        for (var observer = 0; observer < 4; observer++)
        {
            if (_heard[observer] is not { } heard)
                continue;
            var sightings = new List<Sighting>(Regions * 2);
            for (var region = 0; region < Regions; region++)
            {
                var at = ((observer * Regions) + region) * 2;
                sightings.Add(Sight(region, HealthVerdicts.Gateway, _seen[at]));
                sightings.Add(Sight(region, HealthVerdicts.Database, _seen[at + 1]));
            }
            observers.Add(new Observer
            {
                Name = observer == ServerSite ? "server" : $"gateway/{Codes[observer]}",
                Region = observer == ServerSite ? null : Codes[observer],
                Sightings = sightings,
                SilentFor = now - heard > Reachable ? now - heard : null,
            });
        }
        return observers;
    }

    private static Sighting Sight(int region, string service, int failures) => new() { Region = Codes[region], Service = service, Up = failures == 0 ? true : failures >= 3 ? false : null, FailuresInRow = failures };

    /// <summary>Somebody wants a failover: the shipped planner says whether a run may begin, and where to.</summary>
    private void Ask(bool automatic, int? target, bool accept)
    {
        if (!_alive[Server] || _frozen[Server] > 0 || _run is { Finished: false })
            return;
        var now = Local(ServerSite);
        var facts = new FailoverFacts
        {
            Database = "main",
            Rules = _rules,
            Record = _record,
            LeaseEnforced = Enforced,
            Regions = [.. Enumerable.Range(0, Regions).Select(region => new FailoverRegion
            {
                Code = Codes[region],
                Role = RegionRole.Standby,
                HasDatabase = true,
                Health = HealthState.Healthy,
                AgentReachable = Reports(region),
                ReportAge = _reports[region] is null ? null : now - _reportedAt[region],
                GatewayLive = true,
                Reading = Reading(region),
                KnownLag = KnownLag(region),
            })],
        };
        var plan = FailoverPlanner.Plan(facts, new FailoverWish { Target = target is { } wanted ? Codes[wanted] : null, Automatic = automatic, AcceptDataLoss = accept });
        if (plan.Problems.Count > 0)
        {
            if (Tells)
                Say($"a failover is refused: {string.Join(" ", plan.Problems)}");
            return;
        }
        if (_options.StallsOnly)
            Violate("NoFalseAlarm", $"a failover from {_record.Primary} to {plan.Target} begins, and there were stalls only");
        _run = new Run { Id = ++_runs, Automatic = automatic, Accept = accept, Target = Array.IndexOf(Codes, plan.Target), KnownLag = plan.KnownLoss, Began = _now };
        if (Tells)
            Say($"run {_run.Id} begins: {_record.Primary} → {plan.Target}{(automatic ? ", automatic" : "")}");
        Wake(20 * Ms);
    }

    private TimeSpan? KnownLag(int region)
    {
        var primary = Array.IndexOf(Codes, _record.Primary);
        return _reports[primary] is null || _equalAt[region] is not { } equal ? null : _reportedAt[primary] > equal ? _reportedAt[primary] - equal : TimeSpan.Zero;
    }

    private DatabaseReading? Reading(int region) => _reports[region] is not { } report ? null : new DatabaseReading
    {
        Database = "main",
        State = report.State,
        AcceptsConnections = report.Accepts,
        MarkerEpoch = report.Marker,
        FencedEpoch = report.Fenced,
        Guarded = report.Guarded,
        Received = new Lsn((ulong)report.Position),
        Replayed = new Lsn((ulong)report.Position),
    };
}
