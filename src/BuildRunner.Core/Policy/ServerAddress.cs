using System.Net;

namespace BuildRunner.Core.Policy;

/// <summary>A name server as policies write it: `10.0.0.53`, `ns1.example.org:5353`, `2001:db8::1`, `[2001:db8::1]:53`.</summary>
public readonly record struct ServerAddress(string Host, int Port)
{
    public const int DefaultPort = 53;

    public static bool TryParse(string text, out ServerAddress address)
    {
        address = default;
        var (host, port) = (text, DefaultPort);
        if (text.StartsWith('['))
        {
            var end = text.IndexOf(']', StringComparison.Ordinal);
            if (end < 0 || (end + 1 < text.Length && text[end + 1] != ':'))
                return false;
            host = text[1..end];
            if (!IPAddress.TryParse(host, out _) || (end + 1 < text.Length && !IsPort(text[(end + 2)..], out port)))
                return false;
        }
        else if (text.Count(c => c == ':') == 1)
        {
            var cut = text.IndexOf(':', StringComparison.Ordinal);
            host = text[..cut];
            if (!IsPort(text[(cut + 1)..], out port))
                return false;
        }
        if (Uri.CheckHostName(host) == UriHostNameType.Unknown)
            return false;
        address = new(host, port);
        return true;
    }

    public override string ToString() => Host.Contains(':', StringComparison.Ordinal) ? $"[{Host}]:{Port}" : $"{Host}:{Port}";

    private static bool IsPort(string text, out int port) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out port) && port is > 0 and < 65536;
}
