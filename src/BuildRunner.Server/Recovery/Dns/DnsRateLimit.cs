using System.Net;
using System.Net.Sockets;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>What becomes of a query over UDP.</summary>
internal enum DnsPermit
{
    Answer,

    /// <summary>A short answer that sends an honest asker to TCP, where the sender's address cannot be forged.</summary>
    AskOverTcp,
    Drop,
}

/// <summary>
/// Bounds what goes out over UDP to one network (/24, /56), so that nobody is flooded by answers to queries in his name: a burst of 1,000 answers,
/// 500 a second after it; every second query past that is told to come over TCP, the others are dropped. At most 4,096 networks are known at
/// once; past that, all new ones share one allowance. Used by one loop only.
/// </summary>
internal sealed class DnsRateLimit(TimeProvider time)
{
    public const int Burst = 1000;
    public const int PerSecond = 500;
    private const int NetworksMax = 4096;

    private readonly Dictionary<UInt128, Allowance> _networks = [];
    private readonly Allowance _others = new(time.GetTimestamp());

    public DnsPermit Take(IPAddress from)
    {
        var now = time.GetTimestamp();
        var mine = Of(Network(from), now);
        mine.Left = Math.Min(Burst, mine.Left + (time.GetElapsedTime(mine.At, now).TotalSeconds * PerSecond));
        mine.At = now;
        if (mine.Left >= 1)
        {
            mine.Left--;
            return DnsPermit.Answer;
        }
        mine.Over++;
        return mine.Over % 2 == 0 ? DnsPermit.AskOverTcp : DnsPermit.Drop;
    }

    private Allowance Of(UInt128 network, long now)
    {
        if (_networks.TryGetValue(network, out var mine))
            return mine;
        if (_networks.Count >= NetworksMax)
        {
            // Who has not asked for so long has his whole allowance again: nothing is lost by forgetting him.
            foreach (var (key, old) in _networks)
            {
                if (time.GetElapsedTime(old.At, now).TotalSeconds * PerSecond >= Burst)
                    _networks.Remove(key);
            }
            if (_networks.Count >= NetworksMax)
                return _others;
        }
        return _networks[network] = new(now);
    }

    private static UInt128 Network(IPAddress address)
    {
        if (address.IsIPv4MappedToIPv6)
            address = address.MapToIPv4();
        Span<byte> bytes = stackalloc byte[16];
        bytes.Clear();
        address.TryWriteBytes(bytes, out var written);
        bytes[(address.AddressFamily == AddressFamily.InterNetwork ? 3 : 7)..written].Clear();
        return new UInt128(System.Buffers.Binary.BinaryPrimitives.ReadUInt64BigEndian(bytes), (ulong)written);
    }

    private sealed class Allowance(long at)
    {
        public double Left { get; set; } = Burst;
        public long At { get; set; } = at;
        public long Over { get; set; }
    }
}
