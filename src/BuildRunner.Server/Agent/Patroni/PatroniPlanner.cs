using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent.Patroni;

/// <summary>From an assignment and what is so to the next step.</summary>
internal static class PatroniPlanner
{
    /// <param name="assignment">What the region is to be.</param>
    /// <param name="state">What this agent remembers.</param>
    /// <param name="cluster">What Patroni says; null: nothing.</param>
    /// <param name="reading">What PostgreSQL says; null: nothing.</param>
    /// <param name="fenced">Highest epoch that ended here.</param>
    /// <param name="upstream">The primary's address as this region reaches it; null: there is none.</param>
    public static PatroniStep Decide(DatabaseAssignment assignment, AgentState state, PatroniCluster? cluster, DatabaseReading? reading, long? fenced, (string Host, int Port)? upstream)
    {
        if (assignment.Epoch < state.SeenEpoch)
            return Wait($"epoch {state.SeenEpoch} has begun, and the server has not said yet what this region does in it");
        if (cluster is null)
            return Wait("Patroni does not answer");
        if (cluster.Paused)
            return Wait("Patroni is paused (`patronictl resume`)");
        return assignment.Duty switch
        {
            DatabaseDuty.Primary => Primary(assignment, state, cluster, reading, fenced),
            DatabaseDuty.Standby when assignment.State == EpochState.Open && upstream is { } to => Standby(assignment, state, cluster, reading, to),
            _ => Wait("a run is deciding"),
        };
    }

    private static PatroniStep Primary(DatabaseAssignment assignment, AgentState state, PatroniCluster cluster, DatabaseReading? reading, long? fenced)
    {
        if (fenced >= assignment.Epoch)
            return Wait($"epoch {fenced} ended here");
        if (cluster.Upstream is not null)
            return Wait($"it is a standby cluster, and the primary of epoch {assignment.Epoch} by the record: a run promotes it (`br dr failover`)");
        if (reading is not { State: DatabaseState.Primary })
            return Wait("its PostgreSQL does not take writes yet");
        if (reading.MarkerEpoch is null && assignment.Epoch == 1)
            return new PatroniStep.Adopt(Mark: true) { Reason = "the first epoch begins with the cluster that is there" };
        if (reading.MarkerEpoch != assignment.Epoch)
            return Wait($"the data here bears the marker of epoch {reading.MarkerEpoch?.ToString(CultureInfo.InvariantCulture) ?? "none"}, not of {assignment.Epoch}");
        return state.PrimaryEpoch == assignment.Epoch
            ? Wait("it takes writes")
            : new PatroniStep.Adopt(Mark: false) { Reason = $"it is the primary of epoch {assignment.Epoch}" };
    }

    private static PatroniStep Standby(DatabaseAssignment assignment, AgentState state, PatroniCluster cluster, DatabaseReading? reading, (string Host, int Port) to)
    {
        // A cluster that takes writes is demoted only when an epoch of this house has ended there: one that was never taken over may be the real primary.
        if (cluster.Upstream is null && !(reading?.MarkerEpoch < assignment.Epoch))
            return Wait(reading?.MarkerEpoch is { } marker ? $"it takes writes and bears the marker of epoch {marker}, which is not before {assignment.Epoch}" : "it takes writes and bears no epoch's marker: whether it was ever a copy of this database is not known; a person decides");
        if (state.CutEpoch >= assignment.Epoch)
            return Wait("a run has cut it off");
        if (cluster.Upstream is not { } upstream || upstream.Host != to.Host || upstream.Port != to.Port)
        {
            return new PatroniStep.Follow(assignment.Primary ?? "", to.Host, to.Port)
            {
                Reason = cluster.Upstream is null ? $"epoch {assignment.Epoch} is open in {assignment.Primary}: whoever took writes here takes none any more" : $"{assignment.Primary} is the primary of epoch {assignment.Epoch}",
            };
        }
        if (!cluster.IsDemoted)
            return Wait($"it is becoming a standby cluster of {assignment.Primary}");
        return state.PrimaryEpoch is not null || state.Following != assignment.Primary
            ? new PatroniStep.Followed { Reason = $"it follows {assignment.Primary}" }
            : Wait($"it follows {assignment.Primary}");
    }

    private static PatroniStep.Wait Wait(string reason) => new() { Reason = reason };
}
