using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Failover;

/// <summary>The runbook `failover` with what only this room knows: the plan before, and the report after.</summary>
internal sealed class FailoverSource(FailoverReader reader, LagWatch lags, FailoverReports reports) : RunbookSource(FailoverRunbook.Name)
{
    public override string? WhyNot(PolicyDocument policy, bool automatic) => automatic ? policy.WhyNoAutomaticFailover(frozen: false) : policy.WhyNoFailover();

    public override async Task<RunAdmission> AdmitAsync(IReadOnlyDictionary<string, string> inputs, CancellationToken cancel)
    {
        var facts = await reader.ReadAsync(inputs.GetValueOrDefault("database", "main"), cancel);
        var plan = FailoverPlanner.Plan(facts, new FailoverWish
        {
            Target = inputs.GetValueOrDefault("target"),
            AcceptDataLoss = inputs.GetValueOrDefault("accept_data_loss") == "true",
            AssumeFenced = inputs.GetValueOrDefault("assume_fenced"),
            Automatic = inputs.GetValueOrDefault("automatic") == "true",
        });
        var complete = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var (name, value) in inputs)
            complete[name] = value;
        if (plan.Target is { } target)
            complete["target"] = target;
        // Kept in the journal: a server that takes the run up may not know any more what was known when it began.
        if (plan.KnownLoss is { } loss)
            complete["known_loss_ms"] = loss.TotalMilliseconds.ToString("0", CultureInfo.InvariantCulture);
        if (plan.Primary is { } primary)
        {
            if (lags.Written(primary) is { } written)
                complete["primary_written"] = written.ToString();
            if (reader.DetectedAt(primary) is { } detected)
                complete["detected_at"] = detected.ToString("O", CultureInfo.InvariantCulture);
        }
        return new RunAdmission(complete, plan.Problems, plan.Notes);
    }

    public override Task<RunReport?> ReportAsync(RunState state, RunPhase outcome, CancellationToken cancel) => reports.OfAsync(state, outcome, cancel);
}
