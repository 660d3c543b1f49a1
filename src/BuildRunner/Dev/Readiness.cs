using System.Diagnostics;
using System.Net.Http.Headers;
using System.Text.Json;

namespace BuildRunner.Dev;

/// <summary>What of a starting sandbox is not there yet.</summary>
internal sealed record Missing(string What, string Log);

/// <summary>Asks, as a user would, whether the sandbox serves: every region healthy by the public API, and Shop answering through every gateway.</summary>
internal sealed class Readiness(Supervisor supervisor) : IDisposable
{
    public static readonly TimeSpan Max = TimeSpan.FromSeconds(120);
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);

    private readonly HttpClient _http = new(new SocketsHttpHandler { UseProxy = false, ConnectTimeout = TimeSpan.FromSeconds(1), AllowAutoRedirect = false }) { Timeout = TimeSpan.FromSeconds(3) };

    /// <summary>Null when all is ready; else what is missing when the time was up, or as soon as it is clear that it will not come.</summary>
    public async Task<Missing?> WaitAsync(Action<string> say, CancellationToken cancel)
    {
        var begun = Stopwatch.GetTimestamp();
        var said = "";
        while (true)
        {
            var missing = await NextAsync(cancel);
            if (missing is null || Stopwatch.GetElapsedTime(begun) > Max)
                return missing;
            if (supervisor.Children.FirstOrDefault(c => c.FailuresInRow >= 4) is { } failing)
                return new Missing($"{failing.Plan.Name} ends again and again", failing.Plan.Log);
            if (missing.What != said)
                say(said = missing.What);
            await Task.Delay(Interval, cancel);
        }
    }

    public void Dispose() => _http.Dispose();

    private async Task<Missing?> NextAsync(CancellationToken cancel)
    {
        var layout = supervisor.Layout;
        if (await HealthAsync(cancel) is not { } health)
            return new("waiting for the server", layout.Log("server"));
        foreach (var region in DevRegion.All)
        {
            var state = health.GetValueOrDefault(region.Code, "not known yet");
            if (state != "healthy")
                return new($"{health.Values.Count(h => h == "healthy")} of {DevRegion.All.Count} regions healthy; {region.Code} is {state}", layout.Log($"agent-{region.Code}"));
        }
        foreach (var region in DevRegion.All)
        {
            if (!await ServesAsync(region, cancel))
                return new($"waiting for Shop through the gateway of {region.Code}", layout.Log($"gateway-{region.Code}"));
        }
        return null;
    }

    /// <summary>Health by region; null while the server does not answer.</summary>
    private async Task<Dictionary<string, string>?> HealthAsync(CancellationToken cancel)
    {
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, $"{supervisor.Layout.Server}/v1/regions/health");
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", (await File.ReadAllTextAsync(supervisor.Layout.Token, cancel)).Trim());
            using var answer = await _http.SendAsync(request, cancel);
            if (!answer.IsSuccessStatusCode)
                return null;
            using var document = await JsonDocument.ParseAsync(await answer.Content.ReadAsStreamAsync(cancel), cancellationToken: cancel);
            return document.RootElement.GetProperty("regions").EnumerateArray()
                .ToDictionary(r => r.GetProperty("code").GetString()!, r => r.GetProperty("health").GetString() ?? "unknown");
        }
        catch (Exception error) when (IsAbsence(error, cancel)) { return null; }
    }

    private async Task<bool> ServesAsync(DevRegion region, CancellationToken cancel)
    {
        try
        {
            using var answer = await _http.GetAsync($"{supervisor.Layout.Gateway(region)}/api/products?page=1", cancel);
            return answer.IsSuccessStatusCode;
        }
        catch (Exception error) when (IsAbsence(error, cancel)) { return false; }
    }

    private static bool IsAbsence(Exception error, CancellationToken cancel) =>
        error is HttpRequestException or JsonException or IOException || (error is OperationCanceledException && !cancel.IsCancellationRequested);
}
