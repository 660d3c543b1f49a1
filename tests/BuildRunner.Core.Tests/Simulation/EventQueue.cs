namespace BuildRunner.Core.Tests.Simulation;

/// <summary>Something that happens to a process at a moment of virtual time.</summary>
internal struct SimulationEvent
{
    public long At;
    public int Order;
    public Op Op;

    /// <summary>Process that it happens to: a frozen one meets it when it is thawed, a dead one never.</summary>
    public int Process;
    public int A;
    public int B;
    public long C;
    public object? Body;
}

/// <summary>A binary heap by time, then by the order in which events were added.</summary>
internal sealed class EventQueue
{
    private SimulationEvent[] _heap = new SimulationEvent[256];
    private int _count;
    private int _order;

    public int Count => _count;

    public void Clear()
    {
        Array.Clear(_heap, 0, _count);
        (_count, _order) = (0, 0);
    }

    public void Add(SimulationEvent item)
    {
        item.Order = _order++;
        if (_count == _heap.Length)
            Array.Resize(ref _heap, _count * 2);
        var at = _count++;
        while (at > 0)
        {
            var parent = (at - 1) >> 1;
            if (!Before(in item, in _heap[parent]))
                break;
            _heap[at] = _heap[parent];
            at = parent;
        }
        _heap[at] = item;
    }

    public SimulationEvent Take()
    {
        var first = _heap[0];
        var last = _heap[--_count];
        _heap[_count] = default;
        var at = 0;
        while (true)
        {
            var child = (at * 2) + 1;
            if (child >= _count)
                break;
            if (child + 1 < _count && Before(in _heap[child + 1], in _heap[child]))
                child++;
            if (!Before(in _heap[child], in last))
                break;
            _heap[at] = _heap[child];
            at = child;
        }
        if (_count > 0)
            _heap[at] = last;
        return first;
    }

    private static bool Before(in SimulationEvent a, in SimulationEvent b) => a.At < b.At || (a.At == b.At && a.Order < b.Order);
}
