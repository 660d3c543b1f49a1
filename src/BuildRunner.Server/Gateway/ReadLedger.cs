using System.Collections.Concurrent;

namespace BuildRunner.Server.Gateway;

/// <summary>Reads of a database that are out, by the region they went to: a region whose copy is about to stop is waited for.</summary>
internal sealed class ReadLedger
{
    private readonly ConcurrentDictionary<(string Database, string Region), Counter> _inFlight = new();

    public int InFlight(string database, string region) => _inFlight.TryGetValue((database, region), out var count) ? count.Value : 0;

    public void Begin(string database, string region) => _inFlight.GetOrAdd((database, region), static _ => new Counter()).Increment();

    public void End(string database, string region) => _inFlight[(database, region)].Decrement();
}
