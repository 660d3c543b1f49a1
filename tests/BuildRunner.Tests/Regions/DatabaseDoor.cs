using System.Net;
using System.Net.Sockets;

namespace BuildRunner.Tests.Regions;

/// <summary>Answers a knock as PostgreSQL does, for houses whose databases are only reports.</summary>
internal sealed class DatabaseDoor : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _loop;

    public DatabaseDoor()
    {
        _listener.Start();
        _loop = AnswerAsync();
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        _listener.Dispose();
        _stop.Dispose();
    }

    private async Task AnswerAsync()
    {
        var question = new byte[8];
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                using var caller = await _listener.AcceptSocketAsync(_stop.Token);
                await caller.ReceiveAsync(question, _stop.Token);
                await caller.SendAsync("N"u8.ToArray(), _stop.Token);
            }
            catch (Exception error) when (error is OperationCanceledException or SocketException) { } // it left, or the house closes
        }
    }
}
