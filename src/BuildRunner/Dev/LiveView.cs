using BuildRunner.Client;
using BuildRunner.Client.Regions;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace BuildRunner.Dev;

/// <summary>What `br dev` shows while it runs in the foreground: each region with its health, latency, lag and address.</summary>
internal static class LiveView
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    public static async Task RunAsync(IAnsiConsole console, Supervisor supervisor, CancellationToken cancel)
    {
        if (Console.IsOutputRedirected || !console.Profile.Capabilities.Ansi)
        {
            console.Write(Show(supervisor, null));
            await Task.Delay(Timeout.Infinite, cancel);
        }
        var regions = new RegionsClient(ApiConnection.Create(new Uri(supervisor.Layout.Server), (await File.ReadAllTextAsync(supervisor.Layout.Token, cancel)).Trim()));
        await console.Live(Show(supervisor, null)).StartAsync(async live =>
        {
            while (true)
            {
                live.UpdateTarget(Show(supervisor, await HealthAsync(regions, cancel)));
                await Task.Delay(Interval, cancel);
            }
        });
    }

    private static Rows Show(Supervisor supervisor, RegionsAnswer? health)
    {
        var layout = supervisor.Layout;
        var table = new Table().Border(TableBorder.Rounded).AddColumns("region", "role", "health", "latency", "lag", "gateway");
        foreach (var region in supervisor.Status().Regions)
        {
            var facts = health?.Regions.FirstOrDefault(r => r.Code == region.Code);
            var state = region.Power == RegionPower.On ? facts?.Health.ToString().ToLowerInvariant() ?? "unknown" : region.Power == RegionPower.Killed ? "killed" : "powered off";
            var colour = state switch { "healthy" => "green", "unknown" or "draining" => "grey", "degraded" => "yellow", _ => "red" };
            table.AddRow(
                region.Code,
                facts?.Role.ToString().ToLowerInvariant() ?? "",
                $"[{colour}]{state}[/]{(region.Links == "open" ? "" : " (cut off)")}",
                facts?.LatencyMs is { } ms ? string.Create(CultureInfo.InvariantCulture, $"{ms:0} ms") : "",
                facts?.Replication?.LagSeconds is { } lag ? string.Create(CultureInfo.InvariantCulture, $"{lag:0.00} s") : "",
                region.Gateway);
        }
        var page = new Markup($"Server and dashboard [link]{layout.Server}[/], token in {Markup.Escape(layout.Token)}. Ctrl+C ends everything.");
        return new Rows((IRenderable)table, page);
    }

    private static async Task<RegionsAnswer?> HealthAsync(RegionsClient regions, CancellationToken cancel)
    {
        try { return await regions.HealthAsync(all: true, from: null, cancel).WaitAsync(Interval * 2, cancel); }
        catch (Exception error) when (error is ApiException or ApiUnreachableException or TimeoutException) { return null; }
    }
}
