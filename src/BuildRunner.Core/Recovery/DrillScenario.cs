using System.Text.Json.Serialization;
using BuildRunner.Core.Policy;

namespace BuildRunner.Core.Recovery;

/// <summary>What the house must do about a scenario's faults.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<DrillExpectation>))]
public enum DrillExpectation
{
    /// <summary>Another region takes the writes.</summary>
    Failover,

    /// <summary>The primary stays where it is, and everything comes back when the faults end.</summary>
    Endure,
}

/// <summary>A drill as data: several faults, and what must come of them.</summary>
public sealed record DrillScenario
{
    public const int FaultsMax = 8;

    public required string Name { get; init; }
    public required string Title { get; init; }
    public DateOnly? Reviewed { get; init; }
    public DrillExpectation Expect { get; init; } = DrillExpectation.Failover;
    public IReadOnlyList<DrillFault> Faults { get; init; } = [];
}

/// <summary>What came of reading a scenario's text: the scenario, or every error at once.</summary>
public sealed record DrillScenarioBinding(DrillScenario? Scenario, IReadOnlyList<PolicyError> Errors);

/// <summary>From a scenario's tree to the scenario.</summary>
public static class DrillScenarioYaml
{
    private static readonly ScalarForm<DateOnly> Date = new("date", text =>
        DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var day) ? new(day)
        : Judged<DateOnly>.Error($"'{PolicyReading.Quote(text)}' is no date.", "Write year, month and day: 2026-11-27."), value => value.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture));

    private static readonly PolicyShape<FaultDraft> Fault = new PolicyShape<FaultDraft>()
        .Key("kind", Word<FaultKind>(), f => f.Kind, (f, v) => f with { Kind = v }, "What is broken.", required: true)
        .Key("region", Forms.Name, f => f.Region, (f, v) => f with { Region = v }, "A region's code, primary or standby.", required: true)
        .Key("part", Forms.Optional(Word<FaultPart>()), f => f.Part, (f, v) => f with { Part = v }, "Which processes are frozen or made slow.")
        .Key("after", Forms.Duration(TimeSpan.Zero, DrillFault.AfterMax), f => f.After, (f, v) => f with { After = v }, "From the drill's beginning.")
        .Key("duration", Forms.Duration(DrillFault.DurationMin, FaultKinds.DurationMax), f => f.Duration, (f, v) => f with { Duration = v }, "For how long at most.");

    private static readonly PolicyShape<Draft> Root = new PolicyShape<Draft>()
        .Key("name", Forms.Name, d => d.Name!, (d, v) => d with { Name = v }, "By which it is run.", required: true)
        .Key("title", Forms.Text, d => d.Title!, (d, v) => d with { Title = v }, "What it tries, in one line.", required: true)
        .Key("reviewed", Forms.Optional(Date), d => d.Reviewed, (d, v) => d with { Reviewed = v }, "When a person last read it.")
        .Key("expect", Word<DrillExpectation>(), d => d.Expect, (d, v) => d with { Expect = v }, "failover, or endure.")
        .Items("faults", Fault, () => new FaultDraft(), d => d.Faults, (d, v) => d with { Faults = v }, "What is broken.");

    /// <param name="root">What was written; null: nothing could be read, and <paramref name="earlier"/> says why.</param>
    /// <param name="earlier">Errors of reading the text.</param>
    public static DrillScenarioBinding Bind(PolicyNode? root, IReadOnlyList<PolicyError> earlier)
    {
        if (root is null)
            return new(null, earlier);
        var reading = new PolicyReading(_ => null);
        reading.Place(PolicyPath.Root, root.At);
        var draft = Root.Read(new Draft(), root, PolicyPath.Root, reading, root.At);
        if (reading.Errors.Count == 0 && draft.Faults.Count is 0 or > DrillScenario.FaultsMax)
            reading.Wrong(reading.At("faults"), "faults", $"A scenario has 1 to {DrillScenario.FaultsMax} faults, not {draft.Faults.Count}.", "Write each after `- `.");
        for (var i = 0; i < draft.Faults.Count; i++)
        {
            if (draft.Faults[i].Part is not null && !draft.Faults[i].Kind.TakesPart())
                reading.Wrong(reading.At($"faults[{i}].part"), $"faults[{i}].part", $"`{FaultKinds.Word(draft.Faults[i].Kind)}` takes no part.", "Remove it.");
        }
        var errors = earlier.Concat(reading.Errors).OrderBy(e => e.At.Line).ThenBy(e => e.At.Column).ToList();
        return errors.Count > 0 ? new(null, errors) : new(new DrillScenario
        {
            Name = draft.Name!, Title = draft.Title!, Reviewed = draft.Reviewed, Expect = draft.Expect,
            Faults = [.. draft.Faults.Select(f => new DrillFault(f.Kind, f.Region, f.Part, f.After, f.Duration))],
        }, []);
    }

    private static ScalarForm<T> Word<T>() where T : struct, Enum => new(string.Join(", ", Enum.GetValues<T>().Select(FaultKinds.Word)), text =>
        FaultKinds.TryWord<T>(text, out var value) ? new(value)
        : Judged<T>.Error($"'{PolicyReading.Quote(text)}' is not known.", Nearest.Fix(text, [.. Enum.GetValues<T>().Select(FaultKinds.Word)])), FaultKinds.Word);

    private sealed record Draft
    {
        public string? Name { get; init; }
        public string? Title { get; init; }
        public DateOnly? Reviewed { get; init; }
        public DrillExpectation Expect { get; init; } = DrillExpectation.Failover;
        public IReadOnlyList<FaultDraft> Faults { get; init; } = [];
    }

    private sealed record FaultDraft
    {
        public FaultKind Kind { get; init; }
        public string Region { get; init; } = "";
        public FaultPart? Part { get; init; }
        public TimeSpan After { get; init; }
        public TimeSpan Duration { get; init; } = TimeSpan.FromMinutes(1);
    }
}
