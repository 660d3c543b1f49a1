using System.Net;

namespace BuildRunner.Dev;

/// <summary>
/// All relays of a sandbox, by the links they belong to. Region F sees region T's 127.0.T.1:P at 127.F.T.1:P, and the server at 127.F.0.1;
/// the server sees regions at 127.9.T.1.
/// </summary>
internal sealed class RelayBoard : IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(50);

    private readonly List<Relay> _relays = [];
    private readonly Dictionary<(int Viewer, int Target), Link> _links = [];
    private readonly Lock _pass = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly Thread _following;

    public RelayBoard(DevLayout layout, bool wan)
    {
        int[] viewers = [.. DevRegion.All.Select(r => r.Number), DevRegion.ServerNumber];
        foreach (var viewer in viewers)
        {
            foreach (var target in DevRegion.All.Where(r => r.Number != viewer))
            {
                foreach (var port in layout.PortsOf(target))
                    Add(viewer, target.Number, wan, $"127.{viewer}.{target.Number}.1", target.Host, port);
            }
            if (viewer != DevRegion.ServerNumber)
                Add(viewer, 0, wan, $"127.{viewer}.0.1", "127.0.0.1", layout.ServerListen);
        }
        // A thread of its own: the pass is short, regular, and must not wait for a busy pool.
        _following = new Thread(Follow) { IsBackground = true, Name = "relays" };
        _following.Start();
    }

    /// <summary>Cuts, silences or opens every link of a region to other regions and to the server, both ways.</summary>
    public void Set(DevRegion region, LinkState state, Silence silence = Silence.Both)
    {
        lock (_pass)
        {
            var touched = _links.Values.Where(l => l.Viewer == region.Number || l.Target == region.Number).ToHashSet();
            foreach (var link in touched)
                link.Set(state, region.Number, silence);
            FollowOnce();
            if (state != LinkState.Refusing)
                return;
            foreach (var relay in _relays.Where(r => touched.Contains(r.Link)))
                relay.ResetConnections();
        }
    }

    /// <summary>Where the other regions and the server see this region, and it sees them.</summary>
    public IReadOnlyList<(Link Link, IPEndPoint At)> Of(DevRegion region) =>
        [.. _relays.Where(r => r.Link.Viewer == region.Number || r.Link.Target == region.Number).Select(r => (r.Link, r.At))];

    public LinkState StateOf(DevRegion region) => _links[(region.Number, 0)].State;

    /// <summary>Which way a silent region is silent; null: both ways, or not at all.</summary>
    public Silence? OneWayOf(DevRegion region) => _links[(region.Number, 0)].OneWayOf(region.Number);

    public void Dispose()
    {
        _stop.Cancel();
        _following.Join();
        foreach (var relay in _relays)
            relay.Dispose();
        _stop.Dispose();
    }

    private void Add(int viewer, int target, bool wan, string at, string host, int port)
    {
        if (!_links.TryGetValue((viewer, target), out var link))
            _links[(viewer, target)] = link = new Link(viewer, target, wan ? DevRegion.RoundTrip(viewer, target) / 2 : TimeSpan.Zero);
        _relays.Add(new Relay(link, new IPEndPoint(IPAddress.Parse(at), port), new IPEndPoint(IPAddress.Parse(host), port)));
    }

    private void Follow()
    {
        while (!_stop.Token.WaitHandle.WaitOne(Interval))
        {
            lock (_pass)
                FollowOnce();
        }
    }

    private void FollowOnce()
    {
        var listening = ListeningPorts.Read();
        foreach (var relay in _relays)
            relay.Follow(ListeningPorts.Holder(listening, relay.Target.Address, relay.Target.Port) is not null);
    }
}
