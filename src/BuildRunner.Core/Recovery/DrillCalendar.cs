using System.Text.Json.Serialization;
using BuildRunner.Core.Alerting;

namespace BuildRunner.Core.Recovery;

/// <summary>A kind of drill as the calendar has it: its next times, and what was done about the last one.</summary>
public sealed record DrillSlot
{
    /// <summary>`failover`, `scenario`, `data-recovery` or `disaster`.</summary>
    public required string Kind { get; init; }

    /// <summary>Crontab, UTC.</summary>
    public required string Cron { get; init; }

    /// <summary>Next time after now; null: the crontab has none.</summary>
    public DateTimeOffset? Next { get; init; }

    /// <summary>The latest time that has come and about which nothing has been done; null: none.</summary>
    public DateTimeOffset? Due { get; init; }

    /// <summary>From one time to the next, about now.</summary>
    public TimeSpan Period { get; init; } = TimeSpan.FromDays(7);

    /// <summary>Since when the calendar has it.</summary>
    public DateTimeOffset Since { get; init; }

    /// <summary>True: a drill that is due is done for real; false: it is only evaluated.</summary>
    public bool Armed { get; init; }

    /// <summary>Why this kind cannot be done at all yet; null: it can.</summary>
    public string? NotYet { get; init; }
}

/// <summary>Everything that decides whether a drill of the calendar may begin.</summary>
public sealed record DrillCalendarFacts
{
    public required DateTimeOffset Now { get; init; }
    public required IReadOnlyList<DrillSlot> Slots { get; init; }

    /// <summary>The policy's switch that forbids drills; null: none does.</summary>
    public string? SwitchedOff { get; init; }

    /// <summary>Reason of the freeze in force.</summary>
    public string? Freeze { get; init; }

    /// <summary>Ids of incidents that are open.</summary>
    public IReadOnlyList<string> OpenIncidents { get; init; } = [];

    /// <summary>Those of them in which users are still hurt.</summary>
    public IReadOnlyList<string> UnmitigatedIncidents { get; init; } = [];

    /// <summary>Verdict on recovery, and its sentence.</summary>
    public ReadinessVerdict Readiness { get; init; } = ReadinessVerdict.Unknown;
    public string ReadinessSentence { get; init; } = "";

    /// <summary>What has been red for a while, first found; null: nothing. What only a drill has made red counts no more once it is over.</summary>
    public string? LastingRed { get; init; }

    /// <summary>A run of recovery that is under way; null: none is.</summary>
    public string? UnderWay { get; init; }
}

/// <summary>The closed set of things that the calendar may do next; every answer carries its reason.</summary>
public abstract record DrillCalendarMove
{
    private DrillCalendarMove() { }

    public required string Reason { get; init; }

    /// <summary>Nothing now.</summary>
    public sealed record Wait : DrillCalendarMove;

    /// <summary>Do it for real.</summary>
    public sealed record Run(DrillSlot Slot, DateTimeOffset Due) : DrillCalendarMove;

    /// <summary>Ask only whether it could begin, and write that down.</summary>
    public sealed record Evaluate(DrillSlot Slot, DateTimeOffset Due) : DrillCalendarMove;

    /// <summary>Its time has passed without it; write that down.</summary>
    public sealed record Miss(DrillSlot Slot, DateTimeOffset Due) : DrillCalendarMove;
}

/// <summary>What is done about drills that are due: one at a time, never where it could hurt, and nothing for real that was not armed.</summary>
public static class DrillCalendar
{
    /// <summary>A drill that could not begin within this after its time is missed: another hour is not the quiet one that was chosen.</summary>
    public static readonly TimeSpan LateMax = TimeSpan.FromHours(2);

    public static DrillCalendarMove Decide(DrillCalendarFacts facts)
    {
        string? waits = null;
        foreach (var slot in facts.Slots)
        {
            if (slot.Due is not { } due)
                continue;
            if (slot.NotYet is { } notYet)
                return new DrillCalendarMove.Miss(slot, due) { Reason = notYet };
            if (facts.SwitchedOff is { } off)
                return new DrillCalendarMove.Miss(slot, due) { Reason = off };
            var stands = slot.Armed ? WhyNot(facts) : null;
            if (facts.Now - due > LateMax)
                return new DrillCalendarMove.Miss(slot, due) { Reason = stands ?? $"nothing began within {LateMax.TotalHours:0} h of its time: the server was not there" };
            if (!slot.Armed)
                return new DrillCalendarMove.Evaluate(slot, due) { Reason = "it is not armed" };
            if (stands is null)
                return new DrillCalendarMove.Run(slot, due) { Reason = "it is due, armed, and nothing stands against it" };
            waits ??= $"{slot.Kind}: {stands}";
        }
        return new DrillCalendarMove.Wait { Reason = waits ?? "nothing is due" };
    }

