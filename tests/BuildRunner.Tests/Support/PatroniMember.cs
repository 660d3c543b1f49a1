using System.Net;
using System.Net.Sockets;

namespace BuildRunner.Tests.Support;

/// <summary>A host of a Patroni cluster: its address, its ports, its folder.</summary>
internal sealed record PatroniMember(string Name, string Host, int Postgres, int Rest, string Folder)
{
    public string Data => Path.Combine(Folder, "data");
    public string Config => Path.Combine(Folder, "patroni.yml");
    public string Log => Path.Combine(Folder, "patroni.log");
    public Uri Api => new($"http://{Host}:{Rest}");

    /// <summary>A port of the address that nobody listens on now.</summary>
    public static int FreePort(string host)
    {
        using var listener = new TcpListener(IPAddress.Parse(host), 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
