using System.Diagnostics;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Regions;

namespace BuildRunner.Dev;

/// <summary>What of a starting sandbox is not there yet.</summary>
internal sealed record Missing(string What, string Log);

/// <summary>Asks, as a user would, whether the sandbox serves: every region healthy by the public API, and Shop answering through every gateway.</summary>
internal sealed class Readiness(Supervisor supervisor) : IDisposable
{
    public static readonly TimeSpan Max = TimeSpan.FromSeconds(120);
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan AnswerMax = TimeSpan.FromSeconds(3);

    private readonly ApiConnection _api = ApiConnection.Create(new Uri(supervisor.Layout.Server), File.ReadAllText(supervisor.Layout.Token).Trim());
    private readonly HttpClient _http = new(new SocketsHttpHandler { UseProxy = false, ConnectTimeout = TimeSpan.FromSeconds(1), AllowAutoRedirect = false }) { Timeout = AnswerMax };

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
            var item = health.Regions.FirstOrDefault(r => r.Code == region.Code);
            if (item is not { Active: true })
                return new($"{health.Regions.Count(r => r.Active)} of {DevRegion.All.Count} regions healthy; {region.Code} is {Word(item)}", layout.Log($"agent-{region.Code}"));
        }
        foreach (var region in DevRegion.All)
        {
            if (!await ServesAsync(region, cancel))
                return new($"waiting for Shop through the gateway of {region.Code}", layout.Log($"gateway-{region.Code}"));
        }
        return await UnknownLagAsync(cancel) is { } code ? new($"waiting to know how far {code} is behind", layout.Log($"agent-{code}")) : null;
    }

    /// <summary>Region of a copy whose lag is not known yet; null: all are.</summary>
    private async Task<string?> UnknownLagAsync(CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(AnswerMax);
        try
        {
            var status = await new RecoveryClient(_api).StatusAsync(limit.Token);
            return status.Databases.SelectMany(d => d.Regions.Where(r => r.Code != d.Primary && r.LagSeconds is null)).FirstOrDefault()?.Code;
        }
        catch (Exception error) when (error is ApiException or ApiUnreachableException || IsAbsence(error, cancel)) { return DevRegion.All[0].Code; }
    }

    /// <summary>Null while the server does not answer.</summary>
    private async Task<RegionsAnswer?> HealthAsync(CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(AnswerMax);
        try { return await new RegionsClient(_api).HealthAsync(all: true, from: null, limit.Token); }
        catch (Exception error) when (error is ApiException or ApiUnreachableException || IsAbsence(error, cancel)) { return null; }
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

    private static string Word(RegionItem? item) => item is null ? "not known yet" : item.Reason.Length > 0 ? $"{item.Health.ToString().ToLowerInvariant()}: {item.Reason}" : item.Health.ToString().ToLowerInvariant();

    private static bool IsAbsence(Exception error, CancellationToken cancel) =>
        error is HttpRequestException or JsonException or IOException || (error is OperationCanceledException && !cancel.IsCancellationRequested);
}
