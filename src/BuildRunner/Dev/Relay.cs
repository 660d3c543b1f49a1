using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace BuildRunner.Dev;

/// <summary>
/// One port of a region as another region sees it. It listens while its target does, so that "connection refused" means here what it means
/// without a relay: nobody took the request.
/// </summary>
internal sealed class Relay(Link link, IPEndPoint at, IPEndPoint target) : IDisposable
{
    private readonly ConcurrentDictionary<RelayConnection, byte> _connections = new();
    private Socket? _listener;

    public Link Link => link;
    public IPEndPoint At => at;
    public IPEndPoint Target => target;

    /// <summary>Follows the link's state and whether the target listens.</summary>
    public void Follow(bool targetListens)
    {
        var wanted = link.State switch
        {
            LinkState.Open => targetListens,
            LinkState.Silent => true, // a silent link answers the handshake and nothing else
            _ => false,
        };
        if (wanted && _listener is null)
            Open();
        else if (!wanted && _listener is not null)
            Close();
    }

    public void ResetConnections()
    {
        foreach (var connection in _connections.Keys)
            connection.Reset();
    }

    public void Dispose()
    {
        Close();
        ResetConnections();
    }

    private void Open()
    {
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            listener.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            listener.Bind(at);
            listener.Listen(512);
        }
        catch (SocketException)
        {
            listener.Dispose(); // taken for the moment: the next pass tries again
            return;
        }
        _listener = listener;
        _ = AcceptAsync(listener);
    }

    private void Close()
    {
        _listener?.Dispose();
        _listener = null;
    }

    private async Task AcceptAsync(Socket listener)
    {
        try
        {
            while (true)
                _ = ServeAsync(await listener.AcceptAsync());
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException) { } // closed: that is how it ends
    }

    private async Task ServeAsync(Socket near)
    {
        var connection = new RelayConnection(link, near, target);
        _connections[connection] = 0;
        try { await connection.RunAsync(); }
        finally { _connections.TryRemove(connection, out _); }
    }
}
