using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Serialization.Metadata;
using BuildRunner.Client;
using BuildRunner.Client.Hosting;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Hosting;

/// <summary>
/// A node's side of its line to the server: polls for its document and orders, carries orders out, answers them, and reports. It outlives the
/// server: while that is away the node goes on with what it has and calls again, at first at once, then at most a second apart.
/// </summary>
public sealed partial class NodeClient : BackgroundService
{
    private static readonly TimeSpan RetryMin = TimeSpan.FromMilliseconds(25);
    private static readonly TimeSpan RetryMax = TimeSpan.FromSeconds(1);

    private readonly NodeClientOptions _options;
    private readonly INodeWork _work;
    private readonly TimeProvider _time;
    private readonly ILogger<NodeClient> _logger;
    private readonly ServerLine _line;
    private readonly OrderMemory _memory;
    private readonly ConcurrentDictionary<string, Task> _working = new(StringComparer.Ordinal);
    private TaskCompletionSource _reportNow = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _away;

    public NodeClient(NodeClientOptions options, INodeWork work, ServerLine line, TimeProvider time, ILogger<NodeClient> logger)
    {
        (_options, _work, _line, _time, _logger) = (options, work, line, time, logger);
        _memory = new(options.MemoryFolder);
    }

    /// <summary>Made anew at each start of the process.</summary>
    public string Incarnation { get; } = Guid.CreateVersion7().ToString("N");

    /// <summary>Something changed that the server waits for: the next report goes out at once.</summary>
    public void ReportNow() => Volatile.Read(ref _reportNow).TrySetResult();

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await Task.WhenAll(PollAsync(stoppingToken), ReportAsync(stoppingToken));
        await Task.WhenAll(_working.Values).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private string NodePath => $"/v1/nodes/{(_options.Name.Kind == NodeKind.Agent ? "agent" : "gateway")}/{Uri.EscapeDataString(_options.Name.Region)}";

    private async Task PollAsync(CancellationToken cancel)
    {
        var retry = new Retry(_time);
        while (!cancel.IsCancellationRequested)
        {
            try
            {
                var poll = new NodePoll
                {
                    Incarnation = Incarnation,
                    DocumentVersion = _work.DocumentVersion,
                    WaitMs = (int)_options.PollWait.TotalMilliseconds,
                    Working = [.. _working.Keys],
                };
                using var answer = await SendAsync($"{NodePath}/poll", JsonContent.Create(poll, WireJson.Default.NodePoll), _options.PollWait + _options.AnswerMax, cancel);
                var news = await answer.Content.ReadFromJsonAsync(WireJson.Default.NodePollAnswer, cancel) ?? new NodePollAnswer();
                Heard();
                // Orders first: they are what a person waits for.
                foreach (var order in news.Orders)
                    Begin(order, cancel);
                if (news.Document is { } document)
                    await _work.ApplyAsync(news.DocumentVersion, document, cancel);
                retry.Reset();
            }
            catch (OperationCanceledException) when (cancel.IsCancellationRequested) { return; }
            catch (Exception error)
            {
                Missed(error);
                await retry.WaitAsync(cancel);
            }
        }
    }

