using System.Net;
using System.Net.Sockets;

namespace BuildRunner.Server.Hosting;

/// <summary>The network as this process was told to see it, and connections that ask it.</summary>
public static class Network
{
    public const string ViewerVariable = "BR_VIEWER";

    /// <summary>`BR_VIEWER` absent: the real network; a number: the relays of `br dev`.</summary>
    public static INetwork FromEnvironment() => FromViewer(Environment.GetEnvironmentVariable(ViewerVariable));

    internal static INetwork FromViewer(string? viewer) => string.IsNullOrEmpty(viewer)
        ? new DirectNetwork()
        : int.TryParse(viewer, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number <= 9
            ? new RelayNetwork(number)
            : throw new FormatException($"{ViewerVariable} is '{viewer}'; it is a number from 0 to 9, or absent.");

    /// <summary>A handler whose connections go where the network says; no proxy, no cookies, no redirects.</summary>
    public static SocketsHttpHandler Handler(INetwork network, TimeSpan connectTimeout) => new()
    {
        UseProxy = false,
        UseCookies = false,
        AllowAutoRedirect = false,
        ConnectTimeout = connectTimeout,
        ConnectCallback = async (context, cancel) => new NetworkStream(await ConnectAsync(network, context.DnsEndPoint.Host, context.DnsEndPoint.Port, cancel), ownsSocket: true),
    };

    /// <summary>Opens a TCP connection to `host:port` as its own region reaches it.</summary>
    public static async Task<Socket> ConnectAsync(INetwork network, string host, int port, CancellationToken cancel)
    {
        var target = network.Map(host, port);
        var socket = IPAddress.TryParse(target.Host, out var address)
            ? new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true }
            : new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            if (address is not null)
                await socket.ConnectAsync(new IPEndPoint(address, target.Port), cancel);
            else
                await socket.ConnectAsync(target, cancel);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
