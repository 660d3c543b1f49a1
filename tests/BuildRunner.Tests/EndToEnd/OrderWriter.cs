using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Http.Headers;
using System.Text;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>How an order went, as its client saw it.</summary>
public enum OrderOutcome
{
    Acknowledged,

    /// <summary>Surely not executed: refused before it was sent, or answered 421 or 503.</summary>
    Refused,

    /// <summary>Anything else: 504, a reset after sending, a timeout.</summary>
    Unknown,
}

/// <summary>An order: when it was sent and answered, by one monotonic clock.</summary>
public sealed record Ordered(Guid Id, long Sent, long Answered, OrderOutcome Outcome, string Detail);

/// <summary>A client that orders every 20 ms, each order once, whatever becomes of it.</summary>
public sealed class OrderWriter : IAsyncDisposable
{
    private static readonly TimeSpan Every = TimeSpan.FromMilliseconds(20);
    private const int UnderWayMax = 800;

    private readonly HttpClient _http = new(new SocketsHttpHandler { UseProxy = false, ConnectTimeout = TimeSpan.FromSeconds(2) }) { Timeout = TimeSpan.FromSeconds(15) };
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentBag<Ordered> _done = [];
    private readonly ConcurrentDictionary<Task, byte> _underWay = new();
    private readonly Func<Uri> _gateway;
    private readonly Task _writing;

    /// <summary>The gateway is asked for before each order.</summary>
    public OrderWriter(Func<Uri> gateway)
    {
        _gateway = gateway;
        _writing = Task.Run(WriteAsync);
    }

    public IReadOnlyCollection<Ordered> Done => _done;
    public IEnumerable<Ordered> Acknowledged => _done.Where(o => o.Outcome == OrderOutcome.Acknowledged);

    /// <summary>Longest time between two acknowledgements that follow each other.</summary>
    public TimeSpan Outage
    {
        get
        {
            var times = Acknowledged.Select(o => o.Answered).Order().ToList();
            return times.Zip(times.Skip(1), (a, b) => Stopwatch.GetElapsedTime(a, b)).DefaultIfEmpty().Max();
        }
    }

    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await _writing;
        await Task.WhenAll(_underWay.Keys);
    }

    public string Summary => string.Join(", ", _done.GroupBy(o => (o.Outcome, o.Outcome == OrderOutcome.Acknowledged ? "" : o.Detail)).OrderByDescending(g => g.Count()).Take(8)
        .Select(g => $"{g.Count()} {g.Key.Outcome}{(g.Key.Item2.Length > 0 ? $" ({g.Key.Item2})" : "")}"));

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _http.Dispose();
        _stop.Dispose();
    }

    private async Task WriteAsync()
    {
        using var beat = new PeriodicTimer(Every);
        try
        {
            while (await beat.WaitForNextTickAsync(_stop.Token))
            {
                if (_underWay.Count >= UnderWayMax)
                    continue;
                var order = OrderAsync(Guid.NewGuid());
                _underWay[order] = 0;
                _ = order.ContinueWith(o => _underWay.TryRemove(o, out _), TaskScheduler.Default);
            }
        }
        catch (OperationCanceledException) { } // stopped
    }

    private async Task OrderAsync(Guid id)
    {
        var sent = Stopwatch.GetTimestamp();
        var (outcome, detail) = await SendAsync(id);
        _done.Add(new(id, sent, Stopwatch.GetTimestamp(), outcome, detail));
    }

    private async Task<(OrderOutcome, string)> SendAsync(Guid id)
    {
        using var body = new StringContent($$"""{"id":"{{id}}","productId":{{Random.Shared.Next(1, 1000)}},"quantity":1}""", Encoding.UTF8, MediaTypeHeaderValue.Parse("application/json"));
        try
        {
            using var answer = await _http.PostAsync(new Uri(_gateway(), "/api/orders"), body);
            var status = (int)answer.StatusCode;
            return status switch
            {
                200 or 201 => (OrderOutcome.Acknowledged, ""),
                421 or 503 => (OrderOutcome.Refused, $"{status}"),
                _ => (OrderOutcome.Unknown, $"{status}"),
            };
        }
        catch (HttpRequestException error) when (error.HttpRequestError == HttpRequestError.ConnectionError) { return (OrderOutcome.Refused, "no connection"); }
        catch (HttpRequestException error) { return (OrderOutcome.Unknown, error.HttpRequestError.ToString()); }
        catch (TaskCanceledException) { return (OrderOutcome.Unknown, "no answer in time"); }
    }
}