    private async Task ReportAsync(CancellationToken cancel)
    {
        var path = $"/v1/{(_options.Name.Kind == NodeKind.Agent ? "agents" : "gateways")}/{Uri.EscapeDataString(_options.Name.Region)}/report";
        while (!cancel.IsCancellationRequested)
        {
            var now = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            Volatile.Write(ref _reportNow, now);
            try
            {
                if (_work.Report(Incarnation) is { } report)
                {
                    using var content = new ByteArrayContent(report) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } };
                    using var answer = await SendAsync(path, content, _options.AnswerMax, cancel);
                    Heard();
                }
            }
            catch (OperationCanceledException) when (cancel.IsCancellationRequested) { return; }
            catch (Exception error) { Missed(error); } // the next report is the retry
            await now.Task.WaitAsync(_options.ReportInterval, _time, cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private void Begin(Order order, CancellationToken cancel)
    {
        if (_working.ContainsKey(order.Id) || _working.Count >= NodeLinks.OrdersMax)
            return;
        var begun = new TaskCompletionSource();
        _working[order.Id] = begun.Task;
        _ = Task.Run(async () =>
        {
            try { await CarryOutAsync(order, cancel); }
            finally
            {
                _working.TryRemove(order.Id, out _);
                begun.SetResult();
            }
        }, CancellationToken.None);
    }

    /// <summary>Stays under way until the server has the answer, so that the order does not come again meanwhile.</summary>
    private async Task CarryOutAsync(Order order, CancellationToken cancel)
    {
        OrderResult result;
        try
        {
            if (_memory.Find(order.Id) is { } known)
            {
                result = known;
            }
            else
            {
                LogOrder(_logger, order.Kind, order.Id);
                result = await _work.CarryOutAsync(order, cancel);
                _memory.Remember(result);
            }
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested) { return; }
        catch (Exception error)
        {
            LogOrderFailed(_logger, error, order.Kind, order.Id);
            result = new OrderResult { Id = order.Id, Done = false, Error = $"{_options.Name} failed on {order.Kind}: {error.Message}" };
        }

        var retry = new Retry(_time);
        while (!cancel.IsCancellationRequested)
        {
            try
            {
                using var answer = await SendAsync($"{NodePath}/results", JsonContent.Create(result, WireJson.Default.OrderResult), _options.AnswerMax, cancel);
                Heard();
                return;
            }
            catch (OperationCanceledException) when (cancel.IsCancellationRequested) { return; }
            catch (NodeRefusedException error)
            {
                Missed(error);
                return; // the server does not want it: sending it again would not help
            }
            catch (Exception error)
            {
                Missed(error);
                await retry.WaitAsync(cancel);
            }
        }
    }

    private async Task<HttpResponseMessage> SendAsync(string path, HttpContent content, TimeSpan limit, CancellationToken cancel)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        timeout.CancelAfter(limit);
        HttpResponseMessage answer;
        try { answer = await _line.PostAsync(path, content, timeout.Token); }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested) { throw new TimeoutException($"The server did not answer within {limit.TotalSeconds:0.#} s."); }
        if (answer.IsSuccessStatusCode)
            return answer;
        using (answer)
        {
            var problem = await ProblemAsync(answer, ApiJson.Default.ApiProblem, cancel);
            throw answer.StatusCode is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden or HttpStatusCode.Conflict or HttpStatusCode.BadRequest or HttpStatusCode.RequestEntityTooLarge
                ? new NodeRefusedException(problem)
                : new HttpRequestException(problem);
        }
    }

    private static async Task<string> ProblemAsync(HttpResponseMessage answer, JsonTypeInfo<ApiProblem> type, CancellationToken cancel)
    {
        try
        {
            if (answer.Content.Headers.ContentType?.MediaType == "application/problem+json" && await answer.Content.ReadFromJsonAsync(type, cancel) is { Title: { } title } problem)
                return $"{title} {problem.Detail}".TrimEnd();
        }
        catch (System.Text.Json.JsonException) { } // not a problem document
        return $"The server answered {(int)answer.StatusCode} {answer.ReasonPhrase}.";
    }

    private void Heard()
    {
        if (!Volatile.Read(ref _away))
            return;
        Volatile.Write(ref _away, false);
        LogBack(_logger, _line.Server);
    }

    private void Missed(Exception error)
    {
        if (Volatile.Read(ref _away))
            return;
        Volatile.Write(ref _away, true);
        LogAway(_logger, _line.Server, error.Message);
    }

    private sealed class NodeRefusedException(string message) : Exception(message);

    /// <summary>Doubling waits with jitter, so that nodes do not call in step.</summary>
    private sealed class Retry(TimeProvider time)
    {
        private TimeSpan _next = RetryMin;

        public void Reset() => _next = RetryMin;

        public Task WaitAsync(CancellationToken cancel)
        {
            var wait = _next * (0.5 + (Random.Shared.NextDouble() / 2));
            _next = _next * 2 < RetryMax ? _next * 2 : RetryMax;
            return Task.Delay(wait, time, cancel).ContinueWith(static _ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Order {Kind} {Id}.")]
    private static partial void LogOrder(ILogger logger, string kind, string id);

    [LoggerMessage(Level = LogLevel.Error, Message = "Order {Kind} {Id} failed.")]
    private static partial void LogOrderFailed(ILogger logger, Exception error, string kind, string id);

    [LoggerMessage(Level = LogLevel.Warning, Message = "No good answer from the server at {Server}: {Reason} Going on with what is known here, and calling again.")]
    private static partial void LogAway(ILogger logger, Uri server, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "The server at {Server} answers again.")]
    private static partial void LogBack(ILogger logger, Uri server);
}
