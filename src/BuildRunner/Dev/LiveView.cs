using System.Net.Http.Headers;
using System.Text.Json;
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
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { Timeout = TimeSpan.FromSeconds(2) };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", (await File.ReadAllTextAsync(supervisor.Layout.Token, cancel)).Trim());
        await console.Live(Show(supervisor, null)).StartAsync(async live =>
        {
            while (true)
            {
                live.UpdateTarget(Show(supervisor, await HealthAsync(http, supervisor.Layout, cancel)));
                await Task.Delay(Interval, cancel);
            }
        });
    }

    private static Rows Show(Supervisor supervisor, Dictionary<string, JsonElement>? health)
    {
        var layout = supervisor.Layout;
        var table = new Table().Border(TableBorder.Rounded).AddColumns("region", "role", "health", "latency", "lag", "gateway");
        foreach (var region in supervisor.Status().Regions)
        {
            var facts = health?.GetValueOrDefault(region.Code);
            var state = region.Power == RegionPower.On ? Text(facts, "health") ?? "unknown" : region.Power == RegionPower.Killed ? "killed" : "powered off";
            var colour = state switch { "healthy" => "green", "unknown" or "draining" => "grey", "degraded" => "yellow", _ => "red" };
            table.AddRow(
                region.Code,
                Text(facts, "role") ?? "",
                $"[{colour}]{state}[/]{(region.Links == "open" ? "" : " (cut off)")}",
                Number(facts, "latency_ms") is { } ms ? string.Create(CultureInfo.InvariantCulture, $"{ms:0} ms") : "",
                Lag(facts),
                region.Gateway);
        }
        var page = new Markup($"Server and dashboard [link]{layout.Server}[/], token in {Markup.Escape(layout.Token)}. Ctrl+C ends everything.");
        return new Rows((IRenderable)table, page);
    }

    private static string Lag(JsonElement? facts) =>
        facts is { } f && f.TryGetProperty("replication", out var replication) && replication.ValueKind == JsonValueKind.Object && Number(replication, "lag_seconds") is { } lag
            ? string.Create(CultureInfo.InvariantCulture, $"{lag:0.00} s")
            : "";

    private static string? Text(JsonElement? facts, string name) => facts is { ValueKind: JsonValueKind.Object } f && f.TryGetProperty(name, out var value) ? value.GetString() : null;

    private static double? Number(JsonElement? facts, string name) => facts is { ValueKind: JsonValueKind.Object } f && f.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : null;

    private static async Task<Dictionary<string, JsonElement>?> HealthAsync(HttpClient http, DevLayout layout, CancellationToken cancel)
    {
        try
        {
            using var document = JsonDocument.Parse(await http.GetStringAsync($"{layout.Server}/v1/regions/health", cancel));
            return document.RootElement.GetProperty("regions").EnumerateArray().ToDictionary(r => r.GetProperty("code").GetString()!, r => r.Clone());
        }
        catch (Exception error) when (error is HttpRequestException or JsonException or KeyNotFoundException || (error is OperationCanceledException && !cancel.IsCancellationRequested))
        {
            return null;
        }
    }
}
