using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;
using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Guard;

/// <summary>
/// The guard as the synchronous standby `br_gate`: PostgreSQL answers a commit only when the gate has confirmed its position, and the gate confirms
/// nothing from the deadline on. So a guard that is late, frozen or dead lets no commit through. It keeps none of the WAL that it is sent: the
/// primary's own disk is what holds it, and the confirmation says only "in time". PostgreSQL's streaming replication protocol, version 3.0.
/// </summary>
internal sealed class GuardGate(GuardOptions options, Func<long?> deadline)
{
    private const int ProtocolVersion = 196608;
    private const int BufferBytes = 64 * 1024;
    private const int MessageBytesMax = 1024 * 1024;
    private static readonly TimeSpan Again = TimeSpan.FromMilliseconds(20);

    /// <summary>How soon an extended deadline lets waiting commits through; nothing waits, nothing is looked at.</summary>
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan Idle = TimeSpan.FromMilliseconds(500);

    /// <summary>Looks at the beginning that are closer together, until PostgreSQL has seen that the gate has caught up.</summary>
    private static readonly TimeSpan Soon = TimeSpan.FromMilliseconds(10);
    private const int QuietLooks = 50;

    private byte[] _buffer = new byte[BufferBytes];
    private int _start;
    private int _end;
    private int _begun;

    /// <summary>PostgreSQL sends to the gate now.</summary>
    public bool Connected { get; private set; }

    /// <summary>Begins with the first deadline; before it there is no lease, and nothing to hold back.</summary>
    public void Begin()
    {
        if (Interlocked.Exchange(ref _begun, 1) == 0)
            new Thread(Run) { IsBackground = true, Name = "gate", Priority = ThreadPriority.AboveNormal }.Start();
    }

    private void Run()
    {
        for (; ; Thread.Sleep(Again))
        {
            try { Serve(); }
            catch (Exception error) when (error is SocketException or IOException or FormatException) { } // PostgreSQL is down, or restarts: commits wait meanwhile
            finally { Connected = false; }
        }
    }

    private void Serve()
    {
        (_start, _end) = (0, 0);
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Connect(new UnixDomainSocketEndPoint($"{options.PermitFolder}/.s.PGSQL.{options.Port.ToString(CultureInfo.InvariantCulture)}"));
        socket.Send(Startup());
        Ready(socket, null);
        socket.Send(Query("IDENTIFY_SYSTEM"));
        var (timeline, at) = ("", "");
        Ready(socket, row => (timeline, at) = (row[1], row[2]));
        socket.Send(Query($"START_REPLICATION PHYSICAL {at} TIMELINE {timeline}"));
        Stream(socket, Lsn.Parse(at).Bytes);
    }

    private void Stream(Socket socket, ulong begun)
    {
        var (held, confirmed, quiet) = (begun, 0UL, 0);
        while (true)
        {
            while (Next(out var type, out var body))
            {
                switch (type)
                {
                    case 'W':
                        Connected = true;
                        break;
                    case 'd' when body[0] == 'w':
                        held = Math.Max(held, BinaryPrimitives.ReadUInt64BigEndian(body[1..]) + (ulong)(body.Length - 25));
                        break;
                    case 'd' when body[0] == 'k' && body[17] != 0:
                        // Too late, the answer names no position: what was confirmed in time must not let a commit through now.
                        Confirm(socket, InTime() ? confirmed : 0);
                        break;
                    case 'E':
                        throw new IOException(Encoding.UTF8.GetString(body));
                    case 'c' or 'C':
                        throw new IOException("the timeline ended");
                }
            }
            if (held > confirmed && Connected && InTime())
            {
                confirmed = held;
                Confirm(socket, confirmed);
            }
            if (socket.Poll(held > confirmed ? Look : quiet < QuietLooks ? Soon : Idle, SelectMode.SelectRead))
                Fill(socket);
            else if (held == confirmed && ++quiet > 0 && InTime())
                Confirm(socket, confirmed); // PostgreSQL lets nobody through for a standby that was still catching up when it confirmed
        }
    }

