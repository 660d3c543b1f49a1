using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using BuildRunner.Core.Recovery;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>
/// UDP and TCP of one address. Bounds: one UDP message at a time, at the rate of <see cref="DnsRateLimit"/>; 64 TCP connections (more are closed at
/// once) of at most 100 queries, of at most 4 KiB, with at most 5 s between two.
/// </summary>
internal sealed partial class DnsListener : IAsyncDisposable
{
    private const int ConnectionsMax = 64;
    private const int QueriesMax = 100;
    private const int QueryMax = 4096;
    private const int ErrorsMax = 100;
    private static readonly TimeSpan IdleMax = TimeSpan.FromSeconds(5);

    private readonly Socket _udp;
    private readonly Socket _tcp;
    private readonly DnsAnswerer _answer;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _end = new();
    private readonly ConcurrentDictionary<Task, byte> _connections = new();
    private readonly Task _loops;
    private int _disposed;

    private DnsListener(Socket udp, Socket tcp, DnsAnswerer answer, TimeProvider time, ILogger logger)
    {
        (_udp, _tcp, _answer, _time, _logger) = (udp, tcp, answer, time, logger);
        EndPoint = (IPEndPoint)udp.LocalEndPoint!;
        _loops = Task.WhenAll(Task.Run(DatagramsAsync), Task.Run(ConnectionsAsync));
    }

    public IPEndPoint EndPoint { get; }

    /// <summary>False: a socket has failed; a new listener is needed.</summary>
    public bool Listens => !_loops.IsCompleted;

    /// <summary>Port 0 takes a free one.</summary>
    /// <exception cref="SocketException">The address is taken, or not of this machine.</exception>
    public static DnsListener Start(IPEndPoint listen, DnsAnswerer answer, TimeProvider time, ILogger logger)
    {
        for (var attempt = 1; ; attempt++)
        {
            var tcp = new Socket(listen.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            var udp = new Socket(listen.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
            try
            {
                tcp.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true); // connections of an earlier process may still be ending
                tcp.Bind(listen);
                udp.Bind(tcp.LocalEndPoint!);
                tcp.Listen(ConnectionsMax);
                return new(udp, tcp, answer, time, logger);
            }
            catch (SocketException)
            {
                tcp.Dispose();
                udp.Dispose();
                if (listen.Port != 0 || attempt >= 5) // a free port of TCP need not be one of UDP
                    throw;
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await _end.CancelAsync();
        _udp.Dispose();
        _tcp.Dispose();
        await _loops.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await Task.WhenAll(_connections.Keys).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _end.Dispose();
    }

    private async Task DatagramsAsync()
    {
        var buffer = new byte[QueryMax];
        var limit = new DnsRateLimit(_time);
        var any = new IPEndPoint(EndPoint.AddressFamily == AddressFamily.InterNetwork ? IPAddress.Any : IPAddress.IPv6Any, 0);
        for (var errors = 0; !_end.IsCancellationRequested;)
        {
            try
            {
                var got = await _udp.ReceiveFromAsync(buffer, SocketFlags.None, any, _end.Token);
                var from = (IPEndPoint)got.RemoteEndPoint;
                var query = buffer.AsMemory(0, got.ReceivedBytes);
                var answer = from.Port == 0 ? null : limit.Take(from.Address) switch
                {
                    DnsPermit.Answer => _answer(query, from.Address, tcp: false),
                    DnsPermit.AskOverTcp => DnsResponder.AskOverTcp(query.Span),
                    _ => null,
                };
                if (answer is not null)
                    await _udp.SendToAsync(answer, SocketFlags.None, from, _end.Token);
                errors = 0;
            }
            catch (OperationCanceledException) { return; }
            catch (ObjectDisposedException) { return; }
            catch (SocketException error) // the asker is gone, or the message was too long; a socket that does nothing else is given up
            {
                if (++errors < ErrorsMax)
                    continue;
                LogFailed(_logger, error, "UDP", EndPoint);
                return;
            }
            catch (Exception error) { LogQuery(_logger, error, "UDP"); } // a query must not end the server, whatever is wrong with us
        }
    }

    private async Task ConnectionsAsync()
    {
        for (var errors = 0; !_end.IsCancellationRequested;)
        {
            Socket socket;
            try
            {
                socket = await _tcp.AcceptAsync(_end.Token);
                errors = 0;
            }
            catch (OperationCanceledException) { return; }
            catch (ObjectDisposedException) { return; }
            catch (SocketException error)
            {
                if (++errors < ErrorsMax)
                    continue;
                LogFailed(_logger, error, "TCP", EndPoint);
                return;
            }
            if (_connections.Count >= ConnectionsMax)
            {
                socket.Dispose();
                continue;
            }
            var task = Task.Run(() => ConversationAsync(socket));
            _connections[task] = 0;
            _ = task.ContinueWith(ended => _connections.TryRemove(ended, out _), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        }
    }

    private async Task ConversationAsync(Socket socket)
    {
        using var stream = new NetworkStream(socket, ownsSocket: true);
        try
        {
            var from = ((IPEndPoint)socket.RemoteEndPoint!).Address;
            var buffer = new byte[QueryMax];
            for (var asked = 0; asked < QueriesMax; asked++)
            {
                using var limit = CancellationTokenSource.CreateLinkedTokenSource(_end.Token);
                limit.CancelAfter(IdleMax);
                await stream.ReadExactlyAsync(buffer.AsMemory(0, 2), limit.Token);
                int length = BinaryPrimitives.ReadUInt16BigEndian(buffer);
                if (length > QueryMax)
                    return;
                await stream.ReadExactlyAsync(buffer.AsMemory(0, length), limit.Token);
                if (_answer(buffer.AsMemory(0, length), from, tcp: true) is not { } answer)
                    return;
                var framed = new byte[2 + answer.Length];
                BinaryPrimitives.WriteUInt16BigEndian(framed, (ushort)answer.Length);
                answer.CopyTo(framed, 2);
                await stream.WriteAsync(framed, limit.Token);
            }
        }
        catch (Exception error) when (error is OperationCanceledException or IOException or SocketException or ObjectDisposedException) { } // the asker ended it, or was too slow
        catch (Exception error) { LogQuery(_logger, error, "TCP"); }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "The name server's {Transport} socket at {Listen} has failed; it is opened anew.")]
    private static partial void LogFailed(ILogger logger, Exception error, string transport, IPEndPoint listen);

    [LoggerMessage(Level = LogLevel.Error, Message = "A query over {Transport} could not be answered.")]
    private static partial void LogQuery(ILogger logger, Exception error, string transport);
}

/// <summary>From a query to its answer; null: dropped.</summary>
internal delegate byte[]? DnsAnswerer(ReadOnlyMemory<byte> query, IPAddress from, bool tcp);
