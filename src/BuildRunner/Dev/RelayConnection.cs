using System.Buffers;
using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;

namespace BuildRunner.Dev;

/// <summary>
/// One connection through a link: bytes come out one way's delay after they went in, in both directions, each of which ends by itself.
/// Bounds: 4 MiB under way in each direction; then the sender waits, as on a real line.
/// </summary>
internal sealed class RelayConnection(Link link, Socket near, IPEndPoint target) : IDisposable
{
    private const int Chunk = 64 * 1024;
    private const int ChunksMax = 64;

    private readonly Socket _far = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
    private readonly CancellationTokenSource _end = new();

    /// <summary>Ends when both directions have, or with the first error or <see cref="Reset"/>.</summary>
    public async Task RunAsync()
    {
        var begun = TimeProvider.System.GetTimestamp();
        near.NoDelay = true;
        try
        {
            await link.Passing.WaitAsync(_end.Token);
            await _far.ConnectAsync(target, _end.Token);
            // The kernel answered the caller's handshake at once: its first bytes make up for the round trip that a real one takes.
            var out_ = PumpAsync(near, _far, begun, link.OneWay * 3, () => link.PassingOut);
            var back = PumpAsync(_far, near, begun, TimeSpan.Zero, () => link.PassingBack);
            await await Task.WhenAny(out_, back);
            await Task.WhenAll(out_, back);
        }
        catch (Exception error) when (error is SocketException or OperationCanceledException or ObjectDisposedException or ChannelClosedException)
        {
            Abort(near);
            Abort(_far);
        }
        finally
        {
            await _end.CancelAsync();
            Dispose();
        }
    }

    /// <summary>Both ends get a reset.</summary>
    public void Reset()
    {
        try { _end.Cancel(); }
        catch (ObjectDisposedException) { } // it ended meanwhile
    }

    public void Dispose()
    {
        near.Dispose();
        _far.Dispose();
        _end.Dispose();
    }

    private Task PumpAsync(Socket from, Socket to, long begun, TimeSpan firstAfter, Func<Task> passing) =>
        link.OneWay == TimeSpan.Zero ? CopyAsync(from, to, passing) : DelayAsync(from, to, begun, firstAfter, passing);

    private async Task CopyAsync(Socket from, Socket to, Func<Task> passing)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(Chunk);
        try
        {
            while (await from.ReceiveAsync(buffer, _end.Token) is > 0 and var count)
            {
                await Gate(passing());
                await SendAllAsync(to, buffer.AsMemory(0, count));
            }
            await Gate(passing());
            to.Shutdown(SocketShutdown.Send);
        }
        finally { ArrayPool<byte>.Shared.Return(buffer); }
    }

    private async Task DelayAsync(Socket from, Socket to, long begun, TimeSpan firstAfter, Func<Task> passing)
    {
        var line = Channel.CreateBounded<(byte[] Bytes, int Count, long At)>(new BoundedChannelOptions(ChunksMax) { SingleReader = true, SingleWriter = true });
        var receiving = ReceiveAsync(from, line.Writer);
        var time = TimeProvider.System;
        await foreach (var (bytes, count, at) in line.Reader.ReadAllAsync(_end.Token))
        {
            var left = Max(link.OneWay - time.GetElapsedTime(at), firstAfter - time.GetElapsedTime(begun));
            if (left > TimeSpan.Zero)
                await Task.Delay(left, _end.Token);
            await Gate(passing());
            await SendAllAsync(to, bytes.AsMemory(0, count));
            ArrayPool<byte>.Shared.Return(bytes);
        }
        await receiving;
        to.Shutdown(SocketShutdown.Send);
    }

    /// <summary>Reads into the line; the last entry, empty, is the end of the stream, which travels as long as bytes do.</summary>
    private async Task ReceiveAsync(Socket from, ChannelWriter<(byte[], int, long)> line)
    {
        try
        {
            int count;
            do
            {
                // Waits without a buffer: a thousand idle connections hold none.
                await from.ReceiveAsync(Memory<byte>.Empty, _end.Token);
                var bytes = ArrayPool<byte>.Shared.Rent(Chunk);
                count = await from.ReceiveAsync(bytes, _end.Token);
                await line.WriteAsync((bytes, count, TimeProvider.System.GetTimestamp()), _end.Token);
            }
            while (count > 0);
            line.Complete();
        }
        catch (Exception error)
        {
            line.Complete(error);
        }
    }

    private ValueTask Gate(Task passing) => passing.IsCompleted ? ValueTask.CompletedTask : new(passing.WaitAsync(_end.Token));

    private async ValueTask SendAllAsync(Socket to, ReadOnlyMemory<byte> bytes)
    {
        while (bytes.Length > 0)
            bytes = bytes[await to.SendAsync(bytes, _end.Token)..];
    }

    private static void Abort(Socket socket)
    {
        try { socket.LingerState = new LingerOption(true, 0); }
        catch (Exception error) when (error is SocketException or ObjectDisposedException) { } // it is closed already
    }

    private static TimeSpan Max(TimeSpan a, TimeSpan b) => a > b ? a : b;
}