    private bool InTime() => deadline() is { } end && GuardNative.BootMilliseconds() < end;

    private static void Confirm(Socket socket, ulong position)
    {
        Span<byte> message = stackalloc byte[39];
        message[0] = (byte)'d';
        BinaryPrimitives.WriteInt32BigEndian(message[1..], 38);
        message[5] = (byte)'r';
        BinaryPrimitives.WriteUInt64BigEndian(message[6..], position);
        BinaryPrimitives.WriteUInt64BigEndian(message[14..], position);
        BinaryPrimitives.WriteUInt64BigEndian(message[22..], position);
        BinaryPrimitives.WriteInt64BigEndian(message[30..], (DateTime.UtcNow - new DateTime(2000, 1, 1, 0, 0, 0, DateTimeKind.Utc)).Ticks / 10);
        message[38] = 0;
        socket.Send(message);
    }

    /// <summary>Reads up to "ready"; gives the last row of text values.</summary>
    private void Ready(Socket socket, Action<string[]>? row)
    {
        while (true)
        {
            while (Next(out var type, out var body))
            {
                switch (type)
                {
                    case 'Z':
                        return;
                    case 'E':
                        throw new IOException(Encoding.UTF8.GetString(body));
                    case 'R' when BinaryPrimitives.ReadInt32BigEndian(body) != 0:
                        throw new IOException("PostgreSQL asks the gate for a password");
                    case 'D':
                        row?.Invoke(Row(body));
                        break;
                }
            }
            Fill(socket);
        }
    }

    /// <summary>The next whole message in the buffer; its body is valid until the next read.</summary>
    private bool Next(out char type, out ReadOnlySpan<byte> body)
    {
        type = '\0';
        body = default;
        if (_end - _start < 5)
            return false;
        var length = BinaryPrimitives.ReadInt32BigEndian(_buffer.AsSpan(_start + 1));
        if (length is < 4 or > MessageBytesMax)
            throw new IOException($"a message of {length} bytes");
        if (_end - _start < length + 1)
            return false;
        type = (char)_buffer[_start];
        body = _buffer.AsSpan(_start + 5, length - 4);
        _start += length + 1;
        return true;
    }

    private void Fill(Socket socket)
    {
        if (_start > 0)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            (_start, _end) = (0, _end - _start);
        }
        if (_end == _buffer.Length)
            Array.Resize(ref _buffer, _buffer.Length * 2); // at most the largest message, twice
        var read = socket.Receive(_buffer.AsSpan(_end));
        if (read == 0)
            throw new IOException("PostgreSQL closed the line");
        _end += read;
    }

    private static string[] Row(ReadOnlySpan<byte> body)
    {
        var values = new string[BinaryPrimitives.ReadInt16BigEndian(body)];
        body = body[2..];
        for (var i = 0; i < values.Length; i++)
        {
            var length = BinaryPrimitives.ReadInt32BigEndian(body);
            values[i] = length < 0 ? "" : Encoding.UTF8.GetString(body.Slice(4, length));
            body = body[(4 + Math.Max(0, length))..];
        }
        return values;
    }

    private static byte[] Startup()
    {
        var parameters = Encoding.UTF8.GetBytes($"user\0postgres\0replication\0true\0application_name\0{GateName.Value}\0\0");
        var message = new byte[8 + parameters.Length];
        BinaryPrimitives.WriteInt32BigEndian(message, message.Length);
        BinaryPrimitives.WriteInt32BigEndian(message.AsSpan(4), ProtocolVersion);
        parameters.CopyTo(message, 8);
        return message;
    }

    private static byte[] Query(string text)
    {
        var message = new byte[6 + Encoding.UTF8.GetByteCount(text)];
        message[0] = (byte)'Q';
        BinaryPrimitives.WriteInt32BigEndian(message.AsSpan(1), message.Length - 1);
        Encoding.UTF8.GetBytes(text, message.AsSpan(5));
        return message;
    }
}
