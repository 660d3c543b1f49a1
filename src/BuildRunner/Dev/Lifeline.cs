using System.Net.Sockets;

namespace BuildRunner.Dev;

/// <summary>
/// A socket that guards connect to and hold. It carries nothing: when the supervisor is gone, however it went, the kernel closes every
/// connection, and each guard ends its PostgreSQL.
/// </summary>
internal sealed class Lifeline : IDisposable
{
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly List<Socket> _held = [];

    public Lifeline(string path)
    {
        File.Delete(path);
        _listener.Bind(new UnixDomainSocketEndPoint(path));
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        _listener.Listen(64);
        _ = AcceptAsync();
    }

    public void Dispose()
    {
        _listener.Dispose();
        lock (_held)
            _held.ForEach(socket => socket.Dispose());
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
                _ = HoldAsync(await _listener.AcceptAsync());
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException) { } // closed: that is how it ends
    }

    private async Task HoldAsync(Socket socket)
    {
        lock (_held)
            _held.Add(socket);
        try
        {
            var nothing = new byte[16];
            while (await socket.ReceiveAsync(nothing) > 0) { }
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException) { } // the guard is gone, or we are
        lock (_held)
            _held.Remove(socket);
        socket.Dispose();
    }
}
