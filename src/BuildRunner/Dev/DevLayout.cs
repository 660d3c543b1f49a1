using System.Security.Cryptography;
using System.Text;

namespace BuildRunner.Dev;

/// <summary>Where everything of a sandbox is: addresses by port offset, files by data folder.</summary>
internal sealed record DevLayout(string Data, int PortOffset)
{
    private const int ServerPort = 8400;
    private const int DnsPort = 8453;
    private const int GatewayPort = 8080;
    private const int DatabasePort = 5433;

    /// <summary>Shop's ports on each database region's host, with room for more instances: api, reports, web, worker.</summary>
    private static readonly (int From, int Count)[] ServicePorts = [(9101, 12), (9201, 3), (9301, 3), (9401, 3)];

    public string Server => $"http://127.0.0.1:{ServerPort + PortOffset}";
    public string Dns => $"127.0.0.1:{DnsPort + PortOffset}";

    /// <summary>The server as a region reaches it: through its own relay.</summary>
    public string ServerFrom(DevRegion region) => $"http://127.{region.Number}.0.1:{ServerPort + PortOffset}";

    public string Gateway(DevRegion region) => $"http://{region.Host}:{GatewayPort + PortOffset}";
    public string GatewayListen(DevRegion region) => $"{region.Host}:{GatewayPort + PortOffset}";
    public int Database => DatabasePort + PortOffset;

    /// <summary>Where agents reach each other, as `br agent` chooses it.</summary>
    public int Peer => Database + 1;
    public int ServerListen => ServerPort + PortOffset;

    /// <summary>Ports on a region's host that others may want to reach.</summary>
    public IEnumerable<int> PortsOf(DevRegion region)
    {
        yield return GatewayPort + PortOffset;
        if (!region.HasDatabase)
            yield break;
        yield return Database;
        yield return Peer;
        foreach (var (from, count) in ServicePorts)
        {
            for (var port = from; port < from + count; port++)
                yield return port + PortOffset;
        }
    }

    /// <summary>Everything that the sandbox's processes listen on, with its name: what must be free before the start.</summary>
    public IEnumerable<(string Host, int Port, string For)> Listens()
    {
        yield return ("127.0.0.1", ServerPort + PortOffset, "the server");
        yield return ("127.0.0.1", DnsPort + PortOffset, "DNS");
        foreach (var region in DevRegion.All)
        {
            yield return (region.Host, GatewayPort + PortOffset, $"the gateway of {region.Code}");
            if (!region.HasDatabase)
                continue;
            yield return (region.Host, Database, $"PostgreSQL of {region.Code}");
            yield return (region.Host, Peer, $"the agent of {region.Code}");
            foreach (var (from, _) in ServicePorts)
                yield return (region.Host, from + PortOffset, $"Shop of {region.Code}");
        }
    }

    public string Token => In("token");
    public string Lock => In("lock");
    public string Endpoints => In("endpoints.json");
    public string SeedTokens => In("seed-tokens.json");
    public string Secrets => In("secrets");
    public string Logs => In("logs");
    public string NodeToken(string node) => In("tokens", node);
    public string FolderOf(string part) => In(part);
    public string FolderOf(DevRegion region) => In(region.Code);
    public string Log(string name) => In("logs", $"{name}.log");

    /// <summary>Unix sockets have short names (107 bytes), data folders need not: sockets stand in a folder named by the data folder's hash.</summary>
    public string Sockets => Path.Combine("/tmp", $"br-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Data)))[..12]}");
    public string ControlSocket => Path.Combine(Sockets, "control");
    public string LifelineSocket => Path.Combine(Sockets, "lifeline");

    /// <summary>Mark in the environment of everything the sandbox starts, and of what that starts.</summary>
    public const string Mark = "BR_DEV";

    public string MarkOf(string part) => $"{Path.GetFileName(Sockets)}/{part}";

    private string In(params ReadOnlySpan<string> parts) => Path.Combine([Data, .. parts]);
}
