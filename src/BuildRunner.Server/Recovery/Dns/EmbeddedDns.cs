using System.Net;
using System.Net.Sockets;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Hosting.Geo;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>
/// An authoritative server inside ours, for `br dev` and small houses (what it says is <see cref="DnsResponder"/>). It answers from memory, so a
/// store that is slow or away does not silence it.
/// </summary>
internal sealed partial class EmbeddedDns(DnsBook book, IPolicySource policy, IGeoReader geo, TimeProvider time, ILogger<EmbeddedDns> logger) : IDnsDriver, IHostedService, IAsyncDisposable
{
    private readonly SemaphoreSlim _one = new(1, 1);
    private volatile DnsZone? _zone;
    private volatile DnsListener? _listener;
    private string? _listen;
    private string? _failed;
    private int _disposed;

    public string Name => DnsRules.Embedded;

    /// <summary>Where it answers; null: nowhere.</summary>
    public IPEndPoint? EndPoint => _listener is { Listens: true } listener ? listener.EndPoint : null;

    public Task StartAsync(CancellationToken cancellationToken) => RefreshAsync(cancellationToken);

    public async Task StopAsync(CancellationToken cancellationToken) => await ListenAsync(null);

    /// <summary>Called twice where a container knows it by two names.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await ListenAsync(null);
        _one.Dispose();
    }

    public async Task RefreshAsync(CancellationToken cancel)
    {
        var rules = policy.Current.Dns;
        var chosen = rules.Driver == Name && rules.Name.Length > 0;
        if (chosen)
            await ReloadAsync(cancel);
        await ListenAsync(chosen ? rules.Listen : null);
    }

    public async Task<DnsWrite> ApplyAsync(DnsRecord record, Fence? fence, CancellationToken cancel)
    {
        try
        {
            var changed = await book.PutAsync(record, fence, cancel);
            await ReloadAsync(cancel);
            return new DnsWrite.Done(changed);
        }
        catch (StoreFencedException error)
        {
            return DnsWrite.Fail(DnsFaultKind.Superseded, "store", error.Message, "Nothing is to be done: the server that leads keeps the names.");
        }
    }

    public async Task<IReadOnlyList<DnsReading>> ReadAsync(string name, CancellationToken cancel)
    {
        if (EndPoint is not { } listens)
            return [new(policy.Current.Dns.Listen, null, _failed ?? "it does not listen")];
        var asked = listens.Address.Equals(IPAddress.Any) ? new(IPAddress.Loopback, listens.Port) : listens.Address.Equals(IPAddress.IPv6Any) ? new(IPAddress.IPv6Loopback, listens.Port) : listens;
        return [(await DnsAsk.ValuesAsync(asked, name, authoritative: true, cancel)).Reading];
    }

    private async Task ReloadAsync(CancellationToken cancel)
    {
        var (records, serial) = await book.ZoneAsync(cancel);
        _zone = DnsZone.Of(policy.Current, records, serial);
    }

    private async Task ListenAsync(string? listen)
    {
        await _one.WaitAsync();
        try
        {
            if (listen == _listen && (listen is null || EndPoint is not null))
                return;
            if (_listener is { } old)
            {
                _listener = null;
                await old.DisposeAsync();
            }
            _listen = listen;
            if (listen is null)
                return;
            _listener = DnsListener.Start(IPEndPoint.Parse(listen), Answer, time, logger);
            _failed = null;
            LogListening(logger, policy.Current.Dns.Name, listen);
        }
        catch (Exception error) when (error is SocketException or FormatException)
        {
            // Names are not worth the house: without them the gateways still serve, and `br dr status` says what is wrong.
            if (_failed is null)
                LogNoListener(logger, error, listen!);
            _failed = $"it cannot listen at {listen} ({error.Message}): free the port, or write another under dns.listen";
        }
        finally { _one.Release(); }
    }

    private byte[]? Answer(ReadOnlyMemory<byte> query, IPAddress from, bool tcp) =>
        DnsResponder.Answer(_zone, query.Span, from, tcp, address => geo.Find(address)?.Point, Random.Shared.NextDouble());

    [LoggerMessage(Level = LogLevel.Information, Message = "Answering for {Zone} at {Listen} (UDP and TCP).")]
    private static partial void LogListening(ILogger logger, string zone, string listen);

    [LoggerMessage(Level = LogLevel.Error, Message = "The embedded name server cannot listen at {Listen}; it is tried again.")]
    private static partial void LogNoListener(ILogger logger, Exception error, string listen);
}
