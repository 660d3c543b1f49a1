using System.Collections.Concurrent;
using System.Net.Sockets;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Gateway;

/// <summary>Connections to the regions' instances: one pool a region, kept over table changes; requests now at each instance.</summary>
internal sealed class Origins(INetwork network, TimeSpan connectTimeout) : IDisposable
{
    private const int CountersMax = 10_000;
    private readonly ConcurrentDictionary<string, HttpMessageInvoker> _invokers = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, Counter> _inFlight = new(StringComparer.Ordinal);

    public HttpMessageInvoker For(string region) => _invokers.GetOrAdd(region, static (_, self) => self.Make(), this);

    public int InFlight(string address) => _inFlight.TryGetValue(address, out var count) ? count.Value : 0;

    public Counter CounterOf(string address)
    {
        if (_inFlight.Count > CountersMax)
            _inFlight.Clear(); // instances that are long gone; a count lost costs one less even choice
        return _inFlight.GetOrAdd(address, static _ => new Counter());
    }

    public void Dispose()
    {
        foreach (var invoker in _invokers.Values)
            invoker.Dispose();
    }

    private HttpMessageInvoker Make() => new(new SocketsHttpHandler
    {
        UseProxy = false,
        UseCookies = false,
        AllowAutoRedirect = false,
        AutomaticDecompression = System.Net.DecompressionMethods.None,
        ActivityHeadersPropagator = null,
        ConnectTimeout = Timeout.InfiniteTimeSpan, // ours below says what failed
        ConnectCallback = ConnectAsync,
        PooledConnectionLifetime = TimeSpan.FromMinutes(10),
        // Below the keep-alive of common servers (Kestrel 130 s, node 5 s is the shortest met): a request rarely meets a closing connection.
        PooledConnectionIdleTimeout = TimeSpan.FromSeconds(30),
        MaxConnectionsPerServer = 1024,
        ResponseDrainTimeout = TimeSpan.FromSeconds(2),
        EnableMultipleHttp2Connections = true,
    });

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(connectTimeout);
        var (host, port) = (context.DnsEndPoint.Host, context.DnsEndPoint.Port);
        try
        {
            return new NetworkStream(await Network.ConnectAsync(network, host, port, limit.Token), ownsSocket: true);
        }
        catch (SocketException error)
        {
            throw new OriginUnreachableException($"{host}:{port}: {Words(error.SocketErrorCode)}", error);
        }
        catch (OperationCanceledException error) when (!cancel.IsCancellationRequested)
        {
            throw new OriginUnreachableException($"{host}:{port}: no connection within {connectTimeout.TotalSeconds:0.#} s", error);
        }
    }

    private static string Words(SocketError error) => error == SocketError.ConnectionRefused ? "connection refused" : $"no connection ({error})";
}

/// <summary>No connection came about: proof that nothing was sent.</summary>
internal sealed class OriginUnreachableException(string message, Exception inner) : IOException(message, inner)
{
    /// <summary>The proof in what a sending failed with; null: something may have been sent.</summary>
    public static OriginUnreachableException? In(Exception? error)
    {
        for (var at = error; at is not null; at = at.InnerException)
        {
            if (at is OriginUnreachableException found)
                return found;
        }
        return null;
    }
}
