using System.Text;

namespace BuildRunner.Dev;

/// <summary>
/// A gentle background of visitors from several countries, each entering at the gateway that DNS would give it: they browse, search, look at
/// products, and now and then order. About 12 requests a second; at most one under way for each visitor.
/// </summary>
internal sealed class Traffic : IDisposable
{
    private static readonly TimeSpan Thinking = TimeSpan.FromMilliseconds(1500);

    /// <summary>Visitor's address and the numbers of its regions, nearest first.</summary>
    private static readonly (string Address, int[] Nearest)[] Visitors =
    [
        ("81.169.145.10", [3, 1, 2]),   // Germany
        ("194.25.0.60", [3, 1, 2]),     // Germany
        ("212.58.244.20", [3, 1, 2]),   // United Kingdom
        ("80.10.246.2", [3, 1, 2]),     // France
        ("151.99.125.1", [3, 1, 2]),    // Italy
        ("200.160.2.3", [1, 2, 3]),     // Brazil
        ("200.147.67.142", [1, 2, 3]),  // Brazil
        ("24.48.0.1", [1, 2, 3]),       // Canada
        ("66.220.144.1", [1, 2, 3]),    // United States
        ("12.127.17.72", [1, 2, 3]),    // United States
        ("68.87.85.98", [2, 1, 3]),     // United States, entering in the west
        ("49.36.128.10", [4, 3, 1]),    // India
        ("117.239.240.1", [4, 3, 1]),   // India
        ("133.242.0.3", [4, 3, 2]),     // Japan
        ("202.12.27.33", [4, 3, 2]),    // Japan
        ("1.1.1.1", [4, 2, 1]),         // Australia
        ("196.25.1.1", [3, 4, 1]),      // South Africa
        ("195.113.144.1", [3, 1, 2]),   // Czechia
    ];

    private static readonly string[] Searches = ["lamp", "chair", "desk", "blue", "oak", "small", "steel", "table"];

    private readonly HttpClient _http = new(new SocketsHttpHandler { UseProxy = false, UseCookies = false, AllowAutoRedirect = false, ConnectTimeout = TimeSpan.FromSeconds(1), MaxConnectionsPerServer = 16 }) { Timeout = TimeSpan.FromSeconds(12) };
    private readonly CancellationTokenSource _stop = new();
    private readonly DevLayout _layout;

    public Traffic(DevLayout layout)
    {
        _layout = layout;
        foreach (var (address, nearest) in Visitors)
            _ = VisitAsync(address, [.. nearest.Select(n => DevRegion.All.Single(r => r.Number == n))]);
    }

    public void Dispose()
    {
        _stop.Cancel();
        _http.Dispose();
        _stop.Dispose();
    }

    private async Task VisitAsync(string address, DevRegion[] nearest)
    {
        var entry = 0;
        try
        {
            while (true)
            {
                await Task.Delay(Thinking * (0.3 + (Random.Shared.NextDouble() * 1.4)), _stop.Token);
                try
                {
                    using var request = Next($"{_layout.Gateway(nearest[entry])}");
                    request.Headers.TryAddWithoutValidation("X-Forwarded-For", address);
                    using var answer = await _http.SendAsync(request, _stop.Token);
                    await answer.Content.CopyToAsync(Stream.Null, _stop.Token);
                }
                catch (Exception error) when (error is HttpRequestException || (error is OperationCanceledException && !_stop.IsCancellationRequested))
                {
                    entry = (entry + 1) % nearest.Length; // as DNS would have it: the next gateway that lives
                }
            }
        }
        catch (Exception error) when (error is OperationCanceledException or ObjectDisposedException) { } // stopped
    }

    private static HttpRequestMessage Next(string gateway) => Random.Shared.NextDouble() switch
    {
        < 0.30 => Get($"{gateway}/api/products?page={Random.Shared.Next(1, 40)}"),
        < 0.55 => Get($"{gateway}/api/products?q={Searches[Random.Shared.Next(Searches.Length)]}"),
        < 0.85 => Get($"{gateway}/api/products/{Random.Shared.Next(1, 100_000)}"),
        < 0.92 => Get($"{gateway}/"),
        < 0.97 => Order(gateway),
        < 0.985 => Get($"{gateway}/account"),
        _ => Get($"{gateway}/reports/sales"),
    };

    private static HttpRequestMessage Get(string address) => new(HttpMethod.Get, address);

    private static HttpRequestMessage Order(string gateway)
    {
        var order = string.Create(CultureInfo.InvariantCulture, $$"""{"id":"{{Guid.NewGuid()}}","productId":{{Random.Shared.Next(1, 100_000)}},"quantity":{{Random.Shared.Next(1, 4)}}}""");
        return new(HttpMethod.Post, $"{gateway}/api/orders") { Content = new StringContent(order, Encoding.UTF8, "application/json") };
    }
}
