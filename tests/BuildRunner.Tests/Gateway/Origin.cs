using System.Net;
using System.Net.Sockets;
using System.Text;

namespace BuildRunner.Tests.Gateway;

/// <summary>A real origin on a loopback port that answers, refuses, closes, hangs, as a test tells it; counts what it was sent.</summary>
internal sealed class Origin : IAsyncDisposable
{
    private readonly TcpListener _listener;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _accepting;
    private int _requests;

    public Origin()
    {
        _listener = new TcpListener(IPAddress.Loopback, 0);
        _listener.Start();
        Address = $"http://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}";
        _accepting = AcceptAsync();
    }

    public string Address { get; }

    /// <summary>Requests whose head has arrived whole.</summary>
    public int Requests => Volatile.Read(ref _requests);

    /// <summary>Head and body of the last request.</summary>
    public string Last { get; private set; } = "";

    /// <summary>What to do with a request; null: close without an answer.</summary>
    public Func<string, Task<string?>> Answer { get; set; } = static _ => Task.FromResult<string?>(Ok());

    public static string Ok(string headers = "", string body = "fine", int status = 200) =>
        $"HTTP/1.1 {status} X\r\nContent-Length: {body.Length}\r\n{headers}\r\n{body}";

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Stop();
        await _accepting;
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
                _ = ServeAsync(await _listener.AcceptSocketAsync(_stop.Token));
        }
        catch (Exception error) when (error is OperationCanceledException or SocketException or ObjectDisposedException) { }
    }

    private async Task ServeAsync(Socket socket)
    {
        try
        {
            await using var stream = new NetworkStream(socket, ownsSocket: true);
            var buffer = new byte[64 * 1024];
            while (true)
            {
                var text = "";
                while (!IsWhole(text))
                {
                    var read = await stream.ReadAsync(buffer, _stop.Token);
                    if (read == 0)
                        return;
                    text += Encoding.Latin1.GetString(buffer, 0, read);
                }
                Last = text;
                Interlocked.Increment(ref _requests);
                if (await Answer(text) is not { } answer)
                    return;
                await stream.WriteAsync(Encoding.Latin1.GetBytes(answer), _stop.Token);
            }
        }
        catch (Exception error) when (error is OperationCanceledException or IOException or ObjectDisposedException) { }
    }

    private static bool IsWhole(string text)
    {
        var end = text.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        if (end < 0)
            return false;
        var at = text.IndexOf("Content-Length: ", StringComparison.OrdinalIgnoreCase);
        if (at < 0 || at > end)
            return true;
        var length = int.Parse(text[(at + 16)..text.IndexOf("\r\n", at, StringComparison.Ordinal)], System.Globalization.CultureInfo.InvariantCulture);
        return text.Length >= end + 4 + length;
    }
}
