using BuildRunner.Client;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Dev;

/// <summary>A command's line to the running supervisor of a data folder.</summary>
internal static class SupervisorClient
{
    public static ApiConnection Connect(DevLayout layout) => new(UnixHttp.Open(layout.ControlSocket, TimeSpan.FromSeconds(60)));

    public static Task<SandboxStatus> StatusAsync(DevLayout layout, CancellationToken cancel) =>
        Connect(layout).GetAsync("/v1/status", DevJson.Default.SandboxStatus, cancel);

    public static Task<Done> PostAsync(DevLayout layout, string path, CancellationToken cancel) =>
        PostAsync(layout, path, new ServerStart(new Dictionary<string, string>()), cancel);

    public static Task<Done> PostAsync(DevLayout layout, string path, ServerStart body, CancellationToken cancel) =>
        Connect(layout).SendAsync(HttpMethod.Post, path, body, DevJson.Default.ServerStart, DevJson.Default.Done, cancel);
}
