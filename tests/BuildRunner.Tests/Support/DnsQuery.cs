using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace BuildRunner.Tests.Support;

/// <summary>Asks one DNS server for a name's A records over UDP, without any cache.</summary>
public static class DnsQuery
{
    public static async Task<IReadOnlyList<IPAddress>> AddressesAsync(IPEndPoint server, string name, TimeSpan timeout)
    {
        var question = Question(name);
        using var socket = new UdpClient(AddressFamily.InterNetwork);
        socket.Connect(server);
        await socket.SendAsync(question);
        using var limit = new CancellationTokenSource(timeout);
        while (true)
        {
            byte[] answer;
            try { answer = (await socket.ReceiveAsync(limit.Token)).Buffer; }
            catch (OperationCanceledException) { throw new SocketException((int)SocketError.TimedOut); }
            if (answer.Length >= 12 && answer[0] == question[0] && answer[1] == question[1])
                return Read(answer);
        }
    }

    private static byte[] Question(string name)
    {
        var bytes = new List<byte>();
        Span<byte> number = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16BigEndian(number, (ushort)Random.Shared.Next(65536));
        bytes.AddRange(number);
        bytes.AddRange([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
        foreach (var label in name.TrimEnd('.').Split('.'))
        {
            bytes.Add((byte)label.Length);
            bytes.AddRange(Encoding.ASCII.GetBytes(label));
        }

        bytes.AddRange([0, 0, 1, 0, 1]); // end of name, A, IN
        return [.. bytes];
    }

    private static List<IPAddress> Read(byte[] message)
    {
        var addresses = new List<IPAddress>();
        var at = 12;
        for (var i = 0; i < Short(4); i++)
            at = SkipName(at) + 4;
        for (var i = 0; i < Short(6); i++)
        {
            at = SkipName(at);
            var (type, length) = (Short(at), Short(at + 8));
            if (type == 1 && length == 4)
                addresses.Add(new IPAddress(message.AsSpan(at + 10, 4)));
            at += 10 + length;
        }

        return addresses;

        int Short(int offset) => BinaryPrimitives.ReadUInt16BigEndian(message.AsSpan(offset));

        int SkipName(int offset)
        {
            while (message[offset] is not 0 and < 0xC0)
                offset += message[offset] + 1;
            return offset + (message[offset] == 0 ? 1 : 2);
        }
    }
}
