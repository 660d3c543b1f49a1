using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;

namespace BuildRunner.Tests.Support;

public sealed record OrderWriterOptions
{
    /// <summary>Base address of a gateway; with <see cref="DnsServer"/>, the name to ask for and the port to use.</summary>
    public required Uri Gateway { get; init; }

    /// <summary>Set: the gateway's name is asked of this server for each request, and one of the addresses is taken.</summary>
    public IPEndPoint? DnsServer { get; init; }
    public TimeSpan Interval { get; init; } = TimeSpan.FromMilliseconds(20);
    public int InFlightMax { get; init; } = 64;
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(30);
    public IReadOnlyDictionary<string, string> Headers { get; init; } = new Dictionary<string, string>();
}

/// <summary>Orders at a gateway, one every interval, each sent once and with an id of its own.</summary>
public sealed class OrderWriter : IAsyncDisposable
{
    private readonly OrderWriterOptions _options;
    private readonly HttpClient _http;
    private readonly PacedWriter _writer;
    private int _turn;

    private OrderWriter(OrderWriterOptions options)
    {
        _options = options;
        _http = new HttpClient(new SocketsHttpHandler { UseProxy = false, UseCookies = false, ConnectTimeout = TimeSpan.FromSeconds(2), MaxConnectionsPerServer = options.InFlightMax })
        {
            Timeout = options.Timeout,
        };
        _writer = PacedWriter.Start($"{options.Gateway}", options.Interval, options.InFlightMax, OrderAsync);
    }

    public static OrderWriter Start(OrderWriterOptions options) => new(options);

    /// <summary>What has been answered so far.</summary>
    public IReadOnlyList<OrderRecord> Records => _writer.Records;

    /// <summary>Waits until so many more orders have been acknowledged.</summary>
    public Task AcknowledgedAsync(int more, CancellationToken cancel, TimeSpan? limit = null) => _writer.AcknowledgedAsync(more, cancel, limit);

    /// <summary>Sends no more, waits for what is under way, and says what happened.</summary>
    public Task<OrderReport> StopAsync() => _writer.StopAsync();

    public async ValueTask DisposeAsync()
    {
        await _writer.DisposeAsync();
        _http.Dispose();
    }

    private async Task<OrderRecord> OrderAsync(Guid id)
    {
        var invoked = Stopwatch.GetTimestamp();
        try
        {
            using var request = await RequestAsync(id);
            using var answer = await _http.SendAsync(request, HttpCompletionOption.ResponseContentRead, CancellationToken.None);
            return new(id, invoked, Stopwatch.GetTimestamp(), Judge(answer.StatusCode), (int)answer.StatusCode, Header(answer, "X-Served-By"),
                long.TryParse(Header(answer, "BuildRunner-Epoch"), out var epoch) ? epoch : null,
                answer.IsSuccessStatusCode ? null : await answer.Content.ReadAsStringAsync());
        }
        catch (Exception error) when (error is HttpRequestException or OperationCanceledException or SocketException or IOException)
        {
            // Not connected, not sent: surely not executed. All else may have been.
            var notSent = error is SocketException or HttpRequestException { HttpRequestError: HttpRequestError.ConnectionError or HttpRequestError.NameResolutionError };
            return new(id, invoked, Stopwatch.GetTimestamp(), notSent ? OrderOutcomeKind.Fail : OrderOutcomeKind.Unknown, null, null, null, error.Message);
        }
    }

    private async Task<HttpRequestMessage> RequestAsync(Guid id)
    {
        var target = _options.Gateway;
        string? name = null;
        if (_options.DnsServer is { } server)
        {
            name = target.Authority;
            var addresses = await DnsQuery.AddressesAsync(server, target.Host, TimeSpan.FromSeconds(1));
            if (addresses.Count == 0)
                throw new HttpRequestException(HttpRequestError.NameResolutionError, $"{target.Host} has no address at {server}.");
            target = new UriBuilder(target) { Host = addresses[Interlocked.Increment(ref _turn) % addresses.Count].ToString() }.Uri;
        }

        var request = new HttpRequestMessage(HttpMethod.Post, new Uri(target, "/api/orders"))
        {
            Content = new StringContent($$"""{"id":"{{id}}","productId":{{1 + ((uint)id.GetHashCode() % 100_000)}},"quantity":1}""", new MediaTypeHeaderValue("application/json")),
        };
        request.Headers.Host = name;
        foreach (var (header, value) in _options.Headers)
            request.Headers.Add(header, value);
        return request;
    }

    private static OrderOutcomeKind Judge(HttpStatusCode status) => (int)status switch
    {
        200 or 201 => OrderOutcomeKind.Ok,
        (>= 400 and < 500 and not 408 and not 409) or 503 => OrderOutcomeKind.Fail,
        _ => OrderOutcomeKind.Unknown,
    };

    private static string? Header(HttpResponseMessage answer, string name) => answer.Headers.TryGetValues(name, out var values) ? values.FirstOrDefault() : null;
}
