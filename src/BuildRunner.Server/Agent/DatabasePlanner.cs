using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent;

/// <summary>What is so on this host.</summary>
internal sealed record DatabaseFacts
{
    public required AgentState State { get; init; }

    /// <summary>This host's region, for sentences.</summary>
    public string Region { get; init; } = "this region";
    public required bool HasData { get; init; }

    /// <summary>standby.signal is there: PostgreSQL would start as a standby.</summary>
    public required bool StandbySignal { get; init; }

    /// <summary>The guard says that PostgreSQL runs.</summary>
    public required bool Running { get; init; }

    /// <summary>What PostgreSQL says; null: nothing, or it does not run.</summary>
    public DatabaseReading? Reading { get; init; }

    /// <summary>PostgreSQL answered that the application's database does not exist.</summary>
    public bool NoDatabase { get; init; }
    public long? FencedEpoch { get; init; }

    /// <summary>A PostgreSQL is to be adopted here that is not under the guard yet: a clause for people; null: none is.</summary>
    public string? Unfenced { get; init; }

    /// <summary>Its adoption was cut short when it did not run any more, or ran under the guard already.</summary>
    public bool AdoptionCut { get; init; }

    /// <summary>The server answered this start's ask: the epoch is open and this host its primary.</summary>
    public bool Confirmed { get; init; }

    /// <summary>For how long the standby has not come nearer to the epoch's marker, or has not streamed.</summary>
    public TimeSpan Stuck { get; init; }

    /// <summary>Starts that failed in a row.</summary>
    public int StartFailures { get; init; }
}

/// <summary>From an assignment and what is so to the next step. Nothing here starts a primary that the server has not just confirmed.</summary>
internal static class DatabasePlanner
{
    public static readonly TimeSpan StuckMax = TimeSpan.FromSeconds(5);
    private const int StartFailuresMax = 3;

    public static DatabaseStep Decide(DatabaseAssignment assignment, DatabaseFacts facts)
    {
        if (assignment.Epoch < facts.State.SeenEpoch)
            return Wait($"epoch {facts.State.SeenEpoch} has begun, and the server has not said yet what {facts.Region} does in it");
        if (facts.Unfenced is { } unfenced)
            return Unfenced(assignment, facts, unfenced);
        // The first marker is the last thing that is written into a new database: without it nobody has ever used this one. That must have been
        // read: a PostgreSQL that does not answer may hold a database in use.
        if (facts is { Running: true, State.Initialising: true } and ({ NoDatabase: true } or { Reading: { State: DatabaseState.Primary, MarkerEpoch: null } }))
            return new DatabaseStep.StopUnfinished { Reason = "the making of the new database was cut short" };
        if (facts.Running && facts.Reading is null)
            return Wait("PostgreSQL runs and does not answer");
        var hasData = facts.HasData && !facts.State.Initialising && !facts.State.Rebuilding;
        return assignment.Duty switch
        {
            DatabaseDuty.Primary => Primary(assignment, facts, hasData),
            DatabaseDuty.Standby when assignment is { State: EpochState.Open, PrimaryHost: not null } => Standby(assignment, facts, hasData),
            _ when hasData && !facts.Running && facts.StandbySignal && facts.State.PrimaryEpoch is null => new DatabaseStep.StartStandby(Anew: false) { Reason = "a standby runs whatever is being decided" },
            _ => Wait(assignment.State == EpochState.Open ? "the server has it wait: there is no primary to copy yet" : "a run is deciding"),
        };
    }

    /// <summary>Somebody else's PostgreSQL is left alone, but for one whose users wait for the end of what was begun: that is started as any other.</summary>
    private static DatabaseStep Unfenced(DatabaseAssignment assignment, DatabaseFacts facts, string unfenced)
    {
        if (!facts.AdoptionCut || facts.State.Adoption is not { Done: false } note)
            return Wait(unfenced);
        if (note.Primary && facts.FencedEpoch >= note.Epoch)
            return Wait($"its adoption was cut short, and it is fenced at epoch {facts.FencedEpoch}");
        return note switch
        {
            { Primary: false } when assignment.Duty == DatabaseDuty.Standby => new DatabaseStep.Adopt { Reason = "its adoption was cut short" },
            { Primary: true } when assignment.Duty == DatabaseDuty.Primary && assignment.Epoch == note.Epoch => facts.Running || facts.Confirmed
                ? new DatabaseStep.Adopt { Reason = "its adoption was cut short" }
                : new DatabaseStep.Ask { Reason = "asks to end an adoption that was cut short" },
            _ => Wait($"its adoption was cut short, and {facts.Region} is not the {(note.Primary ? $"primary of epoch {note.Epoch}" : "copy")} any more that it was to become"),
        };
    }

