using BuildRunner.Core.Policy;

namespace BuildRunner.Core.Recovery;

/// <summary>A fault of a drill: what is broken, where, when after the drill's beginning, and for how long at most.</summary>
/// <param name="Kind">What is broken.</param>
/// <param name="Region">A region's code; before the drill is planned also `primary` or `standby`.</param>
/// <param name="Part">Which processes are frozen or made slow; null: `postgres`, or the kind takes none.</param>
/// <param name="After">From the moment at which the drill begins to break things.</param>
/// <param name="Duration">It is mended by itself after this.</param>
public sealed record DrillFault(FaultKind Kind, string Region, FaultPart? Part, TimeSpan After, TimeSpan Duration)
{
    public const string Primary = "primary";
    public const string Standby = "standby";
    public static readonly TimeSpan AfterMax = TimeSpan.FromMinutes(2);
    public static readonly TimeSpan DurationMin = TimeSpan.FromSeconds(1);

    /// <summary>While it lasts the agent cannot be told anything.</summary>
    public bool Isolates => FaultKinds.Isolates(Kind, Part);

    /// <summary>Whether the database there answers nobody while it lasts.</summary>
    public bool TakesDown => Kind is not (FaultKind.Slow or FaultKind.FillDisk) && !(Kind == FaultKind.Freeze && Part is FaultPart.Agent);

    /// <summary>`freeze us-east-1 postgres after 0s for 40s`.</summary>
    public override string ToString() => $"{FaultKinds.Word(Kind)} {Region}{(Part is { } part ? $" {FaultKinds.Word(part)}" : "")} after {Units.Write(After)} for {Units.Write(Duration)}";

    /// <summary>All of them in one line, as a run keeps them.</summary>
    public static string Write(IEnumerable<DrillFault> faults) => string.Join("; ", faults);

    /// <summary>Reads what <see cref="Write"/> wrote.</summary>
    /// <param name="text">The line.</param>
    /// <param name="faults">In their order.</param>
    /// <returns>What is wrong with it; null: nothing.</returns>
    public static string? Read(string text, out IReadOnlyList<DrillFault> faults)
    {
        var read = new List<DrillFault>();
        faults = read;
        foreach (var each in text.Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            string[] words = each.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            FaultPart part = default;
            var withPart = words.Length == 7;
            if (words.Length is not (6 or 7) || words[^4] != "after" || words[^2] != "for" || !FaultKinds.TryWord<FaultKind>(words[0], out var kind) || (withPart && !FaultKinds.TryWord(words[2], out part))
                || !Units.TryDuration(words[^3], out var after, out _, out _) || !Units.TryDuration(words[^1], out var duration, out _, out _))
                return $"'{each}' is no fault: write `freeze us-east-1 postgres after 0s for 40s`.";
            read.Add(new(kind, words[1], withPart ? part : null, after, duration));
        }
        return read.Count == 0 ? "There is no fault." : null;
    }
}
