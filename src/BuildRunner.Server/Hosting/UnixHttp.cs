using System.Net.Sockets;

namespace BuildRunner.Server.Hosting;

/// <summary>HTTP over a Unix socket: the supervisor of `br dev`.</summary>
internal static class UnixHttp
{
    /// <summary>Environment variable that names the supervisor's socket.</summary>
    public const string SupervisorVariable = "BR_SUPERVISOR";

    /// <summary>The caller disposes it.</summary>
    public static HttpClient Open(string socketPath, TimeSpan timeout) => new(new SocketsHttpHandler
    {
        UseProxy = false,
        ConnectCallback = async (_, stop) =>
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), stop);
                return new NetworkStream(socket, ownsSocket: true);
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        },
    })
    { BaseAddress = new Uri("http://supervisor"), Timeout = timeout };
}
