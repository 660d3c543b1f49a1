using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Routing;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Routing;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Failover;

/// <summary>A few requests warm the new primary's application; never longer than half a second, and never in the way.</summary>
internal sealed class WarmAction(INodeLinks links, NodeReach reach, IPolicySource policy) : IAction
{
    private static readonly TimeSpan WarmMax = TimeSpan.FromMilliseconds(500);
    private const int Requests = 4;

    public string Name => "failover.warm";

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) =>
        Task.FromResult(new ActionCheck { Note = "at most 500 ms", Expected = TimeSpan.FromMilliseconds(200) });

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var target = context.Arguments["target"];
        var services = policy.Current.Services.Where(s => s.Database == context.Arguments["database"] && s.WarmPath is not null).ToList();
        await reach.ListenAsync(cancel);
        var gateway = reach.Gateways.OrderByDescending(code => code == target).FirstOrDefault();
        if (services.Count == 0 || gateway is null)
            return ActionOutcome.Finished(("warmed", services.Count == 0 ? "no service of this database names a warm_path" : "no gateway reports"));
        var answers = await Task.WhenAll(services.Select(async service => (service.Name, Answer: await links.GiveAsync(Orders.Gateway(gateway), $"{context.Key}/{service.Name}", GatewayOrders.Probe, 0, context,
            new ProbeOrder { Service = service.Name, Method = "GET", Path = service.WarmPath!, Times = Requests, Region = target, TimeoutMs = (int)WarmMax.TotalMilliseconds },
            WireJson.Default.ProbeOrder, WireJson.Default.ProbeResult, WarmMax, cancel))));
        return ActionOutcome.Finished(("warmed", string.Join("; ", answers.Select(a => $"{a.Name}: {(a.Answer.Data is { } done ? $"{done.Succeeded} of {done.Succeeded + done.Failed}" : a.Answer.Error)}"))));
    }
}

/// <summary>A write and a read through every live gateway, past the hold, and what the new primary says of its copies.</summary>
internal sealed class VerifyAction(INodeLinks links, INodeReports reports, NodeReach reach, IPolicySource policy, TimeProvider time) : IAction
{
    private static readonly TimeSpan VerifyMax = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(50);
    private const int ProbeMs = 1000;

    public string Name => "failover.verify";

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel) =>
        Task.FromResult(new ActionCheck { Expected = TimeSpan.FromMilliseconds(400) });

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var epoch = long.Parse(context.Outputs["open.epoch"], CultureInfo.InvariantCulture);
        var services = policy.Current.Services.Where(s => s.Database == context.Arguments["database"] && s.VerifyPath is not null).ToList();
        await reach.ListenAsync(cancel);
        var gateways = reach.Gateways;
        if (services.Count == 0)
            return ActionOutcome.Finished(("verified", "by health alone: no service of this database names a verify_path"), ("replication", Replication(context)));
        if (gateways.Count == 0)
            return new ActionOutcome.Failed("No gateway can be reached: no write and no read was seen to work.");

        var answers = await Task.WhenAll(gateways.SelectMany(gateway => services.Select(service => ThroughAsync(gateway, service, epoch, context, cancel))));
        foreach (var answer in answers)
            context.Progress($"{answer.Gateway}: {answer.Error ?? (answer.Away ? "went away" : $"wrote and read at epoch {epoch}, served by {answer.ServedBy}")}");
        var away = answers.Where(a => a.Away).Select(a => a.Gateway).Distinct().ToList();
        var failed = answers.Where(a => a.Error is not null).ToList();
        if (failed.Count == 0 && answers.All(a => a.Away))
            return new ActionOutcome.Failed($"Every gateway went away meanwhile ({string.Join(", ", away)}): no write and no read was seen to work.");
        return failed.Count > 0
            ? new ActionOutcome.Failed(string.Join("; ", failed.Select(f => $"through {f.Gateway}: {f.Error}")))
            : ActionOutcome.Finished(
                ("verified", string.Join("; ", answers.Where(a => !a.Away).Select(a => $"{a.Gateway} → {a.ServedBy}"))), ("replication", Replication(context)),
                ("away", away.Count > 0 ? string.Join(", ", away) : null));
    }

    /// <summary>
    /// Tries until the time is up: the application learns its new write address a moment after the epoch has opened. A gateway whose line
    /// breaks meanwhile is away: users do not reach it either.
    /// </summary>
    private async Task<Through> ThroughAsync(string gateway, ServiceDefinition service, long epoch, ActionContext context, CancellationToken cancel)
    {
        var begun = time.GetTimestamp();
        var error = "no answer";
        for (var attempt = 1; time.GetElapsedTime(begun) < VerifyMax; attempt++)
        {
            if (attempt > 1)
                await Task.Delay(Pause, time, cancel);
            var id = string.Create(CultureInfo.InvariantCulture, $"{context.Key}/{context.Attempt}/{gateway}/{service.Name}/{attempt}");
            var wrote = await ProbeAsync(gateway, id + "/w", new ProbeOrder { Service = service.Name, Method = "POST", Path = service.VerifyPath!, TimeoutMs = ProbeMs }, context, cancel);
            if (wrote is null)
                return new(gateway, null, null, Away: true);
            if (wrote.Data is not { Succeeded: > 0 } write || Answer(write.Body) is not { } written)
            {
                error = $"the write failed ({Said(wrote)})";
                continue;
            }
            if (written.Epoch != epoch)
            {
                error = $"the write was answered under epoch {written.Epoch} and not {epoch}";
                continue;
            }
            var read = await ProbeAsync(gateway, id + "/r", new ProbeOrder { Service = service.Name, Method = "GET", Path = $"{service.VerifyPath}?id={Uri.EscapeDataString(written.Id)}", Region = context.Arguments["target"], TimeoutMs = ProbeMs }, context, cancel);
            if (read is null)
                return new(gateway, null, null, Away: true);
            if (read.Data is { Succeeded: > 0 })
                return new(gateway, write.ServedBy, null, Away: false);
            error = $"the read failed ({Said(read)})";
        }
        return reach.Gateway(gateway) ? new(gateway, null, error, Away: false) : new(gateway, null, null, Away: true);
    }

    private sealed record Through(string Gateway, string? ServedBy, string? Error, bool Away);

    /// <summary>Null: the gateway's line broke.</summary>
    private Task<OrderAnswer<ProbeResult>?> ProbeAsync(string gateway, string id, ProbeOrder order, ActionContext context, CancellationToken cancel) =>
        reach.WhileGatewayAsync(gateway, stop => links.GiveAsync(
            Orders.Gateway(gateway), id, GatewayOrders.Probe, 0, context, order, WireJson.Default.ProbeOrder, WireJson.Default.ProbeResult, TimeSpan.FromMilliseconds(ProbeMs * 2), stop), cancel);

    private static string Said(OrderAnswer<ProbeResult> answer) => answer.Data is { } probe ? $"{probe.LastStatus?.ToString(CultureInfo.InvariantCulture) ?? "no answer"}{(probe.Error is { } e ? $", {e}" : "")}" : answer.Error ?? "no answer";

    private static (long Epoch, string Id)? Answer(string? body)
    {
        if (body is null)
            return null;
        try
        {
            using var json = JsonDocument.Parse(body);
            return json.RootElement.TryGetProperty("epoch", out var epoch) && json.RootElement.TryGetProperty("id", out var id) ? (epoch.GetInt64(), id.ToString()) : null;
        }
        catch (JsonException) { return null; }
    }

    private string Replication(ActionContext context) => reports.LastAgent(context.Arguments["target"])?.Report.Database is { } reading
        ? $"{reading.State.ToString().ToLowerInvariant()}; copies: {(reading.Replicas.Count == 0 ? "none yet" : string.Join(", ", reading.Replicas.Select(r => $"{r.Region} {r.State}")))}"
        : "unknown";
}