    private static DatabaseStep Primary(DatabaseAssignment assignment, DatabaseFacts facts, bool hasData)
    {
        var epoch = assignment.Epoch;
        if (facts.Running)
        {
            return facts.Reading switch
            {
                { State: DatabaseState.Primary } primary when primary.MarkerEpoch == epoch => Wait("takes writes"),
                { State: DatabaseState.Sealed } => Wait("is sealed: a run decides"),
                { State: DatabaseState.Primary } primary => Wait($"its marker is of epoch {primary.MarkerEpoch?.ToString(CultureInfo.InvariantCulture) ?? "none"}, epoch {epoch} is assigned"),
                _ => Wait($"is a standby; an order of a run promotes it to epoch {epoch}"),
            };
        }
        if (facts.FencedEpoch >= epoch)
            return Wait($"fenced at epoch {facts.FencedEpoch}; an order for a higher epoch starts it again");
        if (!hasData)
        {
            return !assignment.Initialise ? Wait("there is no data here, and the database had some before: restore it, or fail over")
                : facts.Confirmed ? new DatabaseStep.Initialise { Reason = "a new database" }
                : new DatabaseStep.Ask { Reason = "asks to make a new database" };
        }
        if (facts.StandbySignal)
            return new DatabaseStep.StartStandby(Anew: false) { Reason = $"is a standby; an order of a run promotes it to epoch {epoch}" };
        if (facts.State.PrimaryEpoch != epoch)
            return Wait($"the data here is of epoch {facts.State.PrimaryEpoch?.ToString(CultureInfo.InvariantCulture) ?? "none"}; an order of a run makes it the primary of epoch {epoch}");
        return facts.Confirmed
            ? new DatabaseStep.StartPrimary { Reason = $"the server confirmed epoch {epoch}" }
            : new DatabaseStep.Ask { Reason = $"asks to start as the primary of epoch {epoch}" };
    }

    private static DatabaseStep Standby(DatabaseAssignment assignment, DatabaseFacts facts, bool hasData)
    {
        var primary = assignment.Primary;
        if (!hasData && !facts.Running)
            return new DatabaseStep.Copy { Reason = $"copies {primary}" };
        if (facts.Running)
        {
            if (facts.Reading is { State: DatabaseState.Primary or DatabaseState.Sealed } stale)
            {
                return stale.MarkerEpoch is { } marker && marker < assignment.Epoch
                    ? new DatabaseStep.StopStale(marker) { Reason = $"epoch {assignment.Epoch} is open in {primary}" }
                    : Wait($"takes writes at epoch {stale.MarkerEpoch?.ToString(CultureInfo.InvariantCulture) ?? "none"} while {primary} is assigned epoch {assignment.Epoch}");
            }
            if (facts.State.CutEpoch >= assignment.Epoch)
                return Wait($"cut from epoch {facts.State.CutEpoch}");
            if (facts.State.Following != Target(assignment))
                return new DatabaseStep.Follow { Reason = $"follows {primary} from now on" };
            if (facts.Stuck > StuckMax)
                return new DatabaseStep.Rejoin { Reason = $"the stream from {primary} has not begun for {StuckMax.TotalSeconds:F0} s" };
            return Wait(facts.Reading is { Streaming: true } && facts.Reading.MarkerEpoch == assignment.Epoch ? $"streams from {primary}" : $"waits for the stream from {primary}");
        }
        if (facts.StandbySignal && facts.State.PrimaryEpoch is null)
        {
            return facts.StartFailures >= StartFailuresMax
                ? new DatabaseStep.Copy { Reason = $"did not start {facts.StartFailures} times; copies {primary} anew" }
                : new DatabaseStep.StartStandby(Anew: facts.State.CutEpoch is null || facts.State.CutEpoch < assignment.Epoch) { Reason = $"follows {primary}" };
        }
        return new DatabaseStep.Rejoin { Reason = $"was the primary of epoch {facts.State.PrimaryEpoch?.ToString(CultureInfo.InvariantCulture) ?? "unknown"} and becomes a standby of {primary}" };
    }

    /// <summary>What a standby is set to: the same region at another address is another target.</summary>
    public static string Target(DatabaseAssignment assignment) => $"{assignment.Primary} {assignment.PrimaryHost}:{assignment.PrimaryPort}";

    private static DatabaseStep.Wait Wait(string reason) => new() { Reason = reason };
}
