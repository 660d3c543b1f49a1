using System.Collections.Concurrent;
using BuildRunner.Client.Regions;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Gateway;

/// <summary>What this gateway sees of the regions' services itself, by probes and by users' requests: it decides locally, also when the server is away.</summary>
internal sealed class TargetWatch(Prober prober, TimeProvider time)
{
    private const int RefusalsMax = 3;
    private static readonly TimeSpan OpenFor = TimeSpan.FromSeconds(2);
    private readonly ConcurrentDictionary<(string Region, string Service), Circuit> _circuits = new();
    private IReadOnlySet<(string Region, string Service)> _seenDown = new HashSet<(string, string)>();
    private IReadOnlySet<string> _addressesDown = new HashSet<string>();
    private IReadOnlyList<TargetReading> _readings = [];

    /// <summary>Services in regions that are taken last.</summary>
    public IReadOnlySet<(string Region, string Service)> SeenDown => Volatile.Read(ref _seenDown);

    /// <summary>Addresses of instances that fail their probes.</summary>
    public IReadOnlySet<string> AddressesDown => Volatile.Read(ref _addressesDown);

    public IReadOnlyList<TargetReading> Readings => Volatile.Read(ref _readings);

    /// <summary>A user's request ended well or badly there. Three refused connections in a row and the service is taken last for two seconds, then tried again.</summary>
    public void Record(string region, string service, bool failed, bool unreachable)
    {
        prober.RecordPassive(region, service, failed);
        if (!unreachable && !_circuits.ContainsKey((region, service)))
            return;
        var circuit = _circuits.GetOrAdd((region, service), static _ => new Circuit());
        bool isOpen;
        lock (circuit)
        {
            circuit.Refused = unreachable ? Math.Min(circuit.Refused + 1, RefusalsMax) : 0;
            if (unreachable)
                circuit.Since = time.GetTimestamp();
            isOpen = circuit.Refused >= RefusalsMax;
        }
        if (isOpen && !SeenDown.Contains((region, service)))
            Refresh();
    }

    /// <summary>Makes the sets anew; called at each report and when a circuit opens or closes.</summary>
    public void Refresh()
    {
        var readings = prober.Read();
        var down = readings.Where(r => r.Up == false).Select(r => (r.Region, r.Service)).ToHashSet();
        foreach (var (key, circuit) in _circuits)
        {
            lock (circuit)
            {
                if (circuit.Refused >= RefusalsMax && time.GetElapsedTime(circuit.Since) < OpenFor)
                    down.Add(key);
            }
        }
        Volatile.Write(ref _readings, readings);
        Volatile.Write(ref _seenDown, down);
        // A probe's address is a URL with a path; an instance's is its base.
        Volatile.Write(ref _addressesDown, readings.SelectMany(r => r.Down).Select(Base).ToHashSet(StringComparer.Ordinal));
    }

    private static string Base(string address) => Uri.TryCreate(address, UriKind.Absolute, out var uri) ? uri.GetLeftPart(UriPartial.Authority) : address;

    private sealed class Circuit
    {
        public int Refused { get; set; }
        public long Since { get; set; }
    }
}
