using System.Net.Http.Headers;
using System.Text;
using BuildRunner.Client.Routing;
using BuildRunner.Core.Routing;

namespace BuildRunner.Server.Gateway;

/// <summary>
/// Requests of our own (warm, verify) on the users' way: same choice of region and instance, same connections, same epoch. They pass holds, and count
/// as test traffic only.
/// </summary>
internal sealed class ProbeOrders(GatewayOptions options, GatewayTable table, Forwarding forwarding, Origins origins, TrafficCounts traffic, TargetWatch targets, TimeProvider time)
{
    private const int TimesMax = 1000;
    private const int BodyMax = 64 * 1024;
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(25);

    public async Task<ProbeResult> SendAsync(ProbeOrder order, long epoch, CancellationToken cancel)
    {
        var (succeeded, failed, total) = (0, 0, 0.0);
        var last = new Answer(null, null, null, null);
        for (var i = 0; i < Math.Clamp(order.Times, 1, TimesMax); i++)
        {
            var started = time.GetTimestamp();
            last = await SendOnceAsync(order, epoch, cancel);
            total += time.GetElapsedTime(started).TotalMilliseconds;
            traffic.Tested();
            if (last.Status is >= 200 and < 300)
                succeeded++;
            else
                failed++;
        }
        return new ProbeResult(succeeded, failed, last.Status, last.ServedBy, last.Error, last.Body, total / (succeeded + failed));
    }

    /// <summary>Repeats within the time what surely was not executed: no connection yet, or an application that is not yet at the epoch.</summary>
    private async Task<Answer> SendOnceAsync(ProbeOrder order, long epoch, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(order.TimeoutMs);
        var why = "no answer";
        try
        {
            while (true)
            {
                var changed = table.Changed;
                var (answer, repeat) = await TryAsync(order, epoch, limit.Token);
                if (!repeat)
                    return answer;
                why = answer.Error ?? why;
                await changed.WaitAsync(Pause, time, limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                limit.Token.ThrowIfCancellationRequested();
            }
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            return new Answer(null, null, $"{why}, for {order.TimeoutMs} ms", null);
        }
    }

    private async Task<(Answer Answer, bool Repeat)> TryAsync(ProbeOrder order, long epoch, CancellationToken cancel)
    {
        if (table.State is not { } state)
            return (new(null, null, "this gateway has no table yet", null), true);
        var view = state.View;
        if (view.MatchService(order.Service) is not { } match)
            return (new(null, null, $"the table knows no service {order.Service}", null), false);
        var row = match.Service.Database is { } database ? view.Database(database) : null;
        if (row is not null && row.Epoch < epoch)
            return (new(null, null, $"this gateway's table is at epoch {row.Epoch}, {epoch} is wanted", null), true);

        var facts = new RequestFacts { Gateway = options.Region, Method = order.Method, Path = order.Path, Client = ClientKey.Mix(0, options.Region), SeenDown = targets.SeenDown };
        var (region, refusal) = order.Region is { } named ? (named, null) : RegionChoice.Choose(facts, view, time.GetUtcNow(), match: match) switch
        {
            RegionDecision.Send send => (send.Region, null),
            RegionDecision.Hold hold => (hold.Region, null),
            RegionDecision.Refuse refuse => ((string?)null, refuse.Because),
            _ => (null, "no decision"),
        };
        if (region is null || forwarding.Pick(view, match.Service, region, facts.Client, null) is not { } instance)
            return (new(null, null, refusal ?? $"no instance of {order.Service} in {region}", null), true);

        using var request = new HttpRequestMessage(new HttpMethod(order.Method), new Uri(new Uri(instance.Address), order.Path));
        request.Headers.TryAddWithoutValidation("X-Gateway", options.Region);
        request.Headers.TryAddWithoutValidation("User-Agent", "BuildRunner-Gateway/1");
        if (row is not null)
            request.Headers.TryAddWithoutValidation(Exchange.EpochHeader, row.Epoch.ToString(CultureInfo.InvariantCulture));
        if (order.Body is not null)
            request.Content = new StringContent(order.Body, Encoding.UTF8, new MediaTypeHeaderValue("application/json"));
        else if (!RouteMatch.IsSafe(order.Method))
            request.Content = new ByteArrayContent([]);
        try
        {
            using var answer = await origins.For(region).SendAsync(request, cancel);
            await answer.Content.LoadIntoBufferAsync(BodyMax, cancel);
            var body = await answer.Content.ReadAsStringAsync(cancel);
            var status = (int)answer.StatusCode;
            var servedBy = answer.Headers.TryGetValues("X-Served-By", out var by) ? by.FirstOrDefault() : null;
            return (new(status, servedBy, status is >= 200 and < 300 ? null : $"{instance.Id} in {region} answered {status}", body), Repeat: status == 421);
        }
        catch (HttpRequestException error)
        {
            var unreachable = OriginUnreachableException.In(error);
            return (new(null, null, unreachable?.Message ?? error.Message, null), Repeat: unreachable is not null);
        }
    }

    private sealed record Answer(int? Status, string? ServedBy, string? Error, string? Body);
}
