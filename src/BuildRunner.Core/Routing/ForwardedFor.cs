using System.Net;

namespace BuildRunner.Core.Routing;

/// <summary>Who really asked: X-Forwarded-For is walked from the right over trusted networks only, so that nobody can claim another's address.</summary>
public static class ForwardedFor
{
    private const int HopsMax = 32;

    /// <summary>The client's address: the first from the right that no trusted network holds; the peer itself when it is not trusted.</summary>
    public static IPAddress Client(IPAddress peer, IReadOnlyList<string?> headers, IReadOnlyList<IPNetwork> trusted)
    {
        var client = Plain(peer);
        var hops = 0;
        for (var h = headers.Count - 1; h >= 0; h--)
        {
            var rest = headers[h].AsSpan();
            while (!rest.IsEmpty)
            {
                if (!IsTrusted(client, trusted) || ++hops > HopsMax)
                    return client;
                var comma = rest.LastIndexOf(',');
                if (!TryRead(rest[(comma + 1)..].Trim(), out var hop))
                    return client;
                client = hop;
                rest = comma < 0 ? default : rest[..comma];
            }
        }
        return client;
    }

    public static bool IsTrusted(IPAddress address, IReadOnlyList<IPNetwork> trusted)
    {
        var plain = Plain(address);
        foreach (var network in trusted)
        {
            if (network.Contains(plain))
                return true;
        }
        return false;
    }

    /// <summary>`203.0.113.7`, `203.0.113.7:4711`, `2001:db8::7`, `[2001:db8::7]:4711`.</summary>
    private static bool TryRead(ReadOnlySpan<char> text, out IPAddress address)
    {
        if (text.StartsWith('['))
        {
            var end = text.IndexOf(']');
            text = end < 0 ? default : text[1..end];
        }
        else if (text.Count(':') == 1 && text.Contains('.'))
        {
            text = text[..text.IndexOf(':')];
        }
        // A bare number is an address to IPAddress, and a mistake to everyone else.
        if (text.IndexOfAny('.', ':') >= 0 && IPAddress.TryParse(text, out var found))
        {
            address = Plain(found);
            return true;
        }
        address = IPAddress.None;
        return false;
    }

    private static IPAddress Plain(IPAddress address) => address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
}
