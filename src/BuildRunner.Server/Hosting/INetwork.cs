using System.Net;

namespace BuildRunner.Server.Hosting;

/// <summary>
/// How this process reaches an address that another region knows as its own. In production the identity; in `br dev` a relay that has the
/// distance's delay and can be cut. Every connection that leaves a region asks it, PostgreSQL's included.
/// </summary>
public interface INetwork
{
    /// <summary>Maps `host:port` as its own region reaches it to what this process must dial.</summary>
    DnsEndPoint Map(string host, int port);
}

/// <summary>Production: addresses are the same for everyone.</summary>
public sealed class DirectNetwork : INetwork
{
    public DnsEndPoint Map(string host, int port) => new(host, port);
}

/// <summary>
/// `br dev`: a process of viewer F reaches 127.0.T.1:P (T other than F) at 127.F.T.1:P. The server is viewer 9 and lives at 127.0.0.1;
/// a region F reaches it at 127.F.0.1. Viewer 0 is outside all regions and goes straight.
/// </summary>
public sealed class RelayNetwork(int viewer) : INetwork
{
    public int Viewer => viewer;

    public DnsEndPoint Map(string host, int port)
    {
        if (viewer == 0 || !IPAddress.TryParse(host, out var address))
            return new(host, port);
        var bytes = address.GetAddressBytes();
        if (bytes is not [127, 0, var target, 1] || target == viewer || target > 9 || (target == 0 && viewer == 9))
            return new(host, port);
        return new($"127.{viewer}.{target}.1", port);
    }
}
