using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Failover;

/// <summary>What a move of a primary came to (FAILOVER.md 9), whichever runbook made it.</summary>
internal sealed class FailoverReports(INodeReports reports, IPolicySource policy, TimeProvider time)
{
    /// <summary>A gateway reports twice a second: the first write after is known soon, and not waited for longer.</summary>
    private static readonly TimeSpan OutageMax = TimeSpan.FromSeconds(1.5);

    public async Task<RunReport?> OfAsync(RunState state, RunPhase outcome, CancellationToken cancel)
    {
        string? Output(string name) => state.Outputs.TryGetValue(name, out var value) ? value : null;
        var opened = long.TryParse(Output("open.epoch"), NumberStyles.None, CultureInfo.InvariantCulture, out var epoch);
        if (opened)
            await reports.WaitAsync(seen => Gateways(seen).All(g => g.Writes.Count == 0 || g.Writes.Any(w => w.Epoch == epoch)), OutageMax, cancel);
        var outages = opened ? Outages(reports, policy, epoch) : new Dictionary<string, double>();
        var resumed = state.Steps.FirstOrDefault(s => s.Step.Id == "resume" && s.Status == StepStatus.Done)?.EndedAt;
        var rto = resumed - state.StartedAt;
        var verified = state.Steps.Any(s => s.Step.Id == "verify" && s.Status == StepStatus.Done);
        var objective = policy.Current.Recovery.Rto;
        var report = new FailoverReport
        {
            Success = outcome == RunPhase.Succeeded && resumed is not null && verified,
            Database = state.Inputs.GetValueOrDefault("database", "main"),
            From = Output("close.primary"),
            To = state.Inputs.GetValueOrDefault("target"),
            FormerEpoch = long.TryParse(Output("close.epoch"), NumberStyles.None, CultureInfo.InvariantCulture, out var former) ? former : null,
            Epoch = opened ? epoch : null,
            Proof = Output("fence.proof") is { } proof ? JsonSerializer.Deserialize(proof, WireJson.Default.FenceProof) : null,
            Fork = Output("promote.fork"),
            FormerEnd = Output("fence.end"),
            SealedAt = Output("catch-up.held") is not null ? Output("seal.at") : null,
            Timeline = int.TryParse(Output("promote.timeline"), NumberStyles.None, CultureInfo.InvariantCulture, out var timeline) ? timeline : null,
            OutageMs = outages.Count > 0 ? outages.Values.Max() : null,
            OutagePerGateway = outages,
            RtoMs = rto?.TotalMilliseconds,
            RtoFromDetectionMs = state.Inputs.TryGetValue("detected_at", out var text) && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, out var detected) ? (resumed - detected)?.TotalMilliseconds : null,
            RtoObjectiveMs = objective.TotalMilliseconds,
            RtoAchieved = rto is { } took && took <= objective,
            DurationMinutes = (time.GetUtcNow() - state.StartedAt).TotalMinutes,
            HeldBy = Output("select.held_by"),
            KnownLossMs = double.TryParse(Output("select.known_loss_ms"), CultureInfo.InvariantCulture, out var known) ? known : null,
            Lost = opened ? new RunLost(null, null, null, null) : null,
            Warnings = [.. Warnings(state)],
        };
        return new RunReport(JsonSerializer.SerializeToElement(report, RecoveryJson.Default.FailoverReport), report.OutageMs, report.Lost);
    }

    /// <summary>Write outages that the gateways measured for an epoch, by region.</summary>
    internal static Dictionary<string, double> Outages(INodeReports reports, IPolicySource policy, long epoch) => policy.Current.Regions
        .Select(region => (region.Code, Outage: reports.Gateway(region.Code)?.Writes.FirstOrDefault(w => w.Epoch == epoch)?.OutageMs))
        .Where(g => g.Outage is not null).ToDictionary(g => g.Code, g => g.Outage!.Value);

    private IEnumerable<Client.Routing.GatewayReport> Gateways(INodeReports seen) => policy.Current.Regions.Select(r => seen.Gateway(r.Code)).OfType<Client.Routing.GatewayReport>();

    private static IEnumerable<string> Warnings(RunState state)
    {
        if (state.Outputs.TryGetValue("hold.confirmed", out var confirmed) && confirmed == "false")
            yield return $"Not every gateway confirmed the hold: {state.Outputs["hold.gateways"]}.";
        if (state.Outputs.TryGetValue("hold.cut", out var cut))
            yield return $"Reads were still under way when the old primary was stopped, and may have been cut: {cut}.";
        if (state.Outputs.TryGetValue("select.ahead", out var ahead))
            yield return $"Another copy held more than the target: {ahead}.";
        if (state.Outputs.TryGetValue("verify.away", out var away))
            yield return $"Went away while it was verified, and is not counted: {away}.";
        if (state.Outputs.TryGetValue("select.unreachable", out var unreachable))
            yield return $"Did not answer when the copies were cut off the old epoch: {unreachable}.";
        foreach (var step in state.Steps.Where(s => s.Status == StepStatus.Failed))
            yield return $"{step.Step.Title} ({step.Step.Id}): {step.Error}";
        if (state.Resumes > 0)
            yield return $"The server was restarted {state.Resumes} times during the run.";
    }
}
