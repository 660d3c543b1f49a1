using System.Collections.Concurrent;
using BuildRunner.Client.Routing;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Gateway;

/// <summary>Users' requests since the start; requests of our own are counted apart.</summary>
internal sealed class TrafficCounts(TimeProvider time)
{
    private readonly ConcurrentDictionary<string, PassiveWindow> _perRegion = new(StringComparer.Ordinal);
    private long _requests;
    private long _failed;
    private long _retried;
    private long _held;
    private long _unknown;
    private long _test;

    public long Test => Interlocked.Read(ref _test);

    public void Answered(bool failed)
    {
        Interlocked.Increment(ref _requests);
        if (failed)
            Interlocked.Increment(ref _failed);
    }

    public void Served(string region) => _perRegion.GetOrAdd(region, static (_, t) => new PassiveWindow(t), time).Record(failed: false);
    public void Retried() => Interlocked.Increment(ref _retried);
    public void Held() => Interlocked.Increment(ref _held);
    public void Unknown() => Interlocked.Increment(ref _unknown);
    public void Tested() => Interlocked.Increment(ref _test);

    public TrafficReading Read() => new()
    {
        Requests = Interlocked.Read(ref _requests),
        Failed = Interlocked.Read(ref _failed),
        Retried = Interlocked.Read(ref _retried),
        HeldWrites = Interlocked.Read(ref _held),
        Unknown = Interlocked.Read(ref _unknown),
        RatePerRegion = _perRegion.Select(p => (p.Key, Rate: p.Value.Read().Requests / 10.0)).Where(p => p.Rate > 0).ToDictionary(p => p.Key, p => p.Rate),
    };
}
