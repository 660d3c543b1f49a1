using BuildRunner.Core.Policy;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Routing;

/// <summary>
/// `traffic.quietest`: the hour of the day with the fewest requests, from what the gateways counted in up to 14 days. It only looks, and never fails for
/// what is not known: outputs `known` (true, false), `begin` and `rps` when known, and `sentence` for people.
/// </summary>
internal sealed class QuietestAction(TrafficHoursLoop hours, TimeProvider time) : IAction
{
    public string Name => "traffic.quietest";

    public async Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) => new() { Note = (await LookAsync(cancel)).Sentence };

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var (known, begin, rate, sentence) = await LookAsync(cancel);
        context.Progress(sentence);
        return ActionOutcome.Finished(("known", known ? "true" : "false"), ("begin", begin), ("rps", rate), ("sentence", sentence));
    }

    private async Task<(bool Known, string? Begin, string? Rate, string Sentence)> LookAsync(CancellationToken cancel)
    {
        if ((await hours.ReadAsync(cancel)).Quietest(time.GetUtcNow()) is not { } quiet)
            return (false, null, null, "The quietest hour is unknown: there is not yet a day's worth of measured traffic.");
        var begin = quiet.Begin.UtcDateTime.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture) + " UTC";
        var rate = quiet.Rate.ToString("0.##", CultureInfo.InvariantCulture);
        return (true, begin, rate, string.Create(CultureInfo.InvariantCulture, $"The quietest hour begins at {begin}: {rate} requests a second, {quiet.MeanRate:0.##} in an average hour ({quiet.Days} {(quiet.Days == 1 ? "day" : "days")} measured)."));
    }
}

/// <summary>`traffic.drained`: waits until a region serves at most `max` (default 0) requests a second, as all gateways count the last 10 s. It only looks.</summary>
internal sealed class DrainedAction(IPolicySource policy, INodeReports reports, TimeProvider time) : IAction
{
    private static readonly TimeSpan Look = TimeSpan.FromSeconds(1);

    public string Name => "traffic.drained";

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) => Task.FromResult(
        context.IsFoundOut("region") ? new ActionCheck { Note = "its region is found out by an earlier step" }
        : Wrong(context, out _) is { } wrong ? new ActionCheck { Problems = [wrong] } : new ActionCheck { Note = WhyNot(context) is { } why ? $"now: {why}" : "so already", Expected = TimeSpan.FromSeconds(10) });

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        if (Wrong(context, out _) is { } wrong)
            return new ActionOutcome.Refused(wrong);
        using var pace = new PeriodicTimer(Look, time);
        while (WhyNot(context) is { } why)
        {
            context.Progress(why);
            try { await pace.WaitForNextTickAsync(cancel); }
            catch (OperationCanceledException) { return new ActionOutcome.Failed($"Not so in time: {why}."); }
        }
        return ActionOutcome.Finished();
    }

    public Task<ActionVerdict> VerifyAsync(ActionContext context, CancellationToken cancel) => Task.FromResult<ActionVerdict>(
        WhyNot(context) is { } why ? new ActionVerdict.NotSo(why) : new ActionVerdict.So(new Dictionary<string, string>()));

    private string? WhyNot(ActionContext context)
    {
        Wrong(context, out var max);
        var region = context.Argument("region")!;
        var gateways = policy.Current.Regions.Select(r => reports.Gateway(r.Code)).OfType<Client.Routing.GatewayReport>().ToList();
        if (gateways.Count == 0)
            return "no gateway reports, so that nobody counts";
        var rate = gateways.Sum(g => g.Traffic.RatePerRegion.GetValueOrDefault(region));
        return rate <= max ? null : string.Create(CultureInfo.InvariantCulture, $"{region} still serves {rate:0.#} requests a second");
    }

    private string? Wrong(ActionContext context, out double max)
    {
        max = 0;
        if (context.Argument("region") is not { } region)
            return $"Step '{context.Step.Id}' names no region: `with: {{region: …}}`.";
        if (policy.Current.Regions is { Count: > 0 } regions && regions.All(r => r.Code != region))
            return $"There is no region '{region}'. {Nearest.Fix(region, [.. regions.Select(r => r.Code)])}";
        return context.Argument("max") is { } text && (!double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out max) || max < 0)
            ? $"`max: {text}` is no number of requests a second."
            : null;
    }
}
