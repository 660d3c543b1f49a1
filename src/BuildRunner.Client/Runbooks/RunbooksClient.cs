using System.Net;
using System.Runtime.CompilerServices;

namespace BuildRunner.Client.Runbooks;

/// <summary>Runbooks and their runs over the public API.</summary>
public sealed class RunbooksClient(ApiConnection api)
{
    private static readonly TimeSpan ReconnectWait = TimeSpan.FromMilliseconds(200);

    public Task<RunbookList> ListAsync(CancellationToken cancel) => api.GetAsync("/v1/runbooks", RunbooksJson.Default.RunbookList, cancel);

    public Task<RunbookDetail> ShowAsync(string name, CancellationToken cancel) => api.GetAsync($"/v1/runbooks/{Uri.EscapeDataString(name)}", RunbooksJson.Default.RunbookDetail, cancel);

    public Task<RunAnswer> StartAsync(RunRequest request, CancellationToken cancel) =>
        api.SendAsync(HttpMethod.Post, "/v1/runs", request, RunbooksJson.Default.RunRequest, RunbooksJson.Default.RunAnswer, cancel);

    public Task<RunList> RunsAsync(CancellationToken cancel) => api.GetAsync("/v1/runs", RunbooksJson.Default.RunList, cancel);

    public Task<RunDetail> RunAsync(string id, CancellationToken cancel) => api.GetAsync($"/v1/runs/{Uri.EscapeDataString(id)}", RunbooksJson.Default.RunDetail, cancel);

    public Task<RunDetail> AbortAsync(string id, AbortRequest request, CancellationToken cancel) =>
        api.SendAsync(HttpMethod.Post, $"/v1/runs/{Uri.EscapeDataString(id)}/abort", request, RunbooksJson.Default.AbortRequest, RunbooksJson.Default.RunDetail, cancel);

    /// <summary>The checks of a dry run, for one runbook or for all.</summary>
    public Task<EvaluationList> EvaluateAsync(EvaluateRequest request, CancellationToken cancel) =>
        api.SendAsync(HttpMethod.Post, "/v1/runbooks/evaluate", request, RunbooksJson.Default.EvaluateRequest, RunbooksJson.Default.EvaluationList, cancel);

    /// <summary>Agrees to a step that waits.</summary>
    public Task<RunDetail> ApproveAsync(string id, ReplyRequest request, CancellationToken cancel) => ReplyAsync(id, "approve", request, cancel);

    /// <summary>Says no to a step that waits.</summary>
    public Task<RunDetail> RejectAsync(string id, ReplyRequest request, CancellationToken cancel) => ReplyAsync(id, "reject", request, cancel);

    /// <summary>Says that a step has been done by hand.</summary>
    public Task<RunDetail> ConfirmAsync(string id, ReplyRequest request, CancellationToken cancel) => ReplyAsync(id, "confirm", request, cancel);

    /// <summary>The run's journal as far as it is written.</summary>
    public async Task<RunLog> LogAsync(string id, CancellationToken cancel)
    {
        var lines = new List<RunLine>();
        await foreach (var line in api.StreamAsync($"/v1/runs/{Uri.EscapeDataString(id)}/events", RunbooksJson.Default.RunLine, cancel))
            lines.Add(line);
        return new RunLog { Run = id, Lines = lines };
    }

    private Task<RunDetail> ReplyAsync(string id, string verb, ReplyRequest request, CancellationToken cancel) =>
        api.SendAsync(HttpMethod.Post, $"/v1/runs/{Uri.EscapeDataString(id)}/{verb}", request, RunbooksJson.Default.ReplyRequest, RunbooksJson.Default.RunDetail, cancel);

    /// <summary>
    /// The run's journal from its beginning and on until it ends. While the server is away it tries again for up to
    /// <paramref name="patience"/>, and goes on after the last line it had: a restart of the server loses nothing.
    /// </summary>
    public async IAsyncEnumerable<RunLine> FollowAsync(string id, TimeSpan patience, Action<Exception>? away, TimeProvider time, [EnumeratorCancellation] CancellationToken cancel)
    {
        long after = 0;
        long? since = null;
        while (true)
        {
            await using var lines = api.StreamAsync($"/v1/runs/{Uri.EscapeDataString(id)}/events?follow=true&after={after}", RunbooksJson.Default.RunLine, cancel).GetAsyncEnumerator(cancel);
            while (true)
            {
                RunLine? line = null;
                Exception? lost = null;
                try { line = await lines.MoveNextAsync() ? lines.Current : null; }
                catch (Exception error) when (IsAway(error) && !cancel.IsCancellationRequested) { lost = error; }
                if (line is null)
                {
                    since ??= time.GetTimestamp();
                    if (time.GetElapsedTime(since.Value) > patience)
                        throw new ApiUnreachableException($"The server has not answered for {patience.TotalSeconds:0} s; run {id} goes on when it is back: `br runbook status {id}`.", lost ?? new IOException("The stream ended."));
                    away?.Invoke(lost ?? new IOException("The stream ended."));
                    break;
                }
                since = null;
                after = Math.Max(after, line.Position);
                yield return line;
                if (line.Event is Core.Runbooks.RunEvent.RunFinished)
                    yield break;
            }
            await Task.Delay(ReconnectWait, time, cancel);
        }
    }

    private static bool IsAway(Exception error) => error is ApiUnreachableException or HttpRequestException or IOException
        || (error is ApiException { Status: HttpStatusCode.ServiceUnavailable or HttpStatusCode.BadGateway });
}
