using System.Text.Json.Serialization;

namespace BuildRunner.Core.Recovery;

/// <summary>What an agent breaks on its own host for a drill.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<FaultKind>))]
public enum FaultKind
{
    /// <summary>The guard and PostgreSQL get SIGKILL, and are not started again.</summary>
    Kill,

    /// <summary>PostgreSQL is stopped at once by its guard, and not started again.</summary>
    Stop,

    /// <summary>Processes are stopped without being ended (SIGSTOP): their connections stay open and nothing answers.</summary>
    Freeze,

    /// <summary>Processes run a fifth of the time: stopped for 80 ms of every 100.</summary>
    Slow,

    /// <summary>The host hears nobody and nobody hears it: packets are lost in silence, both ways.</summary>
    Partition,

    /// <summary>The volume of the database's data has no room left.</summary>
    FillDisk,
}

/// <summary>Which processes of a region are frozen or made slow.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<FaultPart>))]
public enum FaultPart
{
    /// <summary>PostgreSQL: frozen, only its first process (its sessions go on, which makes it the worst); slow, all of them.</summary>
    Postgres,

    /// <summary>The guard and every process of PostgreSQL.</summary>
    Database,
    Guard,
    Agent,

    /// <summary>The agent and all that it started: guard, PostgreSQL, application.</summary>
    Region,
}

/// <summary>What follows from a fault's kind and part.</summary>
public static class FaultKinds
{
    /// <summary>No fault lasts longer, whoever forgets it.</summary>
    public static readonly TimeSpan DurationMax = TimeSpan.FromMinutes(15);

    /// <summary>Kept up by a process beside the agent, which mends it when it ends, for whatever reason. The others are kept by the agent not starting PostgreSQL.</summary>
    public static bool IsHeld(this FaultKind kind) => kind is not (FaultKind.Kill or FaultKind.Stop);

    public static bool TakesPart(this FaultKind kind) => kind is FaultKind.Freeze or FaultKind.Slow;

    /// <summary>While it lasts the agent cannot be told anything: it ends by its own limit only.</summary>
    public static bool Isolates(FaultKind kind, FaultPart? part) =>
        kind == FaultKind.Partition || (kind == FaultKind.Freeze && part is FaultPart.Agent or FaultPart.Region);

    /// <summary>Whether the agent can still prove the region's PostgreSQL silent.</summary>
    public static bool CanBeStopped(FaultKind kind, FaultPart? part) =>
        !Isolates(kind, part) && !(kind == FaultKind.Freeze && part is FaultPart.Guard or FaultPart.Database);

    /// <summary>As it is written in a scenario, a command or a sentence: `fill_disk`.</summary>
    public static string Word<T>(T value) where T : struct, Enum => System.Text.Json.JsonNamingPolicy.SnakeCaseLower.ConvertName(value.ToString());

    /// <summary>Reads such a word; false: it is none.</summary>
    public static bool TryWord<T>(string text, out T value) where T : struct, Enum
    {
        foreach (var each in Enum.GetValues<T>())
        {
            if (Word(each) == text)
            {
                value = each;
                return true;
            }
        }
        value = default;
        return false;
    }

    /// <summary>`freeze (postgres)`.</summary>
    public static string Say(FaultKind kind, FaultPart? part) => part is { } one && kind.TakesPart() ? $"{Word(kind)} ({Word(one)})" : Word(kind);
}