/// <summary>Held writes go.</summary>
internal sealed class ResumeAction(ITrafficControl traffic) : IAction
{
    private static readonly TimeSpan ConfirmMax = TimeSpan.FromSeconds(1);

    public string Name => "failover.resume";

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        switch (await traffic.ReleaseAsync(context.Arguments["database"], context.Run, context.Fence, cancel))
        {
            case TrafficOutcome.Fenced fenced:
                throw new StoreFencedException($"Another server leads now (fencing token {fenced.Current}).");
            case TrafficOutcome.Taken taken:
                return new ActionOutcome.Failed($"The writes are held by run {taken.HoldId}.");
            case TrafficOutcome.Done done:
                var said = await traffic.WaitTableAsync(done.TableVersion, ConfirmMax, cancel);
                return ActionOutcome.Finished(("gateways", said.Sentence), ("confirmed", said.Confirmed ? "true" : "false"));
            default:
                throw new InvalidOperationException("A release ended in no known way.");
        }
    }
}

/// <summary>The other copies stream from the new primary; the old region is not waited for.</summary>
internal sealed class SettleFollowersAction(Epochs epochs, INodeReports reports, NodeReach reach) : IAction
{
    private static readonly TimeSpan SettleMax = TimeSpan.FromSeconds(10);

    public string Name => "failover.settle-followers";

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        if (await epochs.GetAsync(context.Arguments["database"], cancel) is not { } record)
            return new ActionOutcome.Failed("The database has no epoch.");
        await reach.ListenAsync(cancel);
        var expected = record.Candidates.Where(code => code != record.Primary && code != record.Former?.Primary && reach.Agent(code)).ToList();
        await reports.WaitAsync(seen => expected.All(code => Follows(seen.Agent(code)?.Database, record)), SettleMax, cancel);
        var pending = expected.Where(code => !Follows(reports.Agent(code)?.Database, record)).ToList();
        return pending.Count == 0
            ? ActionOutcome.Finished(("following", string.Join(", ", expected)))
            : new ActionOutcome.Failed($"Not following {record.Primary} yet: {string.Join("; ", pending.Select(code => $"{code} ({Said(reports.LastAgent(code)?.Report.Database)})"))}.");
    }

    internal static string Said(DatabaseReading? reading) => reading switch
    {
        null => "no report",
        { Detail: { Length: > 0 } detail } => $"{reading.State.ToString().ToLowerInvariant()}, {detail}",
        _ => reading.State.ToString().ToLowerInvariant(),
    };

    /// <summary>"Streaming" shows for a moment even for a copy that has diverged: the new epoch's marker in it is the evidence.</summary>
    internal static bool Follows(DatabaseReading? reading, EpochRecord record) =>
        reading is { State: DatabaseState.Standby, Streaming: true } && reading.Following == record.Primary && reading.MarkerEpoch >= record.Epoch;
}
