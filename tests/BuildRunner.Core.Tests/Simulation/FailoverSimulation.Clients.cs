namespace BuildRunner.Core.Tests.Simulation;

internal enum Outcome
{
    Open,
    Ok,

    /// <summary>Surely not executed.</summary>
    Fail,
    Unknown,
}

/// <summary>One write of one client, from its call to its end.</summary>
internal struct SimulatedWrite
{
    public int Client;
    public long Invoked;
    public long Completed;
    public long Inserted;
    public int Epoch;
    public Outcome Outcome;
    public bool Arrived;
    public bool Salvaged;
}

internal sealed class GatewayTable
{
    public int Version;
    public int Epoch;
    public int Primary;
    public int Hold;
}

/// <summary>Clients and gateways: client 0 to 2 writes to the PostgreSQL beside it, client 3 to 5 through the gateway of region 0 to 2.</summary>
internal sealed partial class FailoverSimulation
{
    private const int Clients = Regions * 2;
    private static readonly TimeSpan HoldMax = TimeSpan.FromSeconds(10);
    private const long ClientPatience = 3 * Second;
    private SimulatedWrite[] _writes = new SimulatedWrite[256];
    private int _written;
    private readonly int[] _current = new int[Clients];
    private readonly GatewayTable[] _tables = new GatewayTable[Regions];
    private readonly List<(int Write, long Since)>[] _parked = [[], [], []];
    private readonly TimeSpan[] _holdUntil = new TimeSpan[Regions];

    /// <summary>When the first acknowledgement of an epoch reached its client, and when its first write was inserted; 0: not yet.</summary>
    private readonly long[] _firstAcknowledged = new long[64];
    private readonly long[] _firstInserted = new long[64];

    private void ClientNext(int client)
    {
        if (_healed != 0 && _now > _healed + (3 * Second))
            return;
        if (++_written == _writes.Length)
            Array.Resize(ref _writes, _written * 2);
        _writes[_written] = new SimulatedWrite { Client = client, Invoked = _now };
        _current[client] = _written;
        var write = _written;
        if (client < Regions)
        {
            if (_hosts[client] is not { Running: true, Primary: true })
            {
                Complete(write, Outcome.Fail);
                return;
            }
            After(_random.Between(Ms / 10, Ms), Postgres(client), Op.Write, write, 0);
        }
        else if (!_alive[Gateway(client - Regions)])
        {
            Complete(write, Outcome.Fail);
            return;
        }
        else
        {
            After(_random.Between(Ms / 10, Ms), Gateway(client - Regions), Op.GatewayWrite, write);
        }
        After(ClientPatience, World, Op.ClientTimeout, write);
    }

    private void Complete(int write, Outcome outcome)
    {
        ref var w = ref _writes[write];
        if (w.Outcome != Outcome.Open)
            return;
        w.Outcome = outcome;
        w.Completed = _now;
        if (_current[w.Client] == write)
            After(outcome == Outcome.Fail && w.Client < Regions ? 700 * Ms : _random.Between(100 * Ms, 900 * Ms), World, Op.ClientNext, w.Client);
        if (outcome != Outcome.Ok)
            return;
        _counts = _counts with { Acknowledged = _counts.Acknowledged + 1 };
        if (_firstAcknowledged[w.Epoch] == 0)
            _firstAcknowledged[w.Epoch] = _now;
        for (var later = w.Epoch + 1; later < _firstAcknowledged.Length && later <= _record.Epoch + 1; later++)
        {
            if (_firstAcknowledged[later] != 0 && _firstAcknowledged[later] < w.Invoked)
                Violate("OneAcknowledger", $"write {write} of client {w.Client} was acknowledged at epoch {w.Epoch}, and it was sent {(w.Invoked - _firstAcknowledged[later]) / Ms} ms after the first answer of epoch {later}");
            else if (_firstInserted[later] != 0 && _firstInserted[later] < w.Inserted)
                Violate("OneAcknowledger", $"write {write} of client {w.Client} was acknowledged at epoch {w.Epoch}, and its commit is {(w.Inserted - _firstInserted[later]) / Ms} ms later than the first of epoch {later}");
        }
    }

    private void FirstOf(int epoch)
    {
        if (_firstInserted[epoch] == 0)
            _firstInserted[epoch] = _now;
    }

    private void GatewayWrite(int region, int write)
    {
        var table = _tables[region];
        if (table.Hold != 0 && Local(region) < _holdUntil[region])
        {
            _parked[region].Add((write, _now));
            return;
        }
        if (!Send(Gateway(region), Postgres(table.Primary), Op.Write, write, table.Epoch))
            Complete(write, Outcome.Fail);
        else
            _writes[write].Epoch = table.Epoch; // under which it is dispatched; the commit writes its own
    }

    private void GatewayAnswer(int region, int write, int epoch, Outcome outcome) =>
        After(_random.Between(Ms / 10, Ms), World, Op.ClientDone, write, (int)(outcome == Outcome.Ok && epoch < _tables[region].Epoch ? Outcome.Unknown : outcome));

    private void TakeTable(int region, GatewayTable table)
    {
        var before = _tables[region];
        if (table.Version <= before.Version)
            return;
        _tables[region] = table;
        if (table.Hold != 0 && table.Hold != before.Hold)
        {
            _holdUntil[region] = Local(region) + HoldMax;
            After(Took(region, HoldMax) + Ms, Gateway(region), Op.GatewayHoldEnds, table.Hold);
        }
        if (table.Hold == 0)
            Release(region);
    }

    private void HoldEnds(int region, int hold)
    {
        if (_tables[region].Hold != hold)
            return;
        foreach (var (write, _) in _parked[region])
            Complete(write, Outcome.Fail); // 503
        _parked[region].Clear();
    }

    private void Release(int region)
    {
        if (_parked[region].Count == 0)
            return;
        foreach (var (write, since) in _parked[region])
        {
            if (_frozen[Gateway(region)] == 0 && _now - since > HoldMax.Ticks * 1.2 && _writes[write].Outcome == Outcome.Open)
                Violate("HoldBounded", $"write {write} was held for {(_now - since) / Ms} ms");
            if (_writes[write].Outcome == Outcome.Open)
                GatewayWrite(region, write);
        }
        _parked[region].Clear();
    }

    private void EndParked(int region)
    {
        foreach (var (write, _) in _parked[region])
            Complete(write, Outcome.Unknown);
        _parked[region].Clear();
    }
}
