using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent.Patroni;

/// <summary>From an assignment and what is so to the next step.</summary>
internal static class PatroniPlanner
{
    /// <param name="assignment">What the region is to be.</param>
    /// <param name="state">What this agent remembers.</param>
    /// <param name="facts">What is so.</param>
    public static PatroniStep Decide(DatabaseAssignment assignment, AgentState state, PatroniFacts facts)
    {
        if (assignment.Epoch < state.SeenEpoch)
            return Wait($"epoch {state.SeenEpoch} has begun, and the server has not said yet what this region does in it");
        if (facts.Cluster is not { } cluster)
            return Wait("Patroni does not answer");
        if (cluster.Paused)
            return Wait("Patroni is paused (`patronictl resume`)");
        return assignment.Duty switch
        {
            DatabaseDuty.Primary => Primary(assignment, state, cluster, facts),
            DatabaseDuty.Standby when assignment.State == EpochState.Open && facts.Upstream is { } to => Standby(assignment, state, cluster, facts, to),
            _ => Wait(assignment.State == EpochState.Open ? "the server has it wait: there is no primary to copy yet" : "a run is deciding"),
        };
    }

    /// <summary>The timelines are to be compared before anything is decided.</summary>
    public static bool NeedsTimelines(DatabaseAssignment assignment, AgentState state, PatroniFacts facts) =>
        assignment is { Duty: DatabaseDuty.Standby, State: EpochState.Open } && facts is { Upstream: not null, Reading: not null, Cluster: { } cluster } && IsApart(assignment, state, cluster, facts.Reading);

    /// <summary>Silenced after it took writes in another's epoch. Whoever holds the marker of the new epoch has its data from there.</summary>
    private static bool IsApart(DatabaseAssignment assignment, AgentState state, PatroniCluster cluster, DatabaseReading? reading) =>
        cluster.Upstream is { Host: null } && state.Stale is not null && !(reading?.MarkerEpoch >= assignment.Epoch);

    private static PatroniStep Primary(DatabaseAssignment assignment, AgentState state, PatroniCluster cluster, PatroniFacts facts)
    {
        var reading = facts.Reading;
        if (facts.Fenced >= assignment.Epoch)
            return Wait($"epoch {facts.Fenced} ended here");
        if (cluster.Upstream is { Host: null } && assignment.State == EpochState.Open && state.Demotion?.Epoch == assignment.Epoch)
            return facts.Confirmed
                ? new PatroniStep.Restore { Reason = $"it was demoted for a run that never had its proof, and epoch {assignment.Epoch} is open still" }
                : new PatroniStep.Ask { Reason = $"it was demoted for a run that never had its proof: takes writes again when the server confirms that epoch {assignment.Epoch} is open still" };
        if (cluster.Upstream is not null)
            return Wait($"it is a standby cluster, and the primary of epoch {assignment.Epoch} by the record: a run promotes it (`br dr failover`)");
        if (reading is not { State: DatabaseState.Primary })
            return Wait("its PostgreSQL does not take writes yet");
        if (reading.MarkerEpoch is null && assignment.Epoch == 1)
            return new PatroniStep.Adopt(Mark: true) { Reason = "the first epoch begins with the cluster that is there" };
        if (reading.MarkerEpoch != assignment.Epoch)
            return Wait($"the data here bears the marker of epoch {reading.MarkerEpoch?.ToString(CultureInfo.InvariantCulture) ?? "none"}, not of {assignment.Epoch}");
        return state.PrimaryEpoch == assignment.Epoch && state is { Demotion: null, Stale: null }
            ? Wait("it takes writes")
            : new PatroniStep.Adopt(Mark: false) { Reason = $"it is the primary of epoch {assignment.Epoch}" };
    }

    private static PatroniStep Standby(DatabaseAssignment assignment, AgentState state, PatroniCluster cluster, PatroniFacts facts, (string Host, int Port) to)
    {
        var reading = facts.Reading;
        // A cluster that takes writes is demoted only when an epoch of this house has ended there: one that was never taken over may be the real primary.
        if (cluster.Upstream is null)
        {
            return reading?.MarkerEpoch < assignment.Epoch || (reading is null && state.PrimaryEpoch < assignment.Epoch)
                ? new PatroniStep.Silence { Reason = $"epoch {assignment.Epoch} is open in {assignment.Primary}: whoever took writes here takes none any more" }
                : Wait(reading?.MarkerEpoch is { } marker ? $"it takes writes and bears the marker of epoch {marker}, which is not before {assignment.Epoch}" : "it takes writes and bears no epoch's marker: whether it was ever a copy of this database is not known; a person decides");
        }
        if (state.CutEpoch >= assignment.Epoch)
            return Wait("a run has cut it off");
        if (IsApart(assignment, state, cluster, reading))
        {
            if (facts.Timelines is not { } timelines)
                return Wait($"the timelines of it and of {assignment.Primary} are not known yet");
            if (!timelines.Here.IsRewoundTo(timelines.There))
                return new PatroniStep.Part { Reason = $"both this cluster and {assignment.Primary} have a timeline {timelines.Here.Number}, and they are not the same: Patroni would not see it" };
        }
        if (cluster.Upstream.Host != to.Host || cluster.Upstream.Port != to.Port)
            return new PatroniStep.Follow(assignment.Primary ?? "", to.Host, to.Port) { Reason = $"{assignment.Primary} is the primary of epoch {assignment.Epoch}" };
        if (!cluster.IsDemoted)
            return Wait($"it is becoming a standby cluster of {assignment.Primary}");
        return state.PrimaryEpoch is not null || state.Following != assignment.Primary || state is not { Demotion: null, Stale: null }
            ? new PatroniStep.Followed { Reason = $"it follows {assignment.Primary}" }
            : Wait($"it follows {assignment.Primary}");
    }

    private static PatroniStep.Wait Wait(string reason) => new() { Reason = reason };
}