    /// <summary>Incidents that stand against a drill: all that are not resolved, but for what an earlier drill itself left behind and that hurts nobody any more.</summary>
    /// <param name="incidents">In any order.</param>
    /// <param name="drills">Drills that have ended.</param>
    public static IReadOnlyList<Incident> Standing(IEnumerable<Incident> incidents, IReadOnlyList<DrillRecord> drills) =>
        [.. incidents.Where(i => !i.Ended && !drills.Any(d => IsOf(d, i)))];

    /// <summary>
    /// What stands against a drill that a person asks for, one sentence each. A person may drill while an incident is only being worked up, and before
    /// readiness was evaluated; nobody breaks what is broken, or frozen, or could not be mended again.
    /// </summary>
    public static IEnumerable<string> WhyNotByHand(DrillCalendarFacts facts)
    {
        if (facts.Freeze is { } freeze)
            yield return $"A freeze is in force ({freeze}): nothing is broken on purpose. Wait for its end.";
        if (facts.UnmitigatedIncidents is { Count: > 0 } incidents)
            yield return $"{string.Join(", ", incidents.Take(3))} {(incidents.Count == 1 ? "is" : "are")} open: a drill begins when all is well. See `br incident list`.";
        if (facts.LastingRed is { } red)
            yield return $"Recovery would not work ({red.TrimEnd('.')}): what a drill breaks could stay broken. See `br dr readiness`.";
    }

    private static bool IsOf(DrillRecord drill, Incident incident) =>
        (incident.Run is { } run && (run == drill.Failover || run == drill.Id))
        || (incident.State == IncidentState.Mitigated && incident.OpenedAt >= drill.StartedAt && incident.OpenedAt <= drill.EndedAt);

    /// <summary>Why nothing may be broken now; null: nothing stands against it. What is unknown stands against it.</summary>
    public static string? WhyNot(DrillCalendarFacts facts) =>
        facts.SwitchedOff
        ?? (facts.Freeze is { } freeze ? $"a freeze is in force: {freeze}" : null)
        ?? (facts.OpenIncidents.Count > 0 ? $"{string.Join(", ", facts.OpenIncidents.Take(3))} {(facts.OpenIncidents.Count == 1 ? "is" : "are")} open" : null)
        ?? (facts.UnderWay is { } run ? $"{run} is under way" : null)
        ?? (facts.Readiness is ReadinessVerdict.Ready or ReadinessVerdict.ReadyWithWarnings ? null : $"readiness is {(facts.Readiness == ReadinessVerdict.Unknown ? "unknown" : "red")}: {facts.ReadinessSentence}");
}

/// <summary>What was done about the last time of a kind; kept under `drills/calendar/{kind}`.</summary>
public sealed record DrillCalendarRecord
{
    public int SchemaVersion { get; init; } = 1;
    public required string Kind { get; init; }

    /// <summary>Since when the calendar has this kind.</summary>
    public required DateTimeOffset Since { get; init; }

    /// <summary>The time that was dealt with last; null: none has come yet.</summary>
    public DateTimeOffset? Due { get; init; }
    public DateTimeOffset? At { get; init; }

    /// <summary>What was done: `run`, `evaluated` or `missed`.</summary>
    public DrillCalendarWord? Did { get; init; }
    public string? Reason { get; init; }
    public string? Run { get; init; }
}

[JsonConverter(typeof(SnakeCaseEnumConverter<DrillCalendarWord>))]
public enum DrillCalendarWord
{
    Run,
    Evaluated,
    Missed,
}

/// <summary>That a kind is done for real when it is due; kept under `drills/armed/{kind}`.</summary>
public sealed record DrillArming
{
    public int SchemaVersion { get; init; } = 1;
    public required string Kind { get; init; }
    public required string By { get; init; }
    public required DateTimeOffset At { get; init; }

    /// <summary>Null: until somebody takes it back.</summary>
    public DateTimeOffset? Until { get; init; }
}
