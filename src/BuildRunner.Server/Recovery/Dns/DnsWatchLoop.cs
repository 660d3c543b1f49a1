using System.Net.Sockets;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>Asks the resolvers of `dns.resolvers` what users would get; nothing that acts waits for it.</summary>
internal sealed class DnsWatchLoop(DnsLoop names, IPolicySource policy, TimeProvider time, ILogger<DnsWatchLoop> logger) : ReconcileLoop(Interval, time, logger)
{
    private const int ResolversMax = 16;
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);
    private readonly TimeProvider _time = time;
    private volatile IReadOnlyList<DnsResolverView> _current = [];

    public IReadOnlyList<DnsResolverView> Current => _current;

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        var before = _current.ToDictionary(v => (v.Name, v.Reading.Server), v => v);
        var now = _time.GetUtcNow();
        var read = await ReadAsync([.. names.Current.Select(v => v.Wanted)], cancel);
        _current = [.. read.Select(v => v with { Since = before.TryGetValue((v.Name, v.Reading.Server), out var old) && old.Reading.Said == v.Reading.Said ? old.Since : now })];
    }

    /// <summary>What each watched resolver answers now for each name.</summary>
    public async Task<IReadOnlyList<DnsResolverView>> ReadAsync(IReadOnlyList<DnsRecord> wanted, CancellationToken cancel) =>
        await Task.WhenAll(policy.Current.Dns.Resolvers.Distinct(StringComparer.Ordinal).Take(ResolversMax).SelectMany(resolver => wanted.Select(record => AskAsync(resolver, record, cancel))));

    private static async Task<DnsResolverView> AskAsync(string resolver, DnsRecord record, CancellationToken cancel)
    {
        DnsReading reading;
        try
        {
            var servers = await DnsAsk.ResolveAsync(resolver, cancel);
            reading = servers.Count == 0 ? new(resolver, null, "it has no address here") : (await DnsAsk.ValuesAsync(servers[0], record.Name, authoritative: false, cancel)).Reading;
        }
        catch (Exception error) when (error is SocketException or FormatException) { reading = new(resolver, null, "it has no address here"); }
        return new(record.Name, reading with { Server = resolver }, reading.Is(record), default);
    }
}

/// <param name="Name">The name that was asked for.</param>
/// <param name="Reading">What the resolver answers.</param>
/// <param name="Right">Whether it has the new value; until its time to live is over it may have the old one.</param>
/// <param name="Since">Since when it has answered so.</param>
internal sealed record DnsResolverView(string Name, DnsReading Reading, bool Right, DateTimeOffset Since);
