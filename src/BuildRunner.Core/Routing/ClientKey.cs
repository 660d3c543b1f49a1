using System.Net;
using System.Net.Sockets;

namespace BuildRunner.Core.Routing;

/// <summary>What stands for a client in every choice that must come out the same for the same client: its address, for IPv6 its /64.</summary>
public static class ClientKey
{
    private const ulong Offset = 14695981039346656037;
    private const ulong Prime = 1099511628211;

    public static ulong Of(IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        var plain = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
        plain.TryWriteBytes(bytes, out var length);
        // A household has a /64 and its devices change the rest of the address every day.
        if (plain.AddressFamily == AddressFamily.InterNetworkV6)
            length = 8;
        return Hash(bytes[..length], Offset);
    }

    /// <summary>A number 0..99 that depends on the client and on what is chosen: another question gets an independent answer.</summary>
    public static int Percentile(ulong client, string question) => (int)(Mix(client, question) % 100);

    public static ulong Mix(ulong client, string question)
    {
        var hash = Offset;
        foreach (var letter in question)
            hash = (hash ^ letter) * Prime;
        hash ^= client;
        // Finaliser of MurmurHash3: spreads neighbouring addresses over the whole range.
        hash ^= hash >> 33;
        hash *= 0xff51afd7ed558ccd;
        hash ^= hash >> 33;
        hash *= 0xc4ceb9fe1a85ec53;
        return hash ^ (hash >> 33);
    }

    private static ulong Hash(ReadOnlySpan<byte> bytes, ulong hash)
    {
        foreach (var b in bytes)
            hash = (hash ^ b) * Prime;
        return hash;
    }
}
